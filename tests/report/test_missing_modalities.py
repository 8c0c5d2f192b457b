"""Missing modalities in a report: numbers worked out by hand, groups kept apart, failures seen, every format."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from analysed import analysed

from harness.report.analysis.analysis import analyse_study
from harness.report.figures.build import DATASET_FIGURES
from harness.report.figures.missing_modalities import missing_map
from harness.report.tables.build import build_tables
from harness.report.tables.table import CHECK
from harness.report.text.answer import answer_study
from harness.report.write import write_report
from harness.results.schema import SUBSET_COLUMNS

MODALITIES = ("t1", "t2", "flair")
PATIENTS = 10
#: What each network loses without a modality; losses add up. AAHN leads with t1.
LOSSES = {
    "AAHN": {"t1": 0.30, "t2": 0.02, "flair": 0.04},
    "U-Net": {"t1": 0.10, "t2": 0.12, "flair": 0.11},
    "AAHN, dropout": {"t1": 0.05, "t2": 0.01, "flair": 0.02},
}
BASE = {"AAHN": 0.80, "U-Net": 0.75, "AAHN, dropout": 0.78}
SUBSETS = [one for size in (2, 1) for one in itertools.combinations(MODALITIES, size)]


def dice(label, present, patient):
    """Mean over regions; each patient differs a little, and differs a little in each loss."""
    lost = sum(LOSSES[label][name] for name in MODALITIES if name not in present)
    return BASE[label] + 0.01 * (patient - 4.5) / 10 - lost * (1 + 0.02 * (patient - 4.5))


def by_hand(label, present):
    return np.mean([dice(label, present, patient) for patient in range(PATIENTS)])


@pytest.fixture(scope="module")
def results(new_study):
    """Three networks tested with every set of modalities; nobody may change it."""
    builder = new_study()
    builder.dataset("gliomas", title="Gliomas", kind="real", unit="patient", modalities=MODALITIES)
    people = [f"p{number:02d}" for number in range(PATIENTS)]
    subsets = []
    for label in LOSSES:
        leading = "-" if label == "U-Net" else "t1"
        scores = [(dice(label, MODALITIES, p) + 0.05, dice(label, MODALITIES, p) - 0.05) for p in range(PATIENTS)]
        cell = builder.cell(label, scores, dataset="gliomas", leading=leading, patients=people)
        rows = [row for row in builder.cases if row["cell"] == cell]
        for present in SUBSETS:
            for row in rows:
                patient = people.index(row["patient"])
                value = dice(label, present, patient) + (0.05 if row["region"] == "Cortex" else -0.05)
                more = {"present": "+".join(present), "fill": "token" if "dropout" in label else "zeros"}
                more |= {"dropout": "dropped with p 0.3" if "dropout" in label else "never dropped"}
                more |= {"default_leading": "flair", "value": value if row["metric"] == "dice" else 10 * (1 - value)}
                subsets.append(row | more)
    results = builder.build()
    cells = results.cells
    cells["model"] = cells["label"].map({"AAHN": "aahn", "AAHN, dropout": "aahn", "U-Net": "unet"})
    cells["protocol"] = cells["label"].map(lambda label: "demo, dropout" if "dropout" in label else "demo")
    return replace(results, subsets=pd.DataFrame(subsets, columns=list(SUBSET_COLUMNS)))


@pytest.fixture(scope="module")
def study(results):
    return analysed(results)


@pytest.fixture(scope="module")
def found(study):
    return tables_of(study)


def tables_of(study):
    return {table.kind: table for table in build_tables(study) if table.kind.startswith("missing")}


def tables(results):
    return tables_of(analysed(results))


def test_scores_by_what_is_present_are_those_worked_out_by_hand(found):
    table = found["missing-0"]
    assert table.row_header == MODALITIES
    assert [column.title for column in table.columns] == ["AAHN", "U-Net"]
    assert [row.header for row in table.rows] == [
        tuple(CHECK if name in present else "–" for name in MODALITIES) for present in [MODALITIES, *SUBSETS]
    ]
    for row, present in zip(table.rows, [MODALITIES, *SUBSETS], strict=True):
        for entry, label in zip(row.cells, ("AAHN", "U-Net"), strict=True):
            assert entry.sort == pytest.approx(by_hand(label, present))
            assert entry.main == f"{by_hand(label, present):.3f}"
            low, high = map(float, entry.span.split(", "))
            assert low <= by_hand(label, present) + 0.0005 <= high + 0.001


def test_losses_are_the_differences_to_all_modalities(found):
    table = found["missing-loss-0"]
    assert [entry.main for entry in table.rows[0].cells] == ["reference", "reference"]
    for row, present in zip(table.rows[1:], SUBSETS, strict=True):
        for entry, label in zip(row.cells, ("AAHN", "U-Net"), strict=True):
            assert entry.sort == pytest.approx(by_hand(label, present) - by_hand(label, MODALITIES))
            assert entry.main.endswith("*")  # ten patients, six tests


def test_the_leading_modalitys_loss_stands_against_that_of_each_auxiliary(found):
    rows = {(row.header[0], row.header[3]): row for row in found["missing-leading"].rows}
    assert len(rows) == 6
    for (label, auxiliary), row in rows.items():
        lead = by_hand(label, ("t2", "flair")) - by_hand(label, MODALITIES)
        other = by_hand(label, [name for name in MODALITIES if name != auxiliary]) - by_hand(label, MODALITIES)
        assert [entry.sort for entry in row.cells[:3]] == pytest.approx([lead, other, other - lead])
    assert rows["AAHN", "t2"].header[2] == "t1"
    assert rows["AAHN", "t2"].cells[2].sort == pytest.approx(0.28, abs=0.001)
    assert rows["AAHN", "t2"].cells[3].main.endswith("*")
    # No modality leads in it: that of the others is singled out, and its loss costs least here.
    assert rows["U-Net", "t2"].header[2] == "t1 (of others)"
    assert rows["U-Net", "t2"].cells[2].sort < 0


def test_who_survives_is_ranked_among_networks_trained_alike(found):
    rows = {row.header[0]: row for row in found["missing-survival"].rows}
    assert {label: row.header[1:] for label, row in rows.items()} == {
        "AAHN": ("never dropped", "zeros"),
        "U-Net": ("never dropped", "zeros"),
        "AAHN, dropout": ("dropped with p 0.3", "token"),
    }
    for label, row in rows.items():
        mean = np.mean([by_hand(label, present) for present in SUBSETS])
        worst = min(SUBSETS, key=lambda present: by_hand(label, present))
        assert row.cells[0].sort == pytest.approx(by_hand(label, MODALITIES))
        assert row.cells[1].sort == pytest.approx(mean)
        assert row.cells[2].sort == pytest.approx(mean - by_hand(label, MODALITIES))
        assert row.cells[3].sort == pytest.approx(by_hand(label, worst))
        assert row.cells[3].span == f"only {', '.join(worst)}"
    assert {label: row.cells[1].mark for label, row in rows.items()} == {
        "AAHN": "best",
        "U-Net": "second",
        "AAHN, dropout": "",
    }
    assert float(rows["U-Net"].cells[4].main.rstrip("*")) < 0.05


def test_the_answer_says_which_network_survives_and_what_its_leading_modality_is_worth(study):
    said = answer_study(study)[-1]
    mean = np.mean([by_hand("AAHN", present) for present in SUBSETS])
    assert re.search(rf"AAHN .*highest Dice .*6 sets .*{mean:.3f}", said)
    assert re.search("AAHN .*−0.300 without t1, .*−0.020 without t2, −0.040 without flair", said)
    assert re.search(r"Without .*t1, U-Net is best \(0\.650\)", said)
    assert re.search("1 of 1 network .*dropped with p 0.3", said)


def test_a_set_that_was_not_tested_and_a_test_that_failed_are_seen(results):
    lacking = results.subsets[(results.subsets["label"] != "U-Net") | (results.subsets["present"] != "t1")]
    cell = results.cells.loc[results.cells["label"] == "U-Net", "cell"].iloc[0]
    found = tables(replace(results, subsets=lacking))["missing-0"]
    assert found.rows[SUBSETS.index(("t1",)) + 1].cells[1].main == "not tested"
    failed = tables(replace(results, subsets=lacking, subset_failures={cell: "Out of memory."}))
    assert failed["missing-0"].rows[SUBSETS.index(("t1",)) + 1].cells[1].main == "failed"
    assert any("Out of memory" in note for note in failed["missing-0"].notes)
    survival = {row.header[0]: row for row in failed["missing-survival"].rows}
    assert survival["U-Net"].cells[1].main == "failed"
    assert survival["U-Net"].cells[0].sort == pytest.approx(by_hand("U-Net", MODALITIES))
    assert {row.cells[1].mark for row in survival.values()} == {""}


def test_a_network_without_any_such_result_stands_among_those_trained_like_it(results):
    cell = results.cells.loc[results.cells["label"] == "U-Net", "cell"].iloc[0]
    without = replace(results, subsets=results.subsets[results.subsets["label"] != "U-Net"])
    found = tables(without)
    assert [column.title for column in found["missing-0"].columns] == ["AAHN", "U-Net"]
    assert {row.cells[1].main for row in found["missing-0"].rows} == {"not tested"}
    study = analyse_study(replace(without, subset_failures={cell: "Out of memory."}))
    assert [one.name for one in study.views["gliomas"].missing[1].tested] == ["AAHN, dropout"]
    drawing = missing_map(study, study.views["gliomas"])
    assert sum(text.get_text() == "failed" for text in drawing.figure.axes[0].texts) == len(SUBSETS) + 1


def test_fewer_cases_with_fewer_modalities_are_never_taken_for_all(results):
    lost = (
        (results.subsets["present"] == "t1+t2")
        & (results.subsets["patient"] == "p03")
        & (results.subsets["label"] == "AAHN")
    )
    found = tables(replace(results, subsets=results.subsets[~lost]))["missing-0"]
    assert found.rows[1].cells[0].dagger
    assert not found.rows[1].cells[1].dagger
    assert any("AAHN: fewer results" in note for note in found.notes)


def test_fillings_of_one_network_stand_side_by_side(results):
    more = results.subsets[results.subsets["label"] == "AAHN"].assign(fill="mean")
    found = tables(replace(results, subsets=pd.concat([results.subsets, more])))["missing-0"]
    assert [column.title for column in found.columns] == ["AAHN, filled by zeros", "AAHN, filled by mean", "U-Net"]


def test_a_network_from_its_paper_alone_is_shown_and_not_ranked(results):
    unproven = replace(results, cells=results.cells.assign(paper_only=results.cells["label"] == "U-Net"))
    survival = tables(unproven)["missing-survival"]
    rows = {row.header[0]: row for row in survival.rows}
    marked = {name for name, row in rows.items() if any(cell.mark for cell in row.cells)}
    assert {"AAHN", "U-Net‡"} <= set(rows)
    assert "U-Net‡" not in marked
    assert (
        rows["U-Net‡"].cells[1].main
        == next(row for row in tables(results)["missing-survival"].rows if row.header[0] == "U-Net").cells[1].main
    )
    asked = analyse_study(unproven, rank_unproven=True)
    assert any(
        cell.mark
        for row in tables_of(asked)["missing-survival"].rows
        for cell in row.cells
        if row.header[0] == "U-Net‡"
    )


def test_the_heat_map_shows_every_mean_in_one_panel_per_training(study):
    drawing = missing_map(study, study.views["gliomas"])
    panels = [axes for axes in drawing.figure.axes if axes.get_title(loc="left")]
    shown = [[text.get_text() for text in axes.texts] for axes in panels]
    alike = [("AAHN", "U-Net"), ("AAHN, dropout",)]
    assert shown == [
        [f"{by_hand(label, present):.3f}" for present in [MODALITIES, *SUBSETS] for label in labels] for labels in alike
    ]
    assert panels[0].collections[0].get_clim() == panels[1].collections[0].get_clim()


def test_every_format_holds_the_tables_and_the_csv_file_their_numbers(results, tmp_path):
    write_report(results, tmp_path, figures=False)
    for name in ("tables.md", "tables.tex", "report.html"):
        assert "over all tested sets that lack at least one" in (tmp_path / name).read_text()
    assert missing_map in DATASET_FIGURES
    assert list((tmp_path / "latex").glob("missing-*-gliomas.tex"))
    rows = pd.read_csv(tmp_path / "csv" / "missing.csv").set_index(["label", "present"])
    assert len(rows) == len(LOSSES) * (len(SUBSETS) + 1)
    assert rows.loc[("U-Net", "t2"), "mean"] == pytest.approx(by_hand("U-Net", ("t2",)))
    assert rows.loc[("U-Net", "t2"), "absent"] == "t1+flair"


def test_a_study_that_was_never_tested_so_shows_nothing_of_it(ablation):
    assert not tables(ablation)
    study = analysed(ablation)
    assert len(answer_study(study)) == len(study.views)
    assert missing_map(study, study.views["cortex"]) is None
