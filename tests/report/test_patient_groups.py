"""The report by columns of the patients and by shares of the training patients: what it finds, tells and keeps back."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from harness.errors import DataError
from harness.report.analysis.analysis import analyse_study
from harness.report.analysis.patients.grouping import group_patients
from harness.report.figures.patients.columns import column_figure
from harness.report.figures.patients.shares import share_figure
from harness.report.tables.build import build_tables
from harness.report.text.answer import answer_study
from harness.report.write import write_report
from harness.results.manifest import Design

SITES = {f"{site.lower()}{number}": site for site in "ABC" for number in range(10)}
SECRET = "Charite-Mitte"


@pytest.fixture
def by_site(new_study):
    """Returns a function that makes a study; its docstring says of what."""

    def make(shift: float, kind: str = "leave-one-out", seed: int = 0, name: str = "C"):
        """Returns a study of two methods, one fold per site; scores at site C are shifted where others trained.

        Args:
            shift: Added to the scores of patients of site C whose network was trained elsewhere.
            kind: How folds go by the site.
            seed: Seed of the scores.
            name: What the report calls site C.
        """
        builder = new_study().dataset(title="Own", kind="real", unit="patient", regions=("lesion",), notes=())
        random = np.random.default_rng(seed)
        hard = {patient: random.normal(0.75, 0.06) for patient in SITES}
        designs = {}
        for label, gain in (("AAHN", 0.02), ("U-Net", 0.0)):
            for fold, site in enumerate("ABC"):
                out = [one for one, own in SITES.items() if (own == site) == (kind == "leave-one-out")]
                tested = out if kind == "leave-one-out" else [*out, *(f"{site.lower()}{n}" for n in range(4))]
                away = {one: SITES[one] == "C" and (kind == "leave-one-out" or site != "C") for one in tested}
                scores = [(hard[one] + gain + shift * away[one] + random.normal(0, 0.01),) for one in tested]
                cell = builder.cell(label, scores, leading="-", fold=fold, patients=tested, cases=tested)
                designs[cell] = Design("site", kind)
        values = {patient: name if site == "C" else site for patient, site in SITES.items()}
        return replace(builder.build(), designs=designs, columns={"cortex": {"site": values}})

    return make


def tables(results, kind: str):
    return [table for table in build_tables(analyse_study(results)) if table.kind.startswith(kind)]


def test_a_planted_site_is_named_with_how_much_how_sure_and_on_how_many(by_site):
    answer = " ".join(answer_study(analyse_study(by_site(-0.3))))
    assert "scores by site when it was held out of training: they differ: " in answer
    assert "AAHN scores 0.4" in answer
    assert re.search(r"in C \(10 patients\), .0\.\d+ against the 20 others, 95 % interval .0\.\d+ to .0\.", answer)
    assert "In 4 comparisons the group is better for that." in answer
    assert "Holm over 6 comparisons" in answer


def test_a_null_cannot_tell(by_site):
    answers = [" ".join(answer_study(analyse_study(by_site(0.0, seed=seed)))) for seed in range(4)]
    told = ["these data cannot tell whether they differ; no group differs significantly" in text for text in answers]
    assert sum(told) >= 3


def test_the_table_has_groups_methods_and_patients(by_site):
    (dice, _) = tables(by_site(-0.3), "column-site")
    assert [row.header for row in dice.rows[:3]] == [("A", "AAHN"), ("A", "U-Net"), ("B", "AAHN")]
    last = dice.rows[4]
    assert last.header == ("C", "AAHN")
    assert last.cells[0].text == "10"
    assert last.cells[1].span
    assert last.cells[-1].main == "<0.001*"


def test_pairs_show_who_trained_and_what_another_site_costs(by_site):
    study = analyse_study(by_site(-0.3, "pairs"))
    pairs, out = tables(by_site(-0.3, "pairs"), "column-site-pairs-dice") + tables(
        by_site(-0.3, "pairs"), "column-site-out-dice"
    )
    means = {row.header: float(row.cells[1].main) for row in pairs.rows}
    assert len(means) == 18
    assert means["AAHN", "C", "C"] > 0.65 > 0.55 > means["AAHN", "A", "C"]
    counts = {row.header: row.cells[0].text for row in pairs.rows}
    assert (counts["AAHN", "C", "C"], counts["AAHN", "A", "C"]) == ("4", "10")
    assert out.rows[0].cells[0].text == "12"
    answer = " ".join(answer_study(study))
    assert "trained at another site" in answer
    assert "in C (10 patients), " in answer
    (outside, _) = study.views["cortex"].columns[0].out_of_house["dice"]
    assert outside.comparison.mean_difference == pytest.approx(-0.1, abs=0.03)  # a third of the patients, by 0.3


def test_numbers_are_grouped_by_thirds_and_texts_by_value():
    ages = {f"p{number:02d}": str(30 + number) for number in range(30)}
    groups, of = group_patients("age", ages)
    assert groups == ("30 to 39", "40 to 49", "50 to 59")
    assert of["p00"] == "30 to 39"
    assert group_patients("field", {"a": "3", "b": "1.5", "c": "3"})[0] == ("1.5", "3")
    assert group_patients("site", {"a": "x", "b": "10", "c": "x"})[0] == ("10", "x")
    with pytest.raises(DataError, match=r"'name' has 30 different values for 30 patients"):
        group_patients("name", {patient: f"n{patient}" for patient in ages})


def test_folds_that_go_by_a_number_keep_their_groups():
    centres = {f"p{number:02d}": str(number % 8 + 1) for number in range(24)}
    assert group_patients("centre", centres, by_value=True)[0] == tuple("12345678")
    assert len(group_patients("centre", centres)[0]) == 3


def test_equal_numbers_stay_together_and_no_group_is_empty():
    groups, of = group_patients("age", {f"p{number}": str(min(number, 7)) for number in range(40)})
    assert len({of[f"p{number}"] for number in range(7, 40)}) == 1
    assert set(groups) == set(of.values())


def test_a_column_reaches_the_page_where_it_was_asked_for_and_is_gone_from_the_next(tmp_path, by_site):
    results = by_site(-0.3, name=SECRET)
    write_report(results, tmp_path, figures=False)
    shown = [path for path in tmp_path.rglob("*") if path.is_file() and SECRET in path.read_text()]
    assert tmp_path / "report.html" in shown
    assert SECRET not in (tmp_path / "personal.txt").read_text()
    write_report(replace(results, columns={}), tmp_path, ["csv"], figures=False)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and SECRET in path.read_text()]
    assert not (tmp_path / "personal.txt").exists()


@pytest.mark.parametrize("kind", ["leave-one-out", "pairs"])
def test_the_figure_of_a_column_shows_every_site(kind, by_site, learning):
    study = analyse_study(by_site(-0.3, kind))
    drawing = column_figure(study, study.views["cortex"])
    ticks = " ".join(text.get_text() for axes in drawing.figure.axes for text in axes.get_xticklabels())
    assert set("ABC") <= set(ticks.replace("(n=10)", "").split())
    assert column_figure(analyse_study(learning()), analyse_study(learning()).views["cortex"]) is None


def test_the_figure_of_a_learning_curve_has_the_measured_points_and_no_more(by_site, learning):
    study = analyse_study(learning())
    axes = share_figure(study, study.views["cortex"]).figure.axes[0]
    lines = [line for line in axes.get_lines() if len(line.get_xdata()) == 3]
    assert [list(line.get_xdata()) for line in lines] == [[4, 8, 16]] * 2
    assert share_figure(study, analyse_study(by_site(0)).views["cortex"]) is None


SHARES = {0.25: 0.1, 0.5: 0.03, 1.0: 0.0}


@pytest.fixture
def learning(new_study):
    """Returns a function that makes a study; its docstring says of what."""

    def make(gains=SHARES, status: str = "done"):
        """Returns a study whose scores fall by so much with smaller shares of 16 training patients."""
        builder = new_study().dataset(title="Own", kind="real", unit="patient", regions=("lesion",), notes=())
        random = np.random.default_rng(0)
        hard = random.normal(0.75, 0.06, 12)
        people, designs = [f"p{number:02d}" for number in range(12)], {}
        for label in ("AAHN", "U-Net"):
            for share, loss in gains.items():
                name = label if share == 1 else f"{label}, {100 * share:g} % of training patients"
                for seed in (0, 1):
                    scores = [(value - loss,) for value in hard + random.normal(0, 0.01, 12)]
                    state = status if share == 0.25 and seed else "done"
                    scores = scores if state == "done" else []
                    names = {"patients": people, "cases": people}
                    cell = builder.cell(name, scores, leading="-", seed=seed, status=state, **names)
                    designs[cell] = Design(train_share=share, train_patients=round(16 * share))
        return replace(builder.build(), designs=designs)

    return make


def test_smaller_shares_stand_in_the_learning_curve_alone(learning):
    study = analyse_study(learning())
    view = study.views["cortex"]
    assert list(view.names.values()) == ["AAHN", "U-Net"]
    assert not study.comparability.reasons["cortex"]
    assert [[point.patients[0] for point in curve.points] for curve in view.curves.curves] == [[4, 8, 16]] * 2
    (dice, _) = tables(learning(), "learning")
    assert [row.header for row in dice.rows[:3]] == [("AAHN", "25 %"), ("AAHN", "50 %"), ("AAHN", "100 %")]
    assert [row.cells[0].text for row in dice.rows[:3]] == ["4", "8", "16"]
    assert dice.rows[0].cells[-1].main == "–"
    assert float(dice.rows[1].cells[2].main.replace("−", "-")) == pytest.approx(0.07, abs=0.01)
    assert not tables(replace(learning({1.0: 0.0}), designs={}), "learning")


def test_the_sentence_tells_the_last_step_and_nothing_beyond(learning):
    answer = " ".join(answer_study(analyse_study(learning())))
    assert "the step from 8 to 16 changed AAHN by +0.0" in answer
    assert "after Holm" in answer
    assert "Nothing is known beyond the largest share." in answer
    flat = " ".join(answer_study(analyse_study(learning({0.5: 0.0, 1.0: 0.0}))))
    assert "so these data cannot tell whether they help" in flat


def test_a_share_that_failed_has_a_word_and_the_step_skips_it(learning):
    results = learning(status="failed")
    (dice, _) = tables(results, "learning")
    assert [cell.text for cell in dice.rows[0].cells[1:]] == ["failed", "–", "–"]
    assert dice.rows[1].cells[2].main == "–"
    assert dice.rows[2].cells[2].main != "–"
    assert "the step from 8 to 16" in " ".join(answer_study(analyse_study(results)))


def test_a_study_on_a_part_alone_is_shown_by_all_tables(learning):
    results = learning({0.5: 0.0})
    study = analyse_study(replace(results, reference=None))
    assert next(iter(study.views["cortex"].names.values())) == "AAHN, 50 % of training patients"
    assert study.views["cortex"].curves is None


def test_splits_that_each_seed_draws_anew_are_the_same_for_all_methods(learning):
    results = learning({0.5: 0.0})
    cells = results.cells.assign(split=[f"split-{seed}" for seed in results.cells["seed"]])
    study = analyse_study(replace(results, cells=cells, reference=None))
    assert not study.comparability.reasons["cortex"]
    other = cells.assign(split=cells["split"].where(~cells["label"].str.startswith("U"), "other"))
    assert analyse_study(replace(results, cells=pd.DataFrame(other), reference=None)).comparability.reasons["cortex"]
