"""What to acquire and what should lead on one page: the rule of `harness lead`, the same rows for all, and refusals."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from harness.report.analysis.analysis import analyse_study
from harness.report.analysis.modalities.lead_words import lead_sentence
from harness.report.inputs.acquisition import Acquisition, Cost
from harness.report.tables.build import build_tables
from harness.report.text.acquire_and_lead import advice_answer
from harness.report.write import write_report
from harness.results.schema import SUBSET_COLUMNS
from harness.results.subsets import in_words
from harness.statistics.chances import Resamples, chances_of_best

MODALITIES = ("t1", "t1c", "flair")
SETS = [one for size in (2, 1) for one in itertools.combinations(MODALITIES, size)]
MARGIN = 0.05
COSTS = {"t1": Cost(minutes=4, contrast=False), "t1c": Cost(minutes=5, contrast=True), "flair": Cost(minutes=6)}


def planted(present):
    """t1c and flair carry the image; t1 adds nothing."""
    return 0.2 + 0.4 * ("t1c" in present) + 0.25 * ("flair" in present)


@pytest.fixture
def make(new_study):
    """Returns a function that makes a study up in which each of some modalities leads with its own gain."""

    def made(gains, patients=30, seeds=2, tested=MODALITIES):
        random, builder = np.random.default_rng(0), new_study(metrics=("dice",))
        builder.dataset("brats", title="BraTS", kind="real", unit="patient", modalities=MODALITIES, regions=("WT",))
        people = [f"p{number:02d}" for number in range(patients)]
        hard, subsets = random.normal(0, 0.05, patients), []
        for (leading, gain), seed in itertools.product(gains.items(), range(seeds)):
            dice = planted(MODALITIES) + gain + hard + random.normal(0, 0.02, patients)
            scores = [(float(each),) for each in dice]
            cell = builder.cell("AAHN", scores, dataset="brats", leading=leading, seed=seed, patients=people)
            rows = [row for row in builder.cases if row["cell"] == cell and row["metric"] == "dice"]
            for present in SETS if leading in tested else ():
                lost = planted(MODALITIES) - planted(present)
                more = {"present": in_words(present), "fill": "zeros", "dropout": "never dropped"}
                for row, noise in zip(rows, random.normal(0, 0.02, patients), strict=True):
                    subsets.append(row | more | {"default_leading": "t1c", "value": row["value"] - lost + noise})
        return replace(builder.build(), subsets=pd.DataFrame(subsets, columns=list(SUBSET_COLUMNS)))

    return made


def page(results, question=Acquisition(MARGIN)):  # noqa: B008
    study = analyse_study(results, question=question)
    return study, advice_answer(study, study.views["brats"])


def table_of(study):
    (table,) = (table for table in build_tables(study) if table.kind == "acquire-and-lead")
    return {row.header[1]: dict(zip([c.name for c in table.columns], row.cells, strict=True)) for row in table.rows}


def test_paragraph_and_table_name_the_same_leader_and_the_same_set(make):
    study, said = page(make({"t1": 0.0, "t1c": 0.06, "none": 0.01}), Acquisition(MARGIN, costs=COSTS))
    assert "On 30 test patients and 2 seeds: t1c should lead: P(best) 1.00. Next is no leading modality" in said
    assert "To acquire: t1c + flair, 11 min with contrast agent (all: 15 min with contrast agent)" in said
    assert "α = 0.05" in said
    assert "not among them" not in said
    rows = table_of(study)
    assert set(rows) == {*MODALITIES, "none"}
    assert {name: row["Leads Dice ↑"].mark for name, row in rows.items()} | {"flair": ""} == {
        **dict.fromkeys(rows, ""),
        "t1c": "best",
    }
    assert {name for name, row in rows.items() if row["acquire"].main == "✓"} == {"t1c", "flair"}
    assert rows["flair"]["Leads P(best)"].main == "–"
    assert rows["t1c"]["without it"].sort == pytest.approx(-0.4, abs=0.02)


def test_the_leader_is_the_one_that_harness_lead_would_name_from_the_same_scores(make):
    results = make({"t1": 0.0, "t1c": 0.01, "flair": 0.008})
    study, _ = page(results)
    choice = study.views["brats"].leading["AAHN"]
    rows = results.cases[results.cases["metric"] == "dice"]
    scores = {
        name: rows[rows["leading"] == name].pivot(index="seed", columns="patient", values="value").to_numpy()
        for name in ("t1", "t1c", "flair")
    }
    draws = Resamples(2, 30)
    chances = chances_of_best([scores], draws)
    assert {leader.name: leader.chance for leader in choice.leaders} == pytest.approx(chances, abs=1e-3)
    first = max(scores, key=lambda name: scores[name].mean())
    behind = {
        name: (float((scores[first] - each).mean()), draws.interval(scores[first] - each))
        for name, each in scores.items()
        if name != first
    }
    assert choice.sentence == lead_sentence(first, chances, behind)


def test_what_the_data_cannot_tell_says_how_many_patients_it_takes(make):
    _, said = page(make({"t1": 0.001, "t1c": 0.0}))
    assert re.search(r"cannot tell (t1c?) \(P\(best\) 0\.\d+\) from t1c? ", said)
    assert re.search(r"takes about [\d,]+ patients at the observed difference; these are 30", said)


def test_a_leader_that_is_not_to_be_acquired_is_pointed_out(make):
    _, said = page(make({"t1": 0.06, "t1c": 0.0}))
    assert "t1 should lead" in said
    assert "But t1, which should lead, is not among them" in said


def test_too_few_patients_are_refused_with_the_number_that_is_needed(make):
    study, said = page(make({"t1": 0.0, "t1c": 0.2}, patients=3))
    assert "3 patients: too few to say which modality should lead" in said
    assert "at least 4 are needed" in said
    assert re.search(r"To acquire: all 3, because no test can be made \(3 patients: .* 8 patients are needed\)", said)
    assert study.views["brats"].leading["AAHN"].refused
    assert {row["Leads P(best)"].main for row in table_of(study).values()} == {"–"}


def test_a_network_that_was_not_tested_names_the_command(make):
    _, said = page(make({"t1": 0.0, "t1c": 0.06}, tested=("t1",)))
    assert "t1c should lead" in said
    assert "needed was not tested; `harness missing ablation_tcfaf --profile demo --label 'AAHN'` tests it" in said


def test_one_question_alone_says_how_the_other_is_asked(make):
    _, said = page(make({"t1c": 0.0}))
    assert "`leading: [all]` in the study or `harness lead brats` asks it" in said
    assert "To acquire: t1c + flair" in said
    _, said = page(make({"t1": 0.0, "t1c": 0.06}), Acquisition())
    assert "Name a margin" in said
    study, said = page(make({"t1c": 0.0}), Acquisition())
    assert said == ""
    assert not [table for table in build_tables(study) if table.kind == "acquire-and-lead"]


def test_every_format_holds_the_page(make, tmp_path):
    write_report(make({"t1": 0.0, "t1c": 0.06}), tmp_path, figures=False, question=Acquisition(MARGIN))
    for name in ("answer.txt", "tables.md", "report.html"):
        assert "t1c should lead" in (tmp_path / name).read_text()
    rows = pd.read_csv(tmp_path / "csv" / "acquire_and_lead.csv").set_index("modality")
    assert rows["should_lead"].dropna().to_dict() == {"t1": False, "t1c": True}
    assert rows["acquire"].to_dict() == {"t1": False, "t1c": True, "flair": True}


def test_a_network_in_which_no_modality_leads_is_not_asked_which_should(make):
    _, said = page(make({"-": 0.0}, tested=("-",)))
    assert "No modality leads in it. To acquire: t1c + flair" in said
    assert "harness lead" not in said
