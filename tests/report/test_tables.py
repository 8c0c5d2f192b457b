from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from harness.errors import DataError
from harness.evaluation import METRICS
from harness.report.analysis.analysis import analyse_study
from harness.report.analysis.variants import Variant
from harness.report.inputs.imported_results import read_imported
from harness.report.inputs.published_numbers import published_rows
from harness.report.inputs.several_studies import combine
from harness.report.tables.ablation import switches
from harness.report.tables.build import build_tables
from harness.results.schema import StudyResults


def test_parts_of_a_switch_become_check_marks() -> None:
    names = ("none", "ca", "cma", "full")
    found = switches({Variant(name, "t1"): {"tcfaf": name, "width": 16} for name in names})
    assert {column: list(marks.values()) for column, marks in found.items()} == {
        "tcfaf: ca": ["–", "✓", "–", "✓"],
        "tcfaf: cma": ["–", "–", "✓", "✓"],
    }


def test_replacements_are_words_not_check_marks() -> None:
    found = switches({Variant(name, "t1"): {"cmhgf": name} for name in ("full", "concat", "cma")})
    assert list(found["cmhgf"].values()) == ["✓", "concat", "cma"]
    found = switches({Variant(name, "t1"): {"auxiliary": name} for name in ("all", "others")})
    assert list(found["auxiliary"].values()) == ["all", "others"]


def test_an_ablation_has_its_own_table(ablation: StudyResults) -> None:
    values = {"w/o T-CFAF": "none", "+ CA": "ca", "+ CMA": "cma", "AAHN": "full"}
    options = [json.dumps({"tcfaf": values[label]}) for label in ablation.cells["label"]]
    kinds = {table.kind: table for table in build_tables(analyse_study(ablation_with(ablation, options)))}
    assert kinds["ablation-aahn"].rows[-1].header == ("AAHN", "✓", "✓")


def ablation_with(results: StudyResults, options: list[str]) -> StudyResults:
    return replace(results, cells=results.cells.assign(options=options))


def test_the_shipped_numbers_are_the_published_ones() -> None:
    assert len(published_rows("hecktor21")) == 22


def test_methods_under_different_protocols_are_not_ranked_unless_asked(builder) -> None:
    for label in ("AAHN", "B"):
        builder.cell(label, [(0.5, 0.6)] * 2)
    results = builder.build()
    results.cells.loc[1, "protocol"] = "long"
    refused = build_tables(analyse_study(results))[0]
    mixed = build_tables(analyse_study(results, allow_mixed=True))[0]
    assert {entry.mark for row in refused.rows for entry in row.cells} == {""}
    assert "not ranked" in " ".join(refused.caption)
    assert "best" in {entry.mark for row in mixed.rows for entry in row.cells}
    assert "--allow-mixed" in " ".join(mixed.caption)


def test_results_of_another_group_stand_beside_ours(ablation: StudyResults, tmp_path: Path) -> None:
    rows = ablation.cases[ablation.cases["label"] == "AAHN"].assign(method="theirs", label="Theirs")
    path = tmp_path / "theirs.csv"
    rows[["method", "label", "dataset", "patient", "case", "region", "metric", "value"]].to_csv(path, index=False)
    table = build_tables(analyse_study(combine([ablation, read_imported(path, ablation)])))[0]
    assert "Theirs" in {row.header[0] for row in table.rows}
    assert "not ranked" in " ".join(table.caption)


def test_an_import_whose_cases_have_other_names_is_refused(ablation: StudyResults, tmp_path: Path) -> None:
    path = tmp_path / "theirs.csv"
    ablation.cases.head(4).assign(method="theirs", case="case_0001").to_csv(path, index=False)
    with pytest.raises(DataError, match=r"cortex .*'case_0001'"):
        read_imported(path, ablation)


def test_an_import_that_knows_no_patients_takes_those_of_the_study(ablation: StudyResults, tmp_path: Path) -> None:
    path = tmp_path / "theirs.csv"
    rows = ablation.cases[ablation.cases["label"] == "AAHN"]
    rows.assign(method="theirs", label="theirs", patient=rows["case"]).to_csv(path, index=False)
    found = read_imported(path, ablation).cases
    assert list(found["patient"]) == list(rows["patient"])
    assert list(found["case"]) == list(rows["case"])
    # but what the file says of patients stands
    rows.assign(method="theirs", label="theirs", patient="another").iloc[:1].to_csv(path, index=False)
    with pytest.raises(DataError, match="patient 'another'"):
        read_imported(path, ablation)


def test_a_leading_modality_is_compared_with_treating_all_alike(builder) -> None:
    for leading, dice in (("none", 0.5), ("t1", 0.7), ("epi", 0.6)):
        builder.cell("AAHN", [(dice, dice)] * 2, leading=leading)
    builder.cell("B", [(0.4, 0.4)] * 2, leading="t1")
    study = analyse_study(builder.build())
    view = study.views["cortex"]
    found = {each.method: each.reference for each in view.analyses["dice", view.main].comparisons}
    alike = "AAHN, no modality leading"
    assert found == {"AAHN, t1 leading": alike, "AAHN, epi leading": alike, "B": "AAHN, t1 leading"}


