"""What the data can show: told apart or not, least difference, patients needed; beside the spreads."""

from __future__ import annotations

import numpy as np
import pytest

from harness.report.analysis.analysis import analyse_study
from harness.report.analysis.verdict import Verdict
from harness.report.analysis.verdict_words import fine_p, needed
from harness.report.figures.evidence.power import power_curves
from harness.report.tables.build import build_tables
from harness.report.text.answer import answer_study
from harness.results.schema import StudyResults

PEOPLE = [f"p{number:03d}" for number in range(60)]


def study(builder, gains: dict[str, float], *, seeds: int = 1, folds: int = 1, scatter: float = 0.02) -> StudyResults:
    """Methods on 60 patients that differ by a planted gain."""
    random = np.random.default_rng(0)
    builder.reference = "Plain"
    builder.dataset("data", title="Data", kind="real", unit="patient", regions=("tumor",))
    hard = random.normal(0.7, 0.08, len(PEOPLE))
    for label, gain in gains.items():
        for seed in range(seeds):
            dice = np.clip(hard + gain + random.normal(0, scatter, len(PEOPLE)), 0, 1)
            for fold in range(folds):
                mine = range(fold, len(PEOPLE), folds)
                names = [PEOPLE[number] for number in mine]
                scores = [(float(dice[number]),) for number in mine]
                builder.cell(
                    label, scores, dataset="data", leading="-", seed=seed, fold=fold, patients=names, cases=names
                )
    built = builder.build()
    return StudyResults(**{**vars(built), "datasets": {"data": built.datasets["data"]}})


def verdict(results: StudyResults, metric: str = "dice") -> Verdict:
    return analyse_study(results).views["data"].verdicts[metric]


def test_planted_differences_are_told_and_their_absence_is_not(builder) -> None:
    results = study(builder, {"Plain": 0.0, "Better": 0.03, "Same": 0.0, "Worse": -0.03})
    found = {one.comparison.method: one for one in verdict(results).resolutions}
    assert {name: one.finding for name, one in found.items()} == {
        "Better": "better", "Same": "cannot tell", "Worse": "worse",
    }  # fmt: skip
    assert found["Better"].power > 0.99
    assert found["Better"].patients is not None
    assert found["Better"].patients < 60
    least = found["Same"].least
    assert least is not None
    assert 0.005 < least < 0.03
    answer = "\n".join(answer_study(analyse_study(results)))
    assert "cannot tell Same from Plain" in answer
    assert "Better is better than Plain" in answer
    assert "Worse is worse than Plain" in answer


def test_of_a_distance_less_is_better(builder) -> None:
    results = study(builder, {"Plain": 0.0, "Better": 0.03})
    assert [one.finding for one in verdict(results, "hd95").resolutions] == ["better"]


def test_spreads_stand_beside_each_other(builder) -> None:
    spread = verdict(study(builder, {"Plain": 0.0, "Better": 0.03}, seeds=3, folds=3)).spread
    assert spread.methods == pytest.approx(0.03 / np.sqrt(2), abs=0.003)
    assert spread.patients == pytest.approx(0.08, abs=0.02)
    assert spread.seeds == pytest.approx(0.02 / np.sqrt(60), rel=0.8)
    assert spread.differences == pytest.approx(0.02 * np.sqrt(2 / 3), rel=0.3)
    assert 0 < spread.folds < 0.05
    assert spread.folds_by_chance == pytest.approx(spread.patients / np.sqrt(20), rel=0.1)


def test_one_training_and_one_fold_have_no_spread(builder) -> None:
    results = study(builder, {"Plain": 0.0, "Better": 0.03})
    spread = verdict(results).spread
    assert np.isnan([spread.seeds, spread.folds]).all()
    assert "each method was trained once" in "\n".join(answer_study(analyse_study(results)))


def test_table_and_figure_say_what_the_verdict_says(builder) -> None:
    results = study(builder, {"Plain": 0.0, "Better": 0.03, "Same": 0.0})
    analysed = analyse_study(results)
    table = next(table for table in build_tables(analysed) if table.kind == "verdict-dice")
    words = {row.header[0]: row.cells[3].main for row in table.rows}
    assert words == {"Better against Plain": "better", "Same against Plain": "cannot tell"}
    drawing = power_curves(analysed, analysed.views["data"])
    assert drawing is not None
    assert len(drawing.figure.axes[0].lines) == 2 + 2  # the level, and the patients at hand


def test_many_methods_are_summed_up(builder) -> None:
    gains = {"Plain": 0.0, **{f"Better {n}": 0.05 for n in range(3)}, **{f"Same {n}": 0.0 for n in range(3)}}
    answer = "\n".join(answer_study(analyse_study(study(builder, gains))))
    assert "Better than Plain: Better 0, Better 1, Better 2." in answer
    assert "cannot tell from Plain: Same 0, Same 1, Same 2." in answer


def test_without_enough_patients_or_comparable_methods_there_is_no_verdict(ablation: StudyResults, builder) -> None:
    assert analyse_study(ablation).views["cortex"].verdicts == {}
    results = study(builder, {"Plain": 0.0, "Equal": 0.0}, scatter=0.0)
    assert analyse_study(results).views["data"].verdicts == {}


@pytest.mark.parametrize(
    ("count", "text"), [(None, "more than 1,000,000"), (7, "7"), (509, "510"), (539_648, "540,000")]
)
def test_numbers_of_patients_are_rounded_up_to_what_is_known(count: int | None, text: str) -> None:
    assert needed(count) == text


@pytest.mark.parametrize(("p", "text"), [(0.00274, "0.0027"), (0.0499, "<0.05"), (0.922, "0.92"), (1e-9, "<0.0001")])
def test_a_p_never_prints_as_what_it_is_not(p: float, text: str) -> None:
    assert fine_p(p) == text
