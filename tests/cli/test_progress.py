"""Watching a study costs little, however slow the file system is."""

from __future__ import annotations

import time

import pytest
from rich.console import Console
from stored import cell_record, manifest

from harness.cli.shared.progress import ProgressDisplay
from harness.results.store import CellFolder, Store


@pytest.fixture
def display(tmp_path):
    store = Store(tmp_path)
    store.create()
    store.cell("a").write_spec(cell_record())
    study = store.study("s", "default")
    study.write_manifest(manifest("a"))
    return ProgressDisplay(Console(quiet=True), study, store, parallel=1)


def test_looking_takes_a_small_share_of_the_time_and_the_end_is_always_seen(display, monkeypatch):
    looks = []

    def status(cell):
        looks.append(cell.id)
        time.sleep(0.05)
        return "new"

    monkeypatch.setattr(CellFolder, "status", status)
    for _ in range(5):
        display.update()
    assert looks == ["a"]
    display.finish()
    assert looks == ["a", "a"]
