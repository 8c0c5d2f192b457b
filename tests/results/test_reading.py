"""What is read of a study is of one moment."""

from __future__ import annotations

from harness.results.reading import load_results
from harness.results.store import CellFolder, Store


def test_a_cell_that_ends_while_the_study_is_read_is_in_all_tables_or_in_none(finished_study, monkeypatch):
    store = Store(finished_study.parent / "results")
    states = iter(["running"])
    monkeypatch.setattr(CellFolder, "status", lambda cell: next(states, "done"))
    found = load_results(store.find_study(), store)
    assert list(found.cells["status"]) == ["running"]
    assert found.cases.empty
    assert list(found.history["epoch"]) == [1, 2]
