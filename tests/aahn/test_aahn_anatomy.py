"""The table of parts in the documentation is what is measured, and it is complete."""

from __future__ import annotations

from pathlib import Path

import pytest

from aahn import SEGMENTER
from aahn.anatomy import main, measure_parts


def test_parts_are_the_whole_network() -> None:
    task = SEGMENTER.official_task
    assert task is not None
    parts = measure_parts(task, SEGMENTER.parse_options({}))
    assert sum(part.parameters for part in parts.values()) == SEGMENTER.official_parameters
    assert sum(part.gflops for part in parts.values()) == pytest.approx(86.93, abs=0.01)


def test_the_page_shows_them(capsys: pytest.CaptureFixture[str]) -> None:
    main()
    page = (Path(__file__).parents[2] / "docs" / "aahn.md").read_text()
    assert capsys.readouterr().out in page
