"""What a study can show, said before anything is trained: from published SDs, where they can be SDs over cases."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.cli.shared.foretold import foretold
from harness.study.expansion import LoadedStudy, load_study

STUDIES = Path(__file__).parents[2] / "studies"


def planned(name: str) -> LoadedStudy:
    return load_study(STUDIES / f"{name}.yaml", assume_absent=True)


@pytest.mark.parametrize(
    ("name", "cases", "sd"), [("compare_hecktor21", 45, 0.135), ("compare_prostate158", 19, 0.106)]
)
def test_a_plan_says_which_difference_its_cases_can_show(name: str, cases: int, sd: float) -> None:
    (line,) = foretold(planned(name))
    assert f"{cases} test cases show" in line
    assert f"published SD over cases {sd}" in line
    low, high = map(float, re.findall(r"Dice of ([\d.]+) to ([\d.]+)", line)[0])
    # Of small normal differences: (z + z)^2 pi / 3 patients for one SD; with few patients it takes somewhat more.
    z_of_ten_tests = 2.807 + 0.842
    expected = z_of_ten_tests * (3.1416 / 3 / cases) ** 0.5 * sd
    assert high == pytest.approx(expected, rel=0.25)
    assert low == pytest.approx(expected * 0.2**0.5, rel=0.25)


def test_a_published_sd_that_cannot_be_over_cases_foretells_nothing() -> None:
    assert list(foretold(planned("compare_chaos"))) == []


def test_networks_from_their_papers_alone_are_named_and_not_counted_as_tests() -> None:
    first, second = foretold(planned("compare_2026"))
    assert first.startswith("MBANet, ME-Net, AGSE-VNet: from the paper: no code to compare with")
    assert "20 comparisons" in second