@pytest.mark.parametrize(
    ("metric", "value", "range_of"),
    [
        ("sensitivity", 81.3, "between 0 and 1 (not a percentage)"),
        ("nsd", 1.2, "between 0 and 1"),
        ("chaos_score", 101.0, "between 0 and 100"),
        ("hd95", -1.0, "at 0 or above"),
    ],
)
def test_an_import_out_of_its_metrics_range_is_refused(
    ablation: StudyResults, tmp_path: Path, metric: str, value: float, range_of: str
) -> None:
    rows = (
        ablation.cases[ablation.cases["metric"] == "dice"].head(1).assign(method="theirs", metric=metric, value=value)
    )
    path = tmp_path / "theirs.csv"
    rows.to_csv(path, index=False)
    with pytest.raises(DataError, match=r"theirs\.csv, row 2") as refused:
        read_imported(path, replace(ablation, metrics=(metric,)))
    assert range_of in str(refused.value.hint)


@pytest.mark.parametrize(("value", "allowed"), [(-0.5, True), (-1.5, False)])
def test_a_metric_may_reach_below_zero(
    ablation: StudyResults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float, allowed: bool
) -> None:
    kappa = replace(METRICS.get("dice"), lowest=-1.0)
    monkeypatch.setattr(METRICS, "get", {"dice": kappa}.__getitem__)
    rows = ablation.cases[ablation.cases["metric"] == "dice"].head(1).assign(method="theirs", value=value)
    path = tmp_path / "theirs.csv"
    rows.to_csv(path, index=False)
    if allowed:
        assert read_imported(path, replace(ablation, metrics=("dice",))).cases["value"].tolist() == [value]
        return
    with pytest.raises(DataError) as refused:
        read_imported(path, replace(ablation, metrics=("dice",)))
    assert "between -1 and 1" in str(refused.value.hint)


@pytest.mark.parametrize(("column", "value"), [("value", "80"), ("value", ""), ("region", "Moon"), ("metric", "x")])
def test_a_wrong_import_names_file_and_row(ablation: StudyResults, tmp_path: Path, column: str, value: str) -> None:
    rows = ablation.cases[ablation.cases["metric"] == "dice"].head(2).assign(method="theirs").astype(str)
    rows.loc[rows.index[1], column] = value
    path = tmp_path / "theirs.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    with pytest.raises(DataError, match=r"theirs\.csv, row 3"):
        read_imported(path, ablation)


@pytest.mark.parametrize(("patients", "shown"), [(1, False), (5, False), (6, True)])
def test_effect_sizes_of_too_few_patients_are_left_out(builder, patients, shown):
    people = [f"p{number}" for number in range(patients)]
    builder.cell("AAHN", [(0.8, 0.9)] * patients, patients=people)
    builder.cell("other", [(0.7, 0.8)] * patients, patients=people)
    study = analyse_study(builder.build())
    table = next(each for each in build_tables(study) if each.kind == "comparisons-dice")
    places = [place for place, column in enumerate(table.columns) if column.title in ("Cliff's delta", "P(better)")]
    row = next(row for row in table.rows if row.header[0] == "other")
    assert [row.cells[place].text for place in places] == (["−1.00", "0.00"] if shown else [])


def test_every_table_with_a_row_per_network_shows_what_it_takes_on_request(every_table: StudyResults) -> None:
    cells = every_table.cells.assign(
        device=every_table.cells["label"].map({"AAHN": "NVIDIA H100"}).fillna("cpu (1 thread)"),
        ranks=every_table.cells["label"].map({"AAHN": 2}).fillna(1),
        train_seconds=5400.0,
        peak_memory_mb=2500.0,
    )
    study = analyse_study(replace(every_table, cells=cells))
    plain, found = ({(one.kind, one.dataset): one for one in build_tables(study, budget=way)} for way in (False, True))
    assert set(plain) == set(found)
    for place, table in found.items():
        rows = [row for row in table.rows if row.variant is not None]
        if place[0] == "efficiency" or not rows:
            assert table == plain[place]
            continue
        assert [column.title for column in table.columns[-4:]] == [
            "Parameters (M)",
            "GFLOPs",
            "Peak memory (GB)",
            "GPU hours",
        ]
        for row, before in zip(table.rows, plain[place].rows, strict=True):
            assert row.cells[:-4] == before.cells
            if row.variant is not None and row.variant.label in ("AAHN", "w/o T-CFAF"):
                hours = "3.00" if row.variant.label == "AAHN" else "–"
                assert [cell.main for cell in row.cells[-4:]] == ["1.23", "3.21", "2.50", hours]
    with_budget = {kind for (kind, _), table in found.items() if table.columns[-1].title == "GPU hours"}
    assert {"means", "medians", "comparisons-dice", "differences-dice", "published"} <= with_budget
