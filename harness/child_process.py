"""Code of somebody else in a process of its own, so that it may raise, exit, die or hang and the command goes on."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any, Literal, TypeVar

from harness.errors import HarnessError, StudyError, one_line, shorten
from harness.import_probe import how_it_ended
from harness.system_errors import explain_system_error

T = TypeVar("T")

#: Characters of another's message that are shown.
_LONGEST = 300


class ChildEndedError(HarnessError):
    """A process ended without a result, or was given up."""


def in_child(function: Callable[[], T], patience: float | None = None, method: Literal["fork", "spawn"] = "fork") -> T:
    """Returns what a function returns in a process of its own; what it prints is shown.

    Args:
        function: What is called; its result must be picklable, and with ``spawn`` it must be, too.
        patience: Seconds it may take; default: as many as it takes.
        method: ``fork`` starts at once with everything that is imported here; ``spawn`` starts from nothing.

    Raises:
        ChildEndedError: The process ended without a result, or took too long and was ended.
        HarnessError: What the function raised of that kind; anything else that it raised, with its kind in the message.
    """
    context: Any = multiprocessing.get_context(method)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_call, args=(function, sender))
    process.start()
    sender.close()
    try:
        if not wait([receiver, process.sentinel], patience):
            raise ChildEndedError(f"it did not return within {patience:g} seconds.")
        found, error = _received(receiver, process)
    finally:
        process.kill()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid or 0, signal.SIGKILL)  # and whatever it started
        process.join()
        receiver.close()
    if error is not None:
        raise error
    return found  # type: ignore[no-any-return]  # what the function returned


def describe(error: BaseException) -> str:
    """Returns an exception of others in one line."""
    text = f"{type(error).__name__}: {error}".partition("\n")[0].removesuffix(": ")
    return shorten(one_line(text), _LONGEST)


def _received(receiver: Connection, process: Any) -> tuple[Any, HarnessError | None]:
    if receiver.poll():
        with suppress(EOFError, OSError):
            found: tuple[Any, HarnessError | None] = receiver.recv()
            return found
    process.join(1)
    raise ChildEndedError(f"the process that tried it {how_it_ended(process.exitcode or 0)}.")


def _call(function: Callable[[], Any], sender: Connection) -> None:
    os.setsid()  # what it starts is in one group with it
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)  # threads of the process that forked this one are not here
    found: tuple[Any, HarnessError | None]
    try:
        found = function(), None
    except HarnessError as error:
        found = None, _plain(error)
    except OSError as error:
        found = None, explain_system_error(error)
    except BaseException as error:  # SystemExit, too: of code that nobody knows
        found = None, StudyError(describe(error))
    sender.send(found)


def _plain(error: HarnessError) -> HarnessError:
    """Returns an error that any process can read: of its kind, if that is made of a message and a hint alone."""
    for kind in type(error).__mro__:
        with suppress(TypeError):
            made = kind(error.message, hint=error.hint)
            if isinstance(made, HarnessError):
                return made
    return HarnessError(error.message, hint=error.hint)
