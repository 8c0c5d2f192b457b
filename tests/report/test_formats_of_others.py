"""Results that others wrote: nnU-Net, MIST, panoptica, any csv; alone and beside a study."""

from __future__ import annotations

import csv
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import foreign_results as foreign
import numpy as np
import pandas as pd
import pytest
from fuzzing import changed, rewritten, tried
from hypothesis import strategies as st

from harness.cli import main
from harness.errors import DataError, HarnessError
from harness.report.analysis.analysis import analyse_study
from harness.report.analysis.own_rule import by_own_rule
from harness.report.inputs.imported_results import add_imported, import_alone
from harness.report.inputs.readers.label_names import read_label_names
from harness.report.inputs.readers.source import Request
from harness.report.inputs.requests import parse_requests
from harness.report.tables.build import build_tables
from harness.results.schema import StudyResults

CASES = [f"case_{number:03d}" for number in range(20)]


def alone(*texts: str, **options: object) -> StudyResults:
    return import_alone(parse_requests(texts, **options))[0]  # type: ignore[arg-type]


def said(*texts: str, **options: object) -> str:
    return "\n".join(import_alone(parse_requests(texts, **options))[1])  # type: ignore[arg-type]


def value(study: StudyResults, label: str, case: str, region: str, metric: str = "dice") -> tuple[float, str]:
    rows = study.cases
    row = rows[(rows["label"] == label) & (rows["case"] == case) & (rows["region"] == region)]
    return tuple(row[row["metric"] == metric].iloc[0][["value", "status"]])  # type: ignore[return-value]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("models")
    return foreign.write_model(folder / "a", CASES), foreign.write_model(folder / "b", CASES, 0.03)


def test_models_of_nnunet_make_a_report_without_a_study(models: tuple[Path, Path], project: Path) -> None:
    a, b = models
    given = ["--with", f"A={a}", "--with", f"B={b}", "--reference", "A", "--no-figures", "--out", "out"]
    assert main(["report", *given]) == 0
    text = (Path("out") / "tables.md").read_text()
    assert "B has the highest Dice" in text
    assert "difference to the reference A" in text
    stated = pd.read_csv(Path("out") / "csv" / "stated_means.csv")
    assert len(stated) == 2 * 5 * 2
    assert np.abs(stated["stated"] - stated["computed"]).max() < 1e-12


def test_regions_are_named_and_folds_kept(models: tuple[Path, Path]) -> None:
    study = alone(f"A={models[0]}", f"B={models[1]}")
    assert study.datasets["Small"].regions == ("edema", "core")
    assert study.datasets["Small"].modalities == ("T1", "T2")
    assert study.reference == "A"
    cells = study.cells[study.cells["label"] == "A"]
    assert sorted(cells["fold"]) == [0, 1, 2, 3, 4]
    folds = study.cases.drop_duplicates(["label", "case"]).groupby("label")["fold"].value_counts()
    assert set(folds) == {4}


@pytest.mark.parametrize("part", ["fold_1", "fold_1/validation", "fold_1/validation/summary.json"])
def test_a_fold_and_a_file_are_read_alike(models: tuple[Path, Path], part: str) -> None:
    study = alone(f"A={models[0] / part}", f"B={models[1] / part}")
    assert sorted(study.cases["case"].unique()) == CASES[1::5]
    assert set(study.cells["fold"]) == {1}


def test_version_1_gives_the_same_rows(tmp_path: Path) -> None:
    cases = foreign.drawn(CASES)
    new = foreign.write_json(tmp_path / "new.json", foreign.version_2(cases))
    old = foreign.write_json(tmp_path / "old" / "fold_0" / "validation_raw" / "summary.json", foreign.version_1(cases))
    study = alone(f"New={new}", f"Old={old.parents[2]}")
    rows = study.cases.set_index(["label", "case", "region"])["value"].unstack("label")
    assert len(rows) == 40
    assert (rows["New"] == rows["Old"]).all()
    assert set(rows.index.get_level_values("region")) == {"label 1", "label 2"}


