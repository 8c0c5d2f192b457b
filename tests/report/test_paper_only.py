"""Networks that are written from their papers alone are marked and listed, and change nothing for the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from harness.report.analysis.analysis import StudyAnalysis, analyse_study
from harness.report.figures.build import draw_figures
from harness.report.tables.build import build_tables
from harness.report.text.answer import answer_study
from harness.report.write import write_report
from harness.results.schema import StudyResults
from harness.segmenters.contract import PAPER_ONLY
from harness.statistics.patients import MEAN_REGION

PEOPLE = [f"p{number:02d}" for number in range(20)]
GAINS = {"nnU-Net": 0.0, "AAHN": 0.03, "MBANet": 0.08, "UNETR": -0.02}


def study(builder_of: Callable[[], object], without: str = "", unproven: tuple[str, ...] = ("MBANet",)) -> StudyResults:
    """Returns a study in which MBANet is best, as far as it is not left out."""
    random, builder = np.random.default_rng(0), builder_of().dataset(kind="real", unit="patient")
    hard = random.normal(0.75, 0.08, (20, 2))
    for label, gain in GAINS.items():
        dice = np.clip(hard + gain + random.normal(0, 0.02, hard.shape), 0, 1)
        if label != without:
            builder.cell(label, [tuple(map(float, each)) for each in dice], leading="-", patients=PEOPLE)
    results = builder.build()
    return replace(results, cells=results.cells.assign(paper_only=results.cells["label"].isin(unproven)))


@pytest.fixture(scope="module")
def results(new_study: Callable[[], object]) -> StudyResults:
    return study(new_study)


@pytest.fixture(scope="module")
def analysed(results: StudyResults) -> StudyAnalysis:
    return analyse_study(results)


def best(analysed: StudyAnalysis) -> set[str]:
    """Returns the rows that have a mark of the best in any table."""
    rows = (row for table in build_tables(analysed) for row in table.rows)
    return {row.header[0] for row in rows if any(cell.mark == "best" for cell in row.cells)}


def test_it_is_listed_with_its_mean_and_never_best(analysed: StudyAnalysis) -> None:
    means = next(table for table in build_tables(analysed) if table.kind == "means")
    row = next(row for row in means.rows if row.header == ("MBANet‡",))
    assert all(not cell.is_word and not cell.mark and not cell.dagger for cell in row.cells)
    assert best(analysed) == {"AAHN"}


def test_every_table_that_names_it_says_what_the_mark_means(analysed: StudyAnalysis) -> None:
    naming = [table for table in build_tables(analysed) if any("‡" in row.header[0] for row in table.rows)]
    assert {table.kind for table in naming} >= {"means", "medians", "efficiency", "comparisons-dice"}
    for table in naming:
        assert any(note.startswith("‡ From the paper: no code to compare with") for note in table.notes), table.kind


def test_figures_say_it_too(analysed: StudyAnalysis) -> None:
    boxes = next(draw_figures(analysed))
    assert boxes.caption.endswith(analysed.views["cortex"].paper_only_notes[0])
    assert "MBANet‡" in [text.get_text() for text in boxes.figure.findobj(Text)]


def test_tests_and_ranks_of_the_others_are_those_without_it(
    new_study: Callable[[], object], analysed: StudyAnalysis
) -> None:
    mine = analysed.views["cortex"].analyses["dice", MEAN_REGION]
    others = analyse_study(study(new_study, without="MBANet")).views["cortex"].analyses["dice", MEAN_REGION]
    assert mine.comparisons == others.comparisons
    assert mine.ranking is not None
    assert others.ranking is not None
    pd.testing.assert_frame_equal(mine.ranking.ranks, others.ranking.ranks)
    assert mine.pairwise is not None
    pd.testing.assert_frame_equal(mine.pairwise, others.pairwise)
    assert {name: mine.summaries[name] for name in others.summaries} == others.summaries


def test_the_answer_names_the_best_proven_network_and_what_is_not_ranked(analysed: StudyAnalysis) -> None:
    (answer, *_) = answer_study(analysed)
    assert "AAHN has the highest Dice" in answer
    assert f"Not ranked with them: MBANet‡ ({PAPER_ONLY})." in answer
    assert "Left out" not in answer


def test_it_is_ranked_on_request_and_still_marked(results: StudyResults, tmp_path: Path) -> None:
    asked = analyse_study(results, rank_unproven=True)
    assert best(asked) == {"MBANet‡"}
    assert "MBANet‡ has the highest Dice" in answer_study(asked)[0]
    write_report(results, tmp_path, ["markdown", "latex"], rank_unproven=True, figures=False)
    assert "ranked with the others on request (--rank-unproven)" in (tmp_path / "tables.md").read_text()
    assert r"MBANet\textsuperscript{\ddag}" in (tmp_path / "tables.tex").read_text()


def test_networks_of_which_none_is_proven_are_ranked_with_each_other(new_study: Callable[[], object]) -> None:
    everything = analyse_study(study(new_study, unproven=tuple(GAINS)))
    assert best(everything) == {"MBANet‡"}


def test_results_that_do_not_say_are_proven(new_study: Callable[[], object]) -> None:
    silent = study(new_study)
    silent = replace(silent, cells=silent.cells.drop(columns="paper_only"))
    assert best(analyse_study(silent)) == {"MBANet"}
