"""What was written with the module names of 0.2.0 still loads: queued jobs, readers of others, entry points."""

import importlib
import pickle
from pathlib import Path

import pytest

from harness.execution.workers.attempt import Attempt
from harness.execution.workers.process import Slot
from harness.moved_modules import MOVED
from harness.results.store import CellFolder


@pytest.mark.parametrize("old", MOVED)
def test_an_old_name_is_the_module_itself(old: str) -> None:
    module = importlib.import_module(old)
    assert module is importlib.import_module(MOVED[old])
    assert module.__spec__ is not None
    assert module.__spec__.name == MOVED[old]


def test_a_part_of_a_moved_package_stands_once() -> None:
    old = importlib.import_module("harness.data.chaos.reader")
    assert old is importlib.import_module("harness.data.datasets.chaos.reader")


def test_a_job_pickled_by_the_last_release_loads() -> None:
    """As submitit wrote it: a pickle of protocol 0 names modules as text."""
    attempt = Attempt(CellFolder(Path("cells/abc")), Path("cache"), timeout=60.0)
    written = pickle.dumps((attempt, Slot("cpu", None, 1)), protocol=0)
    for old in ("harness.execution.engine", "harness.execution.process"):
        written = written.replace(MOVED[old].encode(), old.encode())
    assert b"harness.execution.engine" in written
    assert pickle.loads(written) == (attempt, Slot("cpu", None, 1))