def test_empty_masks_and_missing_cases_follow_the_policy_and_both_means_are_shown(tmp_path: Path) -> None:
    cases = foreign.drawn(CASES)
    cases["case_000"] = {"1": (0, 0, 0), "2": (10, 0, 0)}
    cases["case_001"]["2"] = (0, 7, 0)
    a = foreign.write_json(tmp_path / "a.json", foreign.version_2(cases))
    del cases["case_003"], cases["case_004"]
    b = foreign.write_json(tmp_path / "b.json", foreign.version_2(cases))
    study, notes = import_alone(parse_requests([f"A={a}", f"B={b}"]))
    assert value(study, "A", "case_000", "label 1") == (1.0, "empty_both")
    assert value(study, "A", "case_000", "label 2") == (0.0, "empty_one")
    assert value(study, "A", "case_001", "label 2") == (0.0, "empty_one")
    assert value(study, "B", "case_003", "label 2") == (0.0, "missing")
    assert any("2 cases have no result and count as worst: case_003, case_004" in note for note in notes)

    own = {one.label: one for one in by_own_rule(study, "Small")}
    assert (own["B"].missing, own["B"].undefined, own["B"].patients) == (2, 1, 18)
    assert own["B"].by_region == pytest.approx({f"label {key}": one for key, one in foreign.means_of(cases).items()})
    by_case = [np.nanmean([foreign.dice(one) for one in labels.values()]) for labels in cases.values()]
    assert own["B"].mean == pytest.approx(np.mean(by_case))
    assert own["B"].difference == 0  # the same on the cases that both have
    tables = {table.kind: table for table in build_tables(analyse_study(study))}
    assert [row.cells[0].main for row in tables["own-rule"].rows] == ["0", "2"]
    counted = analyse_study(study).views["Small"].analyses["dice", "Mean"].summaries["B"]
    assert counted.n_missing == 2
    assert counted.mean < own["B"].mean


def test_nan_skip_leaves_out_what_is_in_neither_mask(tmp_path: Path, project: Path) -> None:
    cases = foreign.drawn(CASES)
    cases["case_000"]["1"] = (0, 0, 0)
    for name in "ab":
        foreign.write_json(tmp_path / f"{name}.json", foreign.version_2(cases))
    given = [f"--with={name}={tmp_path / name}.json" for name in "ab"]
    assert main(["report", *given, "--no-figures", "--out", "out", "--empty", "nan_skip", "--format", "csv"]) == 0
    means = pd.read_csv("out/csv/means.csv").set_index(["label", "region"])
    assert means.loc[("a", "label 1"), "mean"] == pytest.approx(foreign.means_of(cases)["1"])


def test_a_stated_mean_that_is_not_that_of_its_cases_is_said(tmp_path: Path) -> None:
    content = foreign.version_2(foreign.drawn(CASES))
    content["mean"]["1"]["Dice"] += 2e-6
    path = foreign.write_json(tmp_path / "a.json", content)
    other = foreign.write_json(tmp_path / "b.json", foreign.version_2(foreign.drawn(CASES)))
    tables = build_tables(analyse_study(alone(f"A={path}", f"B={other}")))
    notes = next(table.notes for table in tables if table.kind == "own-rule")
    assert any("1 of 4 means" in note and "a.json, label 1" in note for note in notes)


def test_regions_of_several_labels_are_named(tmp_path: Path) -> None:
    labels = {"background": 0, "whole tumor": [1, 2], "core": [2]}
    for name in "ab":
        cases = foreign.drawn(CASES, labels=["(1, 2)", "(2,)"])
        foreign.write_json(tmp_path / f"{name}.json", foreign.version_2(cases))
    names = foreign.write_json(tmp_path / "names" / "dataset.json", {"labels": labels})
    study = alone(f"A={tmp_path}/a.json", f"B={tmp_path}/b.json", dataset_json=names)
    assert study.datasets["Small"].regions == ("whole tumor", "core")


