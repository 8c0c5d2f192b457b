"""A network that ships with the harness is counted once for all runs, and anew when anything it depends on changes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.segmenters import SEGMENTERS, Task, kept_sizes
from harness.segmenters.kept_sizes import size_of
from harness.segmenters.size import Size, measure

TASK = Task(("a", "b"), None, 3, (32, 32))
UNETR = SEGMENTERS.get("unetr")
TINY = UNETR.parse_options({"preset": "tiny"})


@pytest.fixture
def counted(monkeypatch, tmp_path):
    """What was counted, each counting with a size of its own."""
    found = []

    def count(segmenter, task, options):
        found.append((segmenter.name, task.patch_size))
        return Size(len(found), 0.5)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(kept_sizes, "measure", count)
    return found


def test_the_kept_size_is_the_counted_one(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    sizes = [size_of(UNETR, TASK, TINY) for _ in range(2)]
    assert sizes == [measure(UNETR, TASK, TINY)] * 2


def test_what_is_alike_is_counted_once_and_anything_else_anew(counted):
    others = [
        (UNETR, replace(TASK, patch_size=(64, 64)), TINY),
        (UNETR, replace(TASK, out_channels=4), TINY),
        (UNETR, replace(TASK, modalities=("a", "b", "c")), TINY),
        (UNETR, TASK, UNETR.parse_options({"preset": "tiny", "skips": "paper"})),
        (replace(UNETR, revision=UNETR.revision + 1), TASK, TINY),
    ]
    first = [size_of(*one) for one in [(UNETR, TASK, TINY), *others]]
    assert [size.parameters for size in first] == [1, 2, 3, 4, 5, 6]
    again = [size_of(*one) for one in [(UNETR, replace(TASK, modalities=("c", "d")), TINY), *others]]
    assert again == first
    assert len(counted) == 6


@pytest.mark.parametrize("content", ["", "{}", '{"parameters": [], "gflops": 1}', "[1]"])
def test_a_damaged_file_is_counted_anew(counted, tmp_path, content):
    size_of(UNETR, TASK, TINY)
    (kept,) = (tmp_path / "aahn-harness/sizes").iterdir()
    kept.write_text(content)
    assert size_of(UNETR, TASK, TINY) == size_of(UNETR, TASK, TINY) == Size(2, 0.5)


def test_a_folder_that_cannot_be_written_costs_time_only(counted, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert [size_of(UNETR, TASK, TINY).parameters for _ in range(2)] == [1, 2]


@pytest.mark.usefixtures("toys")
def test_networks_of_others_are_tried_each_time(counted, tmp_path):
    toy = SEGMENTERS.get("toy")
    assert [size_of(toy, TASK, toy.parse_options({})).parameters for _ in range(2)] == [1, 2]
    assert not (tmp_path / "aahn-harness").exists()
