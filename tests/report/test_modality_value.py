"""What modalities are worth: planted truths found in simulated scores, refusals, prices, and where it is shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from analysed import analysed
from numpy.typing import NDArray

from harness.errors import HarnessError
from harness.evaluation import METRICS
from harness.report.analysis.analysis import analyse_study
from harness.report.analysis.modalities.patterns import impossible_sets
from harness.report.analysis.modalities.value import ModalityValue, modality_value
from harness.report.analysis.modalities.words import lacking_sentence
from harness.report.figures.evidence.modality_value import value_figure
from harness.report.inputs.acquisition import Acquisition, Cost, read_acquisition
from harness.report.tables.build import build_tables
from harness.report.text.modality_value import value_answer
from harness.report.write import write_report
from harness.results.schema import SUBSET_COLUMNS, StudyResults
from harness.results.subsets import in_words
from harness.statistics.bootstrap import mean_intervals
from harness.statistics.patients import build_grid, patient_table
from harness.statistics.shapley import every_subset, shapley_values

MODALITIES = ("t1n", "t1c", "t2w", "t2f")
REGIONS = ("WT", "ET")
SETS = every_subset(MODALITIES)[1:]
MARGIN = 0.03
ASKED = Acquisition(MARGIN)
COSTS = {
    "t1n": Cost(minutes=4, contrast=False),
    "t1c": Cost(minutes=5, contrast=True),
    "t2w": Cost(minutes=4, contrast=False),
    "t2f": Cost(minutes=6, contrast=False),
}


def planted(present: Sequence[str]) -> tuple[float, float]:
    """Dice of WT and ET: t2f carries WT and t2w half of it, t1c alone carries ET; t1n adds nothing."""
    whole = 0.9 if "t2f" in present else 0.6 if "t2w" in present else 0.4
    return whole, 0.8 if "t1c" in present else 0.2


def alike(present: Sequence[str]) -> tuple[float, float]:
    """Any modality suffices."""
    return 0.8, 0.7


def draw(
    random: np.random.Generator,
    patients: int,
    truth: Callable[[Sequence[str]], tuple[float, float]] = planted,
    noise: float = 0.03,
) -> NDArray[np.float64]:
    """Patients x sets x regions; a patient is hard for every set, and differs a little with each."""
    hard = random.normal(0, 0.05, (patients, 1, 1))
    mean = np.array([truth(one) for one in SETS])
    return np.asarray(mean + hard + random.normal(0, noise, (patients, *mean.shape)))


def rows_of(scores: NDArray[np.float64], seed: int = 0) -> pd.DataFrame:
    """One row per patient, set and region; the set is the method."""
    patients, sets, regions = (index.ravel() for index in np.indices(scores.shape))
    names = np.array([f"p{number:03d}" for number in range(len(scores))])
    return pd.DataFrame(
        {
            "method": np.array([in_words(one) for one in SETS])[sets],
            "present": np.array([in_words(one) for one in SETS])[sets],
            **{"fold": 0, "seed": seed, "patient": names[patients], "case": names[patients]},
            **{"region": np.array(REGIONS)[regions], "value": scores.ravel(), "status": "scored"},
        }
    )


def value_of(rows: pd.DataFrame, question: Acquisition = ASKED, metric: str = "dice") -> ModalityValue:
    grid = build_grid(rows, "brats", metric)
    return modality_value(
        lambda region: patient_table(grid, region, regions=REGIONS), METRICS.get(metric), MODALITIES, REGIONS, question
    )


def found_truth(value: ModalityValue) -> bool:
    """Whether what was planted is said: who carries each region, that t1n is worth least, and the smallest set."""
    whole, core, _ = value.regions
    smallest = value.smallest
    return (
        set(whole.above("t2f")) == {"t1n", "t1c", "t2w"}
        and set(core.above("t1c")) == {"t1n", "t2w", "t2f"}
        and "t1n" in whole.above("t2w")
        and not core.above("t1n")
        and smallest is not None
        and smallest.present == ("t1c", "t2f")
    )


@pytest.mark.parametrize("draws", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_what_was_planted_is_found_in_nearly_all_draws(draws: int) -> None:
    random = np.random.default_rng(0)
    found = [found_truth(value_of(rows_of(draw(random, 60)))) for _ in range(draws)]
    assert np.mean(found) >= 0.95


@pytest.mark.parametrize("draws", [10, pytest.param(200, marks=pytest.mark.slow)])
def test_where_all_are_alike_hardly_ever_one_is_told_from_another(draws: int) -> None:
    random = np.random.default_rng(1)
    told = []
    for _ in range(draws):
        value = value_of(rows_of(draw(random, 30, alike, noise=0.02)))
        told.append(any(one.above(name) for one in value.regions for name in MODALITIES))
        assert value.smallest is not None
        assert len(value.smallest.present) == 1
    assert np.mean(told) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / draws)


@pytest.mark.parametrize("draws", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_intervals_cover_the_planted_values_as_often_as_they_say(draws: int) -> None:
    random = np.random.default_rng(2)
    truth = shapley_values(np.concatenate([np.zeros((1, 2)), np.array([planted(one) for one in SETS])]).T)
    drawn = np.stack([draw(random, 50, noise=0.1) for _ in range(draws)], axis=2)  # patients x sets x draws x regions
    scores = np.concatenate([np.zeros_like(drawn[:, :1]), drawn], axis=1)
    values = shapley_values(np.moveaxis(scores, 1, -1))  # patients x draws x regions x modalities
    ends = mean_intervals(values.reshape(50, -1))
    target = np.broadcast_to(truth, values.shape[1:]).ravel()
    covered = [each is not None and each.low <= true <= each.high for each, true in zip(ends, target, strict=True)]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)


def test_values_are_those_of_the_means_and_sum_to_the_score_with_all() -> None:
    rows = rows_of(draw(np.random.default_rng(3), 20))
    value = value_of(rows)
    for one, region in zip(value.regions, REGIONS, strict=False):
        means = rows[rows["region"] == region].groupby("method")["value"].mean()
        by_hand = shapley_values(np.array([0.0, *(means[in_words(present)] for present in SETS)]))
        assert list(one.means.values()) == pytest.approx(by_hand)
        assert sum(one.means.values()) == pytest.approx(means[in_words(MODALITIES)])
        assert all(ends is not None and ends.low < one.means[name] < ends.high for name, ends in one.intervals.items())
    whole, core, mean = value.regions
    assert mean.means["t1c"] == pytest.approx((whole.means["t1c"] + core.means["t1c"]) / 2)


def test_a_set_that_loses_one_region_does_not_suffice_whatever_it_gains_in_another() -> None:
    scores = draw(np.random.default_rng(4), 40)
    lost = SETS.index(("t2f",))
    scores[:, lost, 0] += 0.5
    (one,) = (one for one in value_of(rows_of(scores)).sets if one.present == ("t2f",))
    assert not one.shown
    assert one.region == "ET"
    assert one.difference == pytest.approx(-0.6, abs=0.05)
    assert (one.beyond, one.patients_needed) == (40, None)


def test_seeds_are_averaged_within_patients_and_counted() -> None:
    random = np.random.default_rng(5)
    scores = [draw(random, 15) for _ in range(3)]
    value = value_of(pd.concat([rows_of(each, seed) for seed, each in enumerate(scores)]))
    assert (value.patients, value.seeds) == (15, 3)
    assert value.regions[0].means == pytest.approx(value_of(rows_of(np.mean(scores, axis=0))).regions[0].means)
    assert value.regions[1].first_in_seeds == {"t1n": 0, "t1c": 3, "t2w": 0, "t2f": 0}


@pytest.mark.parametrize("what", ["a set", "a patient of a set"])
def test_sets_without_every_score_are_named_and_nothing_is_guessed(what: str) -> None:
    rows = rows_of(draw(np.random.default_rng(6), 20))
    lacking = rows["method"] == "t1n+t2w"
    value = value_of(rows[~(lacking if what == "a set" else lacking & (rows["patient"] == "p003"))])
    assert value.lacking == (("t1n", "t2w"),)
    assert (value.regions, value.sets) == ((), ())


def test_a_command_is_advised_only_where_it_can_test_every_patient() -> None:
    study: Any = SimpleNamespace(results=SimpleNamespace(study="mine", profile="default"))
    value = ModalityValue(20, 1, Acquisition(), lacking=(("t1n",), ("t2w",)))
    assert "`harness missing mine --label 'A'` tests them" in lacking_sentence(study, value, MODALITIES, "A")
    rows = pd.DataFrame({"modalities": ["t1n+t1c+t2w+t2f", "t1n+t1c", None]})
    impossible = impossible_sets(rows, [*value.lacking, ("t1c", "t2w")])
    assert impossible == (("t2w",),)
    said = lacking_sentence(study, replace(value, impossible=impossible), MODALITIES, "A")
    assert "harness missing" not in said
    assert "no modality of t2w" in said
    assert impossible_sets(rows[:0], value.lacking) == impossible_sets(rows[["modalities"]][:1], value.lacking) == ()
    assert impossible_sets(pd.DataFrame({"case": ["a"]}), value.lacking) == ()


def test_few_patients_are_shown_but_not_tested() -> None:
    value = value_of(rows_of(draw(np.random.default_rng(7), 8)))
    assert re.search("8 patients: no significance test.* 10 patients are needed", value.untested)
    assert value.regions[1].ranked[0] == "t1c"
    assert not value.regions[1].above("t1c")
    assert value.sets == ()


def test_a_network_that_learned_nothing_says_nothing_of_its_modalities() -> None:
    value = value_of(rows_of(draw(np.random.default_rng(7), 20) * 0.05))
    assert "hardly more than without any" in value.refusal
    assert (value.regions, value.sets) == ((), ())


def test_a_metric_without_a_worst_value_gives_no_values_but_tests_the_sets() -> None:
    rows = rows_of(1 - draw(np.random.default_rng(8), 30))
    value = value_of(rows.assign(value=10 * rows["value"]), Acquisition(10 * MARGIN), "hd95")
    assert value.regions == ()
    assert "no worst value" in value.refusal
    assert value.smallest is not None
    assert value.smallest.present == ("t1c", "t2f")
    assert all(one.difference < 0 for one in value.sets if not one.shown)


def test_the_cheapest_set_and_the_cheapest_without_contrast_agent() -> None:
    scores = draw(np.random.default_rng(9), 40)
    scores[:, SETS.index(("t1n", "t2w", "t2f"))] = scores[:, -1]  # another set that suffices
    value = value_of(rows_of(scores), Acquisition(MARGIN, costs=COSTS))
    assert value.cheapest is not None
    assert value.cheapest is value.smallest
    assert (value.cheapest.present, value.cheapest.price) == (("t1c", "t2f"), (11, True))
    assert value.without_contrast is not None
    assert (value.without_contrast.present, value.without_contrast.price) == (("t1n", "t2w", "t2f"), (14, False))


@pytest.mark.parametrize(
    ("margin", "alpha", "text", "said"),
    [
        (0.0, 0.05, None, "margin 0 is not above 0"),
        (-0.1, 0.05, None, "not above 0"),
        (float("nan"), 0.05, None, "not above 0"),
        (0.02, 0.7, None, "level 0.7"),
        (None, 0.05, "t1: {minutes: 4}", "--costs needs a margin"),
        (0.02, 0.05, "t1: {minutes: -4}", r"costs.yaml:1: t1: minutes: .*greater than 0"),
        (0.02, 0.05, "t1: {minutes: 4}\nt2: 5", "costs.yaml:2: t2 is no mapping"),
        (0.02, 0.05, "t1: {minutes: 4, agent: true}", "agent"),
        (0.02, 0.05, "- t1", "holds no costs"),
        (0.02, 0.05, "", "holds no costs"),
        (0.02, 0.05, "t1: {minutes: 4}\nt1: {minutes: 5}", "repeated"),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused(tmp_path, margin, alpha, text, said) -> None:
    path = None
    if text is not None:
        path = tmp_path / "costs.yaml"
        path.write_text(text)
    with pytest.raises(HarnessError, match=said):
        read_acquisition(margin, alpha, path)


def test_costs_are_read(tmp_path) -> None:
    path = tmp_path / "costs.yaml"
    path.write_text("t1: {minutes: 4}\nt2: {minutes: 5.5, contrast: true}\n")
    assert read_acquisition(0.02, 0.05, path).price(["t1", "t2"]) == (9.5, True)
    with pytest.raises(HarnessError, match="cannot be read"):
        read_acquisition(0.02, 0.05, tmp_path / "absent.yaml")


@pytest.fixture(scope="module")
def results(new_study) -> StudyResults:
    """One network tested with every set on forty patients; nobody may change it."""
    builder = new_study(metrics=("dice",))
    builder.dataset("brats", title="BraTS", kind="real", unit="patient", modalities=MODALITIES, regions=REGIONS)
    scores = draw(np.random.default_rng(0), 40)
    people = [f"p{number:02d}" for number in range(40)]
    builder.cell("AAHN", [tuple(map(float, each)) for each in scores[:, -1]], dataset="brats", patients=people)
    subsets = []
    for number, present in enumerate(SETS[:-1]):
        more = {"present": in_words(present), "fill": "zeros", "dropout": "never dropped", "default_leading": "t1c"}
        for row in builder.cases:
            value = scores[people.index(row["patient"]), number, REGIONS.index(row["region"])]
            subsets.append(row | more | {"value": value if row["metric"] == "dice" else 10 * (1 - value)})
    return replace(builder.build(), subsets=pd.DataFrame(subsets, columns=list(SUBSET_COLUMNS)))


def test_the_answer_names_who_carries_what_the_smallest_set_and_its_price(results) -> None:
    study = analyse_study(results, question=Acquisition(MARGIN, 0.05, COSTS))
    said = value_answer(study, study.views["brats"])
    assert re.search(r"in WT t2f is worth most, 0\.\d+ .*in ET t1c is worth most, 0\.\d+ .*every other", said)
    assert "no worse" not in said
    assert re.search(r"by more than 0\.03 Dice in any region is t1c \+ t2f .*α = 0\.05, Holm over 14 sets", said)
    assert "11 min with contrast agent, all take 19 min with contrast agent" in said
    assert "Without contrast agent none is shown to suffice" in said


def test_the_answer_says_where_nothing_can_be_told_and_how_many_patients_it_takes(results) -> None:
    random = np.random.default_rng(11)
    same = results.subsets.assign(value=random.normal(0.75, 0.03, len(results.subsets)))
    full = results.cases.assign(value=random.normal(0.75, 0.03, len(results.cases)))
    study = analyse_study(replace(results, subsets=same, cases=full), question=Acquisition(0.005))
    said = value_answer(study, study.views["brats"])
    assert re.search("No modality's value can be told from another's .*takes about .* patients", said)
    assert re.search("No smaller set is shown .*so all 4 are needed as far as is known", said)


def test_one_modality_that_carries_every_region_is_told_once(results) -> None:
    def gained(rows: pd.DataFrame) -> pd.DataFrame:
        present = rows["present"] if "present" in rows else pd.Series(in_words(MODALITIES), rows.index)
        return rows.assign(value=0.3 + 0.5 * present.str.contains("t1c") + 0.01 * (rows["value"] - 0.5))

    study = analyse_study(replace(results, subsets=gained(results.subsets), cases=gained(results.cases)))
    said = value_answer(study, study.views["brats"])
    assert re.search(
        r"To AAHN: t1c is worth most in every region, 0\.5\d+ .* over their mean: more than every other", said
    )
    assert said.count("worth most") == 1


def test_the_answer_names_the_command_that_tests_what_lacks(results) -> None:
    study = analysed(replace(results, subsets=results.subsets[results.subsets["present"] != "t1n"]))
    said = value_answer(study, study.views["brats"])
    assert "1 of 15 sets lacks a score of every patient (t1n)" in said
    assert "harness missing ablation_tcfaf --profile demo --label 'AAHN'" in said
    (table,) = (table for table in build_tables(study) if table.kind == "modality-value")
    assert {cell.main for row in table.rows for cell in row.cells[:1]} == {"not tested"}


@pytest.mark.parametrize(
    ("question", "said"),
    [
        (Acquisition(1.0), "whole range of Dice"),
        (Acquisition(0.02, 0.05, COSTS | {"flair": COSTS["t2f"]}), "'flair'"),
        (Acquisition(0.02, 0.05, {name: cost for name, cost in COSTS.items() if name != "t1c"}), "lack t1c"),
    ],
)
def test_a_question_that_does_not_fit_the_study_is_refused(results, question, said) -> None:
    with pytest.raises(HarnessError, match=said):
        analyse_study(results, question=question)


def test_a_margin_for_a_study_without_such_tests_is_refused(ablation) -> None:
    with pytest.raises(HarnessError, match="tested with fewer modalities"):
        analyse_study(ablation, question=Acquisition(0.02))


def test_the_figure_marks_the_sets_that_suffice_and_names_losses_beyond_its_edge(results) -> None:
    study = analyse_study(results, question=Acquisition(MARGIN))
    drawing = value_figure(study, study.views["brats"])
    assert drawing is not None
    values, sets = drawing.figure.axes
    assert [label.get_text() for label in values.get_yticklabels()] == list(MODALITIES)
    assert [label.get_text() for label in sets.get_yticklabels()] == [" + ".join(one) for one in SETS[:-1]]
    filled = {
        float(line.get_ydata()[0]) for line in sets.lines if line.get_marker() == "o" and line.get_color() != "white"
    }
    suffice = {("t1c", "t2f"), ("t1n", "t1c", "t2f"), ("t1c", "t2w", "t2f")}
    assert filled == {SETS.index(one) for one in suffice}
    assert sum(text.get_text().startswith("◂") for text in sets.texts) == len(SETS) - 1 - len(suffice)


def test_every_format_holds_the_tables_and_the_csv_files_their_numbers(results, tmp_path) -> None:
    write_report(results, tmp_path, figures=False, question=Acquisition(MARGIN, 0.05, COSTS))
    for name in ("tables.md", "tables.tex", "report.html"):
        text = (tmp_path / name).read_text()
        assert "Shapley" in text
        assert "rule of three" in text
    values = pd.read_csv(tmp_path / "csv" / "modality_value.csv").set_index(["region", "modality"])
    assert values.loc[("ET", "t1c"), "worth"] == pytest.approx(0.65, abs=0.03)
    sets = pd.read_csv(tmp_path / "csv" / "modality_sets.csv").set_index("present")
    assert len(sets) == len(SETS) - 1
    assert sets.loc["t1c+t2f", "suffices"]
    assert (sets.loc["t1c+t2f", "minutes"], sets.loc["t1c+t2f", "contrast"]) == (11, True)
    assert not sets.loc["t1c", "suffices"]