def test_label_names_of_both_versions_are_the_same(tmp_path: Path) -> None:
    new = foreign.write_json(tmp_path / "new.json", {"labels": {"background": 0, "edema": 1}})
    old = foreign.write_json(
        tmp_path / "old.json", {"labels": {"0": "background", "1": "edema"}, "modality": {"0": "T1"}}
    )
    assert read_label_names(new).regions == read_label_names(old).regions == {(1,): "edema"}
    assert read_label_names(old).modalities == ("T1",)


def broken(change: str, folder: Path) -> list[str]:
    """Writes two files, the second one wrong in some way."""
    cases = foreign.drawn(CASES)
    content = foreign.version_2(cases)
    entries = content["metric_per_case"]
    if change == "a case twice":
        entries.append(entries[4])
    elif change == "labels of another dataset":
        del entries[7]["metrics"]["2"]
    elif change == "files of another dataset":
        entries[7]["reference_file"] = "/raw/Dataset010_Other/gt_segmentations/case_007.nii.gz"
    elif change == "NaN with voxels":
        entries[3]["metrics"]["1"]["Dice"] = float("nan")
    elif change == "no Dice":
        del entries[3]["metrics"]["1"]["Dice"]
    elif change == "a number that cannot be":
        entries[3]["metrics"]["1"]["Dice"] = 81.2
    elif change == "scored against another case":
        entries[3]["reference_file"] = "/raw/case_004.nii.gz"
    elif change == "no file":
        del entries[3]["prediction_file"], entries[3]["reference_file"]
    elif change == "endless number":
        entries[3]["metrics"]["1"]["Dice"] = 10**400
    elif change == "labels are a list":
        entries[3]["metrics"] = [1, 2]
    elif change == "nothing":
        content = {}
    elif change == "a list":
        content = [1]  # type: ignore[assignment]
    text = json.dumps(content)
    good = foreign.write_json(folder / "good.json", foreign.version_2(cases))
    bad = folder / "bad.json"
    bad.write_text(text[: len(text) // 2] if change == "cut short" else text)
    return [f"A={good}", f"B={bad}"]


@pytest.mark.parametrize(("change", "said_of_it"), [
    ("cut short", "cannot be read as JSON"),
    ("a case twice", "case 'case_004' twice|'case_004' twice"),
    ("labels of another dataset", "case 'case_007' has the labels 1"),
    ("files of another dataset", "case 'case_007' of Dataset010_Other"),
    ("NaN with voxels", "case 'case_003', label 1: Dice is NaN"),
    ("no Dice", "case 'case_003', label 1 has no Dice"),
    ("a number that cannot be", "case 'case_003': value '81.2' is refused"),
    ("scored against another case", "'case_003' was scored against 'case_004'"),
    ("no file", "entry 4 names no file"),
    ("endless number", "case 'case_003', label 1: dice is inf"),
    ("labels are a list", "case 'case_003': its scores must be a mapping"),
    ("nothing", "neither `metric_per_case`"),
    ("a list", "neither `metric_per_case`"),
])  # fmt: skip
def test_a_wrong_summary_is_refused_by_file_and_case(change: str, said_of_it: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"bad\.json.*({said_of_it})"):
        alone(*broken(change, tmp_path))


def test_folds_that_share_a_case_are_refused(tmp_path: Path) -> None:
    model = foreign.write_model(tmp_path / "a", CASES)
    shared = foreign.version_2(foreign.drawn(CASES[:2]))
    foreign.write_json(model / "fold_1" / "validation" / "summary.json", shared)
    with pytest.raises(DataError, match=r"'case_000' is in two folds: .*fold_0.*fold_1"):
        alone(f"A={model}")


def test_folds_that_share_a_patient_are_said(tmp_path: Path) -> None:
    names = [f"p{number // 2}_t{number % 2}" for number in range(20)]
    a, b = (foreign.write_model(tmp_path / name, names) for name in "ab")
    notes = said(f"A={a}", f"B={b}", patient=r"(p\d+)_")
    assert "folds share 10 patients" in notes
    assert alone(f"A={a}", f"B={b}", patient=r"(p\d+)_").cases["patient"].nunique() == 10
    with pytest.raises(HarnessError, match="does not match the case 'p0_t0'"):
        alone(f"A={a}", patient="x")


def test_labels_without_names_are_said(tmp_path: Path) -> None:
    a, b = (foreign.write_model(tmp_path / name, CASES, labels=None) for name in "ab")
    assert "labels are called label 1, label 2" in said(f"A={a}", f"B={b}")
    foreign.write_json(a / "dataset.json", {"labels": {"background": 0, "edema": 1}})
    with pytest.raises(DataError, match=r"case 'case_000': label 2 has no name in .*dataset\.json"):
        alone(f"A={a}")


@pytest.mark.parametrize("labels", [{"edema": "one"}, {"1": 1, "2": 1}, [1], {"edema": -1}, {"edema": [1.5]}, {}])
def test_labels_that_cannot_be_are_refused(tmp_path: Path, labels: object) -> None:
    with pytest.raises(DataError, match=r"dataset\.json"):
        read_label_names(foreign.write_json(tmp_path / "dataset.json", {"labels": labels}))


def test_files_of_two_datasets_are_refused_where_they_should_be_one(tmp_path: Path) -> None:
    a = foreign.write_json(tmp_path / "a.json", foreign.version_2(foreign.drawn(CASES)))
    b = foreign.write_json(tmp_path / "b.json", foreign.version_2(foreign.drawn(["x1", "x2"])))
    with pytest.raises(DataError, match=r"b\.json shares no case with .*a\.json: 'x1' and 'case_000'"):
        alone(f"A={a}", f"B={b}")
    c = foreign.write_json(tmp_path / "c.json", foreign.version_2(foreign.drawn(CASES, labels=["1", "2", "3"])))
    with pytest.raises(DataError, match=r"c\.json has the regions label 1, label 2, label 3, .*a\.json has"):
        alone(f"A={a}", f"C={c}")


def test_two_datasets_with_one_method_each_are_said(models: tuple[Path, Path], tmp_path: Path) -> None:
    other = foreign.write_json(tmp_path / "o.json", foreign.version_2(foreign.drawn(["x1", "x2"]), "Dataset010_Other"))
    notes = said(f"A={models[0]}", f"B={other}")
    assert "On Small only A has results" in notes
    assert "On Other only B has results" in notes


@pytest.mark.parametrize("name", ["../../etc/x", "a/b", "..", "a\\b", " ", "x" * 300, "Tumör 2"])
def test_a_dataset_of_any_name_is_written_into_the_report_alone(name: str, tmp_path: Path, project: Path) -> None:
    labels = {"labels": foreign.LABELS, "name": name}
    for model in "ab":
        foreign.write_json(tmp_path / "in" / f"{model}.json", foreign.version_2(foreign.drawn(CASES), "plain"))
    foreign.write_json(tmp_path / "in" / "dataset.json", labels)
    given = [f"--with={model}={tmp_path}/in/{model}.json" for model in "ab"]
    assert main(["report", *given, "--no-figures", "--format", "latex"]) == 0
    (answer,) = Path("results").rglob("answer.txt")
    assert answer.parent.parent == Path("results/reports/others")
    assert all(answer.parent.resolve() in path.resolve().parents for path in tmp_path.rglob("*.tex"))


def test_a_network_that_was_trained_on_every_case_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a" / "fold_all" / "validation" / "summary.json"
    foreign.write_json(path, foreign.version_2(foreign.drawn(CASES)))
    for given in (path, path.parents[1], path.parents[2]):
        with pytest.raises(DataError, match=r"fold_all|holds no summary") as refused:
            alone(f"A={given}")
        assert "trained on the cases" in refused.value.hint


def test_a_folder_of_models_names_them(models: tuple[Path, Path]) -> None:
    with pytest.raises(DataError, match="holds no summary") as refused:
        alone(f"A={models[0].parent}")
    assert "the models a, b" in refused.value.hint


def test_one_name_for_two_methods_is_refused_and_further_folds_are_joined(models: tuple[Path, Path]) -> None:
    a, b = models
    with pytest.raises(DataError, match="'A' has the case 'case_000' twice"):
        alone(f"A={a}", f"A={b}")
    joined = alone(f"A={a}/fold_0", f"A={a}/fold_1", f"B={b}")
    assert joined.labels == ("A", "B")
    assert set(joined.cells.loc[joined.cells["label"] == "A", "fold"]) == {0, 1}


def test_a_fold_that_a_method_lacks_is_not_missing_predictions(models: tuple[Path, Path]) -> None:
    a, b = models
    study = alone(f"A={a}", f"B={b}/fold_0")
    assert set(study.cases["status"]) == {"scored"}
    assert analyse_study(study).views["Small"].analyses["dice", "Mean"].excluded.keys() == {"B"}


def test_methods_tested_in_different_folds_are_compared_on_every_case(tmp_path: Path) -> None:
    a = foreign.write_model(tmp_path / "a", CASES)
    b = foreign.write_model(tmp_path / "b", CASES[::-1])
    study, notes = import_alone(parse_requests([f"A={a}", f"B={b}"]))
    assert any("different folds" in note for note in notes)
    assert set(analyse_study(study).views["Small"].analyses["dice", "Mean"].table.columns) == {"A", "B"}
    whole = foreign.write_json(tmp_path / "whole.json", foreign.version_2(foreign.drawn(CASES)))
    mixed = alone(f"A={a}", f"C={whole}", dataset_json=a)
    assert set(mixed.cells["fold"]) == {0, 1, 2, 3, 4}


def write_rows(path: Path, rows: list[list[object]], separator: str = ",") -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter=separator).writerows(rows)
    return path


def mist_table(folder: Path) -> Path:
    head = ["id", "WT_dice", "ET_dice", "WT_haus95", "ET_haus95", "WT_surf_dice", "ET_surf_dice", "WT_avg_surf"]
    rows = [[f"c{n}", 0.9, 0.8, 2.5, 3.0, 0.99, 0.97, 1.5] for n in range(3)] + [
        ["Mean", 0.9, 0.8, 2.5, 3, 1, 1, 1.5],
        ["Std", 0, 0, 0, 0, 0, 0, 0],
    ]
    folder.mkdir(exist_ok=True)
    return write_rows(folder / "results.csv", [head, *rows])


def test_mist(tmp_path: Path) -> None:
    path = mist_table(tmp_path)
    study, notes = import_alone(parse_requests([f"M={path}", f"N={path}"]))
    assert study.metrics == ("dice", "hd95", "nsd")
    assert sorted(study.cases["case"].unique()) == ["c0", "c1", "c2"]
    assert value(study, "M", "c1", "ET", "hd95") == (3.0, "scored")
    assert value(study, "M", "c1", "ET", "nsd") == (0.97, "scored")
    assert any("not read: WT_avg_surf" in note for note in notes)
    assert any("at 1 mm, MIST's default" in note for note in notes)


@pytest.mark.parametrize(
    ("config", "metric"),
    [
        ('{"evaluation": {"params": {"surf_dice_tol": 2.5}}}', "nsd_2.5mm"),
        ('{"evaluation": {"params": {"surf_dice_tol": 1.0}}}', "nsd"),
        ('{"evaluation": {"params": {"surf_dice_tol": "wide"}}}', "nsd"),
        ('{"evaluation": {"params": {"surf_dice_tol": -1}}}', "nsd"),
        ('{"evaluation"', "nsd"),
        ("[]", "nsd"),
    ],
)
def test_the_tolerance_of_mists_surface_dice_is_that_of_its_configuration(tmp_path: Path, config, metric) -> None:
    path = mist_table(tmp_path / "m")
    (path.parent / "config.json").write_text(config)
    study, notes = import_alone(parse_requests([f"M={path}", f"N={path}"]))
    assert study.metrics == ("dice", "hd95", metric)
    stated = config.endswith(("2.5}}}", "1.0}}}"))
    assert any("MIST's default" in note for note in notes) is not stated


def test_panoptica(tmp_path: Path) -> None:
    parts = ("num_ref_instances", "num_pred_instances", "sq_dsc", "global_bin_dsc", "global_bin_hd95")
    head = ["subject_name", *(f"{group}-{part}" for group in ("wt", "et") for part in parts)]
    rows = [
        ["s1", 1, 1, 0.7, 0.8, 2.0, 0, 0, "", "", ""],
        ["s2", 1, 0, 0.0, 0.0, "inf", 1, 1, 0.5, 0.6, 4],
        ["s2-instance-0", "", "", "", "", "", "", "", 0.4, "", ""],
    ]
    path = write_rows(tmp_path / "p.tsv", [head, *rows], "\t")
    study, notes = import_alone(parse_requests([f"P={path}", f"Q={path}"]))
    assert value(study, "P", "s1", "wt") == (0.8, "scored")
    assert value(study, "P", "s1", "et") == (1.0, "empty_both")
    assert value(study, "P", "s2", "wt") == (0.0, "empty_one")
    assert value(study, "P", "s2", "wt", "hd95")[1] == "empty_one"
    assert any("1 rows of single instances" in note for note in notes)
    penalised = import_alone(parse_requests([f"P={path}", f"Q={path}"]), empty="100mm")[0]
    assert value(penalised, "P", "s2", "wt", "hd95") == (100.0, "empty_one")


WIDE = [["ID", "Dice WT", "Dice ET", "fold"], ["c1", "0,8", "0,5", "0"], ["c2", "0,7", "", "1"]]
LONG = [["ID", "part", "measure", "score"], *([c, r, m, v] for c in ("c1", "c2") for r in ("WT", "ET")
                                              for m, v in (("Dice", 0.8), ("HD95", 3)))]  # fmt: skip
BY_REGION = [["ID", "part", "DSC"], *([c, r, 0.8] for c in ("c1", "c2") for r in ("WT", "ET"))]


@pytest.mark.parametrize(("rows", "columns"), [
    (WIDE, ["case=ID", "dice/WT=Dice WT", "dice/ET=Dice ET", "fold=fold"]),
    (LONG, ["case=ID", "region=part", "metric=measure", "value=score"]),
    (BY_REGION, ["case=ID", "region=part", "dice=DSC"]),
])  # fmt: skip
def test_any_table_is_read_by_named_columns(rows: list[list[object]], columns: list[str], tmp_path: Path) -> None:
    path = write_rows(tmp_path / "any.csv", rows, ";")
    study = alone(f"A={path}", f"B={path}", columns=columns)
    assert study.datasets["data"].regions == ("WT", "ET")
    assert value(study, "A", "c1", "WT") == (0.8, "scored")
    assert len(study.cases) == 2 * 2 * 2 * len(study.metrics)


def test_a_field_without_a_number_counts_as_worst_and_other_text_is_refused(tmp_path: Path) -> None:
    columns = ["case=ID", "dice/WT=Dice WT", "dice/ET=Dice ET"]
    path = write_rows(tmp_path / "any.csv", WIDE, ";")
    assert value(alone(f"A={path}", f"B={path}", columns=columns), "A", "c2", "ET") == (0.0, "missing")
    write_rows(path, [*WIDE, ["c3", "good", "0,5", "0"]], ";")
    with pytest.raises(DataError, match=r"any\.csv, row 4: column 'Dice WT' holds 'good'"):
        alone(f"A={path}", columns=columns)
    write_rows(path, [*WIDE, ["c1", "0,5", "0,5", "0"]], ";")
    with pytest.raises(DataError, match=r"any\.csv, rows 2 and 4: the case 'c1' is there twice"):
        alone(f"A={path}", columns=columns)


@pytest.mark.parametrize(("columns", "message"), [
    (["dice/WT=x"], "which column names the cases"), (["case"], "MEANING=HEADING"),
    (["case=ID", "case=ID"], "'case' twice"), (["case=ID", "dise=x"], "'dise'"),
    (["case=ID"], "no --column names a score"), (["case=ID", "dice=Dice XX"], "lacks the column Dice XX"),
    (["case=ID", "region=fold", "dice/WT=Dice WT"], "a column of regions and the region of a score"),
])  # fmt: skip
def test_columns_that_make_no_scores_are_refused(columns: list[str], message: str, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "any.csv", WIDE, ";")
    with pytest.raises(HarnessError, match=message):
        alone(f"A={path}", columns=columns)


def test_results_of_nnunet_stand_beside_a_study(builder, tmp_path: Path) -> None:
    builder.dataset("mine", regions=("edema", "core"), unit="patient")
    for fold in range(2):
        builder.cell(
            "Ours", [(0.5, 0.6)] * 10, dataset="mine", fold=fold, cases=CASES[fold::2], patients=CASES[fold::2]
        )
    model = foreign.write_model(tmp_path / "a", CASES, folds=2)
    entries = model / "fold_1" / "validation" / "summary.json"
    content = json.loads(entries.read_text())
    content["metric_per_case"] = content["metric_per_case"][1:]
    entries.write_text(json.dumps(content))
    ours = builder.build()
    ours = replace(ours, datasets={"mine": ours.datasets["mine"]}, metrics=("dice",))
    joined, notes = add_imported(ours, [Request(model, "nnU-Net")])
    assert joined.labels == ("Ours", "nnU-Net")
    assert value(joined, "nnU-Net", "case_001", "core") == (0.0, "missing")
    assert any("1 case has no result" in note for note in notes)
    table = analyse_study(joined, allow_mixed=True).views["mine"].analyses["dice", "Mean"].table
    assert list(table.columns) == ["Ours", "nnU-Net"]


def test_a_wrong_reference_or_path_is_said(models: tuple[Path, Path], tmp_path: Path, project: Path, capsys) -> None:
    assert main(["report", "--with", f"A={models[0]}", "--reference", "Z"]) == 2
    assert "No method is called 'Z'" in capsys.readouterr().err
    assert main(["report", "--with", f"A={tmp_path / 'nowhere'}"]) == 2
    assert "There is no file" in capsys.readouterr().err
    with pytest.raises(HarnessError, match="LABEL=PATH"):
        parse_requests(["=x"])
    (tmp_path / "a=b.csv").write_text("")
    assert parse_requests([str(tmp_path / "a=b.csv")])[0].label == ""


def check(refusal: HarnessError) -> str:
    assert "\n" not in refusal.message
    assert len(str(refusal)) < 5000
    str(refusal).encode()
    return "refused"


def fuzz(folder: Path, count: int) -> Counter[str]:
    """Reports on a good file and one that was changed: read, or refused in one line."""
    cases = foreign.drawn(CASES[:3])
    good = foreign.write_json(folder / "good.json", foreign.version_2(cases))
    bad = folder / "bad.json"

    def attempt(content: object) -> str:
        bad.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        try:
            alone(f"A={good}", f"B={bad}")
        except HarnessError as refusal:
            return check(refusal)
        return "read"

    new, old = foreign.version_2(cases), foreign.version_1(cases)
    contents = st.one_of(changed(new, ["1", 0.5]), changed(old, ["1", 0.5]), rewritten(json.dumps(new)))
    return tried(contents, attempt, count)


def test_some_summaries_are_read_or_refused(tmp_path: Path) -> None:
    assert set(fuzz(tmp_path, 8)) == {"read", "refused"}


@pytest.mark.slow
def test_a_thousand_summaries_are_read_or_refused(tmp_path: Path) -> None:
    assert sum(fuzz(tmp_path, 1000).values()) > 500
