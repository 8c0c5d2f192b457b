"""Work that processes beside a test do, each case of it in its own way; importable there."""

import os
import signal
import sys
import time

from harness.errors import DataError


class UnlikeOthersError(Exception):
    """An error that cannot be made anew from its message."""

    def __init__(self, case, number):
        super().__init__(f"{case} is number {number}")


def work(name, item):
    """Does what an item says: waits for some seconds, raises, ends the process, or dies."""
    if isinstance(item, float):
        time.sleep(item)
    elif item == "harness error":
        raise DataError(f"{name} is damaged.", hint="Copy it again.")
    elif item == "memory":
        raise MemoryError
    elif item == "odd error":
        raise UnlikeOthersError(name, 3)
    elif item == "exit":
        os._exit(3)
    elif isinstance(item, signal.Signals):
        os.kill(os.getpid(), item)
    return name, os.getpid(), "torch" in sys.modules


class Unopenable:
    """Work that arrives nowhere."""

    def __reduce__(self):
        return _fail, ()

    def __call__(self, name, item):
        return work(name, item)


def _fail():
    raise LookupError("no such dataset here")
