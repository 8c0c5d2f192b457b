"""The tables of parts in the documentation are what is measured, and they are complete."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aahn import SEGMENTER
from aahn.anatomy import TO_LITE, main, measure_parts, total


def test_parts_are_the_whole_network_and_compute_what_the_released_code_does() -> None:
    task = SEGMENTER.official_task
    assert task is not None
    whole = total(measure_parts(task, SEGMENTER.parse_options({})))
    assert whole.parameters == SEGMENTER.official_parameters
    assert whole.gflops == pytest.approx(86.93, abs=0.01)


def test_the_changes_lead_to_lite() -> None:
    options: dict[str, Any] = {}
    for values in TO_LITE.values():
        options |= values
    assert SEGMENTER.parse_options(options) == SEGMENTER.parse_options({"preset": "lite"})


@pytest.mark.slow
def test_the_page_shows_them(capsys: pytest.CaptureFixture[str]) -> None:
    main()
    page = (Path(__file__).parents[2] / "docs" / "aahn.md").read_text()
    by_parts, by_changes = capsys.readouterr().out.split("\n\n")
    assert by_parts in page
    assert by_changes in page
