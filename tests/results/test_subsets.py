"""Subsets of modalities: which there are, and that a result is there whole or not at all."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import HarnessError
from harness.results.records import SubsetSummary
from harness.results.store import CellFolder
from harness.results.subsets import CellSubsets, Subset, choose_subsets, in_words


@given(st.integers(2, 6))
def test_all_subsets_are_all_but_none_and_everything(count):
    modalities = [f"m{number}" for number in range(count)]
    found = choose_subsets(modalities)
    assert len(found) == len(set(found)) == 2**count - 2
    assert [len(one) for one in found] == sorted((len(one) for one in found), reverse=True)
    assert all(list(one) == [name for name in modalities if name in one] for one in found)


def test_some_subsets_can_be_chosen():
    assert choose_subsets(("a", "b", "c"), "leave-one-out") == [("a", "b"), ("a", "c"), ("b", "c")]
    assert choose_subsets(("a", "b", "c"), "single") == [("a",), ("b",), ("c",)]
    with pytest.raises(HarnessError, match="no choice 'al'"):
        choose_subsets(("a", "b"), "al")
    with pytest.raises(HarnessError, match="only modality"):
        choose_subsets(("a",))


def test_a_result_that_was_not_finished_is_not_there(tmp_path):
    store, subset = CellSubsets(CellFolder(tmp_path / "cell")), Subset(("a",), "zeros")
    summary = SubsetSummary(present=subset.present, fill=subset.fill, dropout=None, default_leading="a")

    def stopped():
        with store.writing(summary) as path:
            pd.DataFrame({"value": [1.0]}).to_parquet(path)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert not store.has(subset)
    assert store.results() == []
    with store.writing(summary) as path:
        pd.DataFrame({"value": [1.0]}).to_parquet(path)
    assert store.has(subset)
    assert not store.has(Subset(("a",), "mean"))
    assert not store.has(Subset(("b",), "zeros"))
    (facts, rows) = store.results()[0]
    assert (facts.present, facts.fill, in_words(facts.present)) == (("a",), "zeros", "a")
    assert pd.read_parquet(rows)["value"].tolist() == [1.0]


def test_a_failure_that_an_earlier_version_wrote_is_read(tmp_path):
    store = CellSubsets(CellFolder(tmp_path / "cell"))
    store.path.mkdir(parents=True)
    (store.path / "failure.json").write_text('{"reason": "it fell over", "hint": "lift it", "time": ""}')
    assert store.failure().reason == "it fell over"
    store.fail("again")
    assert [one.reason for one in store.attempts()] == ["again"]
