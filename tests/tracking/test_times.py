"""When cells were computed, as the store says it."""

from __future__ import annotations

import pytest

from harness.results.records import Progress
from harness.results.store import Store
from harness.tracking.times import Span, span


@pytest.fixture
def cell(tmp_path):
    store = Store(tmp_path / "results")
    store.create()
    return store.cell("a")


def test_a_failed_cell_ends_when_it_failed(cell) -> None:
    cell.write_progress(Progress(started="2026-01-02T03:04:05+00:00"))
    cell.fail("the loss is nan")
    found = span(cell)
    assert found.start == 1_767_323_045_000
    assert found.end is not None
    assert found.start < found.end <= found.now


def test_a_cell_that_was_not_begun_has_no_times(cell) -> None:
    assert (span(cell).start, span(cell).end) == (None, None)


def test_a_full_disk_leaves_no_time(cell) -> None:
    cell.path.mkdir(parents=True, exist_ok=True)
    (cell.path / "failure.json").touch()
    assert span(cell).end is None


def test_epochs_stand_between_begin_and_end() -> None:
    whole = Span(1_000, 9_000, 50_000)
    assert [whole.at(trained) for trained in (0, 2.5, 60)] == [1_000, 3_500, 9_000]
    assert Span(1_000, None, 50_000).at(2.5) == 3_500
    assert Span(None, None, 50_000).at(2.5) == 50_000
