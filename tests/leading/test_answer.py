"""From made-up scores to the ranking, its certainty, its words and its price."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from harness.data import DATASETS
from harness.data.synthetic.generated import generate
from harness.leading.answer import find_answer, find_exhaustive
from harness.leading.race import Rung
from harness.leading.results import agreement, cost_words, ranking_rows, write_results
from harness.results.records import RungScore, RungScores


def test_a_clear_winner_leads_and_the_ranking_says_by_how_much(made_up):
    race = made_up(rungs=2)
    race.score(4, t1=0.5, epi=0.3, none=0.4)
    race.score(8, t1=0.8, none=0.65)
    rungs = race.trainings.race()
    answer = find_answer(race.trainings, rungs)
    assert [place.candidate for place in answer.places] == ["t1", "none", "epi"]
    assert [place.epoch for place in answer.places] == [8, 8, 4]
    assert [place.behind for place in answer.places] == pytest.approx([0, 0.15, 0.2])
    assert answer.first.chance == 1
    assert answer.equals == ()
    assert answer.sentence.startswith("t1 should lead: P(best) 1.00. Next is no leading modality, 0.150 Dice behind")
    assert answer.line == "leading: [t1]"
    assert answer.places[0].regions == pytest.approx(dict.fromkeys(race.plan.dataset.regions, answer.first.dice))


def test_what_cannot_be_told_apart_is_said(made_up):
    race = made_up(rungs=1)
    race.score(8, t1=0.6, none=0.3)
    for number, cell in enumerate(race.trainings.missing(["epi"], 8)):
        race.write(cell, 8, 0.599 + 0.1 * (number - 1))  # better with one seed, worse with another
    answer = find_answer(race.trainings, race.trainings.race())
    assert answer.first.candidate == "t1"
    assert answer.equals == ("epi",)
    assert "cannot tell t1" in answer.sentence
    assert answer.sentence.endswith(f"from epi ({1 - answer.first.chance:.2f}).")
    assert 0.3 < answer.first.chance < 0.9


def test_no_leading_modality_may_win(made_up):
    race = made_up(rungs=1)
    race.score(8, t1=0.5, epi=0.4, none=0.7)
    answer = find_answer(race.trainings, race.trainings.race())
    assert answer.sentence.startswith("No modality should lead")
    assert answer.line == "leading: [none]"


def test_cautions_name_what_numbers_do_not_hold(made_up):
    race = made_up(rungs=1, seeds=1)
    race.score(8, t1=0.02, epi=0.01, none=0.01)
    cautions = " ".join(find_answer(race.trainings, race.trainings.race()).cautions)
    assert "hardly anything in 8 epochs" in cautions
    assert "parts of one patient" in cautions
    assert "One seed" in cautions
    assert "protocol demo trains for 10" in cautions


def test_the_price_counts_epochs_of_all_seeds(made_up):
    race = made_up(rungs=2)
    race.score(4, t1=0.5, epi=0.3, none=0.4)
    race.score(8, t1=0.8, none=0.6)
    rungs = race.trainings.race()
    cost = find_answer(race.trainings, rungs).cost
    assert (cost.epochs, cost.of_all, cost.of_study) == (3 * (8 + 8 + 4), 3 * 3 * 8, 3 * 3 * 10)
    assert cost.seconds == 2.0 * cost.epochs
    assert not cost.measured
    assert cost.seconds_of_all == pytest.approx(2.0 * cost.of_all)
    race.score(8, epi=0.9)
    assert find_answer(race.trainings, rungs).cost.measured
    assert "60 epochs instead of 72" in cost_words(race.plan, find_answer(race.trainings, rungs))


def test_a_race_that_stopped_the_best_too_early_is_told_by_training_all(made_up, project):
    race = made_up(rungs=2)
    race.score(4, t1=0.5, epi=0.3, none=0.4)
    race.score(8, t1=0.8, none=0.6, epi=0.9)
    rungs = race.trainings.race()
    answer, whole = find_answer(race.trainings, rungs), find_exhaustive(race.trainings)
    assert (answer.first.candidate, whole.first.candidate) == ("t1", "epi")
    assert agreement(answer, whole).startswith(
        "Trained to the end, all of them: epi is first, not t1, which lies 0.100"
    )
    files = write_results(project / "out", race.trainings, rungs, answer, whole)
    assert all(path.is_file() for path in files)
    assert "epi is first, not t1" in (project / "out" / "answer.md").read_text()


def test_rows_of_the_ranking_fit_their_columns(made_up):
    race = made_up(rungs=1)
    race.score(8, t1=0.5, epi=0.4, none=0.3)
    rows = ranking_rows(race.plan, find_answer(race.trainings, race.trainings.race()))
    assert rows[0][:4] == ["t1", "1.00", "8", f"{0.5 + 0.01 * _middle(race) + 0.005:.3f}"]
    assert {len(row) for row in rows} == {4 + len(race.plan.dataset.regions) + 2}


def _middle(race):
    return np.arange(len(race.plan.validation)).mean()


def test_the_best_of_the_last_rung_is_first_whatever_came_before(made_up):
    race = made_up(rungs=1)
    race.score(8, t1=0.5, epi=0.6, none=0.3)
    answer = find_answer(race.trainings, [Rung(8, ("epi", "t1", "none"), ("epi",))])
    assert answer.first.candidate == "epi"


def race_of(made_up, project, patients):
    """A race on generated patients, in which t1c is ahead of the others on each."""
    generate(DATASETS.get("brats2023"), project / "brats", patients, 0, 0.07)
    race = made_up(dataset="brats2023", root=project / "brats", rungs=1, seeds=1, with_none=False)
    race.score(8, t1c=0.8, t1n=0.5, t2w=0.5, t2f=0.5)
    return race


def test_too_few_patients_are_refused_and_it_says_how_many_are_needed(made_up, project):
    race = race_of(made_up, project, 8)
    answer = find_answer(race.trainings, race.trainings.race())
    assert answer.patients == 3
    assert answer.sentence.startswith("3 validation patients: too few")
    assert answer.sentence.endswith("at least 4 are needed.")
    assert answer.first.candidate == "t1c"
    assert set(answer.equals) == {"t1n", "t2w", "t2f"}
    write_results(project / "out", race.trainings, race.trainings.race(), answer, None)
    assert json.loads((project / "out" / "answer.json").read_text())["leading"] is None


def test_what_cannot_be_told_apart_says_how_many_patients_it_takes(made_up, project):
    race = race_of(made_up, project, 20)
    assert find_answer(race.trainings, race.trainings.race()).needed == ""
    for name, ahead in (("t1c", (0.04, -0.03)), ("t2f", (0.0, 0.0))):
        (cell,) = race.trainings.missing([name], 4)
        rows = [
            RungScore(case=case, patient=case, region=region, dice=0.7 + ahead[number % 2] + 0.001 * number)
            for number, case in enumerate(race.plan.validation)
            for region in race.plan.dataset.regions
        ]
        cell.write_rung(RungScores(cell=cell.id, epoch=8, scores=tuple(rows), history=()))
    again = race.again()
    answer = find_answer(again, again.race())
    assert answer.equals == ("t2f",)
    assert re.search(r"To tell t1c from t2f .* takes about \d.* validation patients .* these are 6\.", answer.needed)
