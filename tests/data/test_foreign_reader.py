"""A reader of another package may raise anything anywhere: the dataset is named, and other cases are read."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from dataclasses import replace

import pytest

from harness.cli import main
from harness.data import DATASETS
from harness.data.contract import Reader
from harness.data.patients.by_column import Folds
from harness.data.reading.checks import check_dataset
from harness.errors import DataError, StudyError
from harness.import_probe import TRIED
from harness.study.expansion import load_study

SLOW = pytest.mark.slow
FAULTS = [KeyError("T1"), ValueError("two\nlines"), SystemExit(0), AssertionError(), RuntimeError("x" * 10**5)]


@pytest.fixture
def foreign(monkeypatch, small_cortex):
    """Returns a function that makes a dataset whose reader raises an error in one of its methods."""
    ours = DATASETS.get("cortex")

    def make(method: str, error: BaseException | Callable[[], object]):
        inner = ours.open(small_cortex)

        class Foreign(Reader):
            def __init__(self, root):
                if method == "__init__":
                    fail()

            def __getattribute__(self, name):
                if name == method:
                    fail()
                return getattr(inner, name)

        def fail():
            if callable(error):
                error()
            raise error

        monkeypatch.setattr("harness.data.contract.resolve", lambda place, role: Foreign)
        return replace(ours, reader="somebody.readers:open_folder")

    return make


METHODS = ("__init__", "fingerprint", "cases", "split")


@pytest.mark.parametrize(
    ("method", "error"),
    [  # each method and each error in every run
        pytest.param(method, error, id=f"{method}-{type(error).__name__}", marks=() if (i - j) % 4 == 0 else SLOW)
        for i, method in enumerate(METHODS)
        for j, error in enumerate(FAULTS)
    ],
)
def test_a_study_names_the_dataset(foreign, write_study, toys, monkeypatch, method, error):
    dataset = foreign(method, error)
    monkeypatch.setattr("harness.study.expansion.find_dataset", lambda *_: dataset)
    if method == "cases":  # asked for where a user's file of folds is checked
        monkeypatch.setattr(Folds, "all", lambda _, dataset, reader, root: reader.cases())
    with pytest.raises((DataError, StudyError), match="reader of 'cortex'") as caught:
        load_study(write_study())
    assert type(error).__name__ in caught.value.message
    assert "micro.yaml:" in caught.value.message
    assert "\n" not in caught.value.message


def test_the_check_lists_the_case(foreign, small_cortex):
    dataset = foreign("load", KeyError("T1"))
    checked = check_dataset(dataset, dataset.open(small_cortex))
    assert checked.readable == 0
    assert any("KeyError" in finding.what for finding in checked.findings)


class Raises:
    """Raises an error when it is called."""

    def __init__(self, error: BaseException):
        self._error = error

    def __call__(self):
        raise self._error


VERBS = {
    "check": ["check", "cortex", "FOLDER"],
    "preview": ["preview", "cortex", "FOLDER", "--out", "picture.png"],
    "export": ["export", "cortex", "--root", "FOLDER", "--nnunet-raw", "out"],
    "prepare": ["prepare", "cortex", "--root", "FOLDER", "--protocol", "demo", "--workers", "0"],
    "splits": ["splits", "cortex", "--root", "FOLDER", "--out", "splits.json"],
}


ENDS: dict[str, tuple[str, Callable[[], object], str]] = {
    "is killed": ("work", lambda: os.kill(os.getpid(), signal.SIGKILL), "was killed by signal 9"),
    "exits at once": ("__init__", lambda: os._exit(0), "ended with status 0"),
    "raises": ("work", Raises(KeyError("T1\nand more")), "KeyError: 'T1"),
    "exits": ("work", Raises(SystemExit(0)), "SystemExit: 0"),
}


@pytest.mark.parametrize(
    ("method", "end", "said", "verb"),
    [  # each verb and each end in every run
        pytest.param(*end, verb, id=f"{name}-{verb}", marks=() if (i - j) % 4 == 0 else SLOW)
        for i, (name, end) in enumerate(ENDS.items())
        for j, verb in enumerate(VERBS)
    ],
)
def test_verbs_name_a_reader_that_ends(foreign, small_cortex, monkeypatch, tmp_path, capsys, verb, method, end, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "500")
    monkeypatch.delenv(TRIED, raising=False)
    of_work = {"splits": "split"}.get(verb, "load")
    dataset = foreign(method if method == "__init__" else of_work, end)
    monkeypatch.setattr("harness.data.datasets.layouts.find_dataset", lambda *_: dataset)
    arguments = [str(small_cortex) if one == "FOLDER" else one for one in VERBS[verb]]
    status = main(["data", *arguments])
    shown = capsys.readouterr()
    text = f"{shown.out}{shown.err}"
    assert status == (1 if verb == "check" and isinstance(end, Raises) else 2)
    assert "reader of 'cortex' (somebody.readers:open_folder) failed" in text
    assert said in text
    assert "Traceback" not in text
    assert not list(tmp_path.glob("*.png"))


def test_a_full_disk_is_not_blamed_on_the_reader(foreign):
    dataset = foreign("load", KeyError("T1"))
    with pytest.raises(OSError, match="No space left"), dataset.naming_reader():
        raise OSError(errno.ENOSPC, "No space left on device", "preview.png")


def test_an_error_of_our_own_readers_is_not_hidden(small_cortex):
    with pytest.raises(KeyError), DATASETS.get("cortex").naming_reader():
        raise KeyError("a fault of ours")
