"""Tries the import of somebody else's module in a process of its own, before this one imports it.

A module that ends the process or never returns would take a whole command with it, whatever else the command was to do.
"""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache

#: Seconds that an import may take: torch from a cold network file system stays below.
PATIENCE = 60.0

#: Set in processes whose parent has tried the imports already, or sees how they end.
TRIED = "HARNESS_PLUGINS_TRIED"

#: Exit status by which the process says that it came to an end in order, whether the import succeeded or raised.
_RETURNED = 57

_CODE = f"""
import os, sys
try:
    __import__(sys.argv[1])
except BaseException:
    pass
os._exit({_RETURNED})
"""


def problem(module: str, patience: float = PATIENCE) -> str:
    """Returns why a module must not be imported here; empty where it may, be it to learn what it raises.

    Args:
        module: Name of the module.
        patience: Seconds that the import may take.
    """
    return "" if module in sys.modules or TRIED in os.environ else _try(module, patience)


def try_all(modules: set[str], patience: float = PATIENCE) -> None:
    """Tries several imports at a time, so that many that hang take as long as one; :func:`problem` remembers."""
    with ThreadPoolExecutor(max_workers=16) as pool:
        list(pool.map(lambda module: problem(module, patience), modules))


def forget() -> None:
    """Forgets what was tried; a package was installed while this process runs."""
    _try.cache_clear()


@cache
def _try(module: str, patience: float) -> str:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), TRIED: "1"}
    process = subprocess.Popen(  # noqa: S603 - this interpreter, no shell
        [sys.executable, "-P", "-c", _CODE, module],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,  # so that what it starts ends with it
    )
    try:
        status = process.wait(patience)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return f"its import did not end within {patience:g} seconds"
    if status == _RETURNED:
        return ""
    return f"a process that imported it {how_it_ended(status)}"


def how_it_ended(status: int) -> str:
    """Returns how a process ended, in words.

    Args:
        status: Exit status; minus the signal's number where a signal ended it.
    """
    return f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
