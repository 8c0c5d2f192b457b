"""A reader of another package may raise anything anywhere: the dataset is named, and other cases are read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.data import DATASETS
from harness.data.contract import Reader
from harness.data.reading.checks import check_dataset
from harness.errors import DataError, StudyError
from harness.study.expansion import load_study

FAULTS = [KeyError("T1"), ValueError("two\nlines"), SystemExit(0), AssertionError(), RuntimeError("x" * 10**5)]


@pytest.fixture
def foreign(monkeypatch, small_cortex):
    """Returns a function that makes a dataset whose reader raises an error in one of its methods."""
    ours = DATASETS.get("cortex")

    def make(method: str, error: BaseException):
        inner = ours.open(small_cortex)

        class Foreign(Reader):
            def __init__(self, root):
                if method == "__init__":
                    raise error

            def __getattribute__(self, name):
                if name == method:
                    raise error
                return getattr(inner, name)

        monkeypatch.setattr("harness.data.contract.resolve", lambda place, role: Foreign)
        return replace(ours, reader="somebody.readers:open_folder")

    return make


@pytest.mark.parametrize("error", FAULTS, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("method", ["__init__", "fingerprint", "cases", "split"])
def test_a_study_names_the_dataset(foreign, write_study, toys, monkeypatch, method, error):
    dataset = foreign(method, error)
    monkeypatch.setattr("harness.study.expansion.find_dataset", lambda *_: dataset)
    if method == "cases":  # asked for where a user's file of folds is checked
        monkeypatch.setattr("harness.study.expansion.choose_splits", lambda _, reader, file: reader.cases())
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


def test_an_error_of_our_own_readers_is_not_hidden(small_cortex):
    with pytest.raises(KeyError), DATASETS.get("cortex").naming_reader():
        raise KeyError("a fault of ours")
