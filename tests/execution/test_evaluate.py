"""Folders of predictions made elsewhere: matched by name, checked, scored, and never better for a file less."""

from __future__ import annotations

import os
import shutil

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.alike import without_case
from harness.cli import main
from harness.errors import DataError, HarnessError
from harness.evaluation import METRICS
from harness.evaluation.folder import (
    FaultyCasesError,
    convention_of,
    evaluate,
    pair_files,
    parse_regions,
    summarise,
    to_rows,
)
from harness.evaluation.scoring import Score

SHAPE = (9, 10, 8)
WHOLE = {"WT": (1, 2, 3), "ET": (3,)}


def label_map(seed, labels=(0, 0, 0, 1, 2, 3)):
    return np.random.default_rng(seed).choice(labels, SHAPE).astype(np.uint8)


def write(path, label, affine=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(label, np.diag([1.0, 1.0, 2.0, 1.0]) if affine is None else affine), path)


@pytest.fixture
def folders(tmp_path):
    for number in range(3):
        write(tmp_path / "truth" / f"case{number}.nii.gz", label_map(number))
        write(tmp_path / "found" / f"case{number}.nii.gz", label_map(10 + number))
    return tmp_path / "found", tmp_path / "truth"


def scores(found, truth, **changes):
    convention = convention_of(None, WHOLE, **changes)
    return to_rows(list(evaluate(pair_files(found, truth), convention)), convention, method="theirs")


def test_every_case_region_and_metric_has_a_row_that_the_report_reads(folders):
    from harness.report.inputs.imported_results import NEEDED

    rows = scores(*folders)
    assert set(NEEDED) <= set(rows.columns)
    assert len(rows) == 3 * 2 * 2
    assert set(rows["status"]) == {"scored"}
    assert not rows.duplicated(["case", "region", "metric"]).any()


def test_processes_change_nothing(folders):
    convention, pairing = convention_of(None, WHOLE), pair_files(*folders)
    assert list(evaluate(pairing, convention, jobs=2)) == list(evaluate(pairing, convention))


def test_a_missing_file_counts_as_worst_and_a_surplus_one_is_named(folders, capsys):
    found, truth = folders
    (found / "case1.nii.gz").rename(found / "other.nii.gz")
    pairing = pair_files(found, truth)
    assert pairing.missing == ("case1",)
    assert [path.name for path in pairing.extra] == ["other.nii.gz"]
    rows = scores(found, truth)
    lost = rows[rows["case"] == "case1"]
    assert set(lost["status"]) == {"missing"}
    assert set(lost[lost["metric"] == "dice"]["value"]) == {0.0}
    assert set(summarise(rows)["missing"]) == {1}
    assert set(summarise(rows)["n"]) == {3}


@settings(max_examples=examples(15), deadline=None)
@given(
    truth=st.integers(0, 50),
    kind=st.sampled_from([(0,), (0, 0, 0, 1), (0, 1, 2, 3), (3,)]),
    real=st.sampled_from([(0,), (0,) * 40 + (3,), (0, 1, 2, 3), (1,)]),
    policy=st.sampled_from(["worst", "brats", "nan_skip"]),
)
def test_deleting_a_file_never_raises_a_score(tmp_path_factory, truth, kind, real, policy):
    folder = tmp_path_factory.mktemp("folders")
    regions = {"WT": (1, 2, 3), "NETC": (1,), "SNFH": (2,), "ET": (3,)}
    for number in range(2):
        write(folder / "truth" / f"{number}.nii", label_map(truth + number, real))
        write(folder / "found" / f"{number}.nii", label_map(100 + truth + number, kind))
    convention = convention_of(None, regions, metrics=METRICS.names(), policy=policy)

    def table():
        pairing = pair_files(folder / "found", folder / "truth")
        return to_rows(list(evaluate(pairing, convention)), convention, method="m")

    before = table()
    (folder / "found" / "1.nii").unlink()
    after = table()
    for row, other in zip(before.itertuples(), after.itertuples(), strict=True):
        higher = METRICS.get(row.metric).higher_is_better
        assert (other.value <= row.value) if higher else (other.value >= row.value), (row, other)
    if policy != "nan_skip":  # where nothing is skipped, means cannot rise either
        for row, other in zip(summarise(before).itertuples(), summarise(after).itertuples(), strict=True):
            higher = METRICS.get(row.metric).higher_is_better
            assert (other.mean <= row.mean + 1e-9) if higher else (other.mean >= row.mean - 1e-9)


def test_official_label_values_and_names_of_a_dataset(tmp_path):
    truth = label_map(0, (0, 0, 1, 2, 3))
    official = np.where(truth == 3, 4, truth).astype(np.uint8)
    write(tmp_path / "truth" / "HGG" / "BraTS19_A_1" / "BraTS19_A_1_seg.nii.gz", official)
    write(tmp_path / "truth" / "HGG" / "BraTS19_A_1" / "BraTS19_A_1_flair.nii.gz", official)
    write(tmp_path / "official" / "BraTS19_A_1.nii.gz", official)
    write(tmp_path / "own" / "BraTS19_A_1.nii.gz", truth)
    convention = convention_of("brats2019", {})
    scored = dict(evaluate(pair_files(tmp_path / "official", tmp_path / "truth"), convention))
    assert {score.value for score in scored["BraTS19_A_1"] if score.metric == "dice"} == {1.0}
    assert {score.metric for score in scored["BraTS19_A_1"]} == {"dice", "hd95", "sensitivity"}
    with pytest.raises(DataError, match=r"label values \[3\]"):
        list(evaluate(pair_files(tmp_path / "own", tmp_path / "truth"), convention))
    own = convention_of("brats2019", {}, harness_labels=True)
    assert list(evaluate(pair_files(tmp_path / "own", tmp_path / "own"), own))


def test_the_patient_of_a_timepoint_by_a_pattern():
    convention = convention_of(None, {"WT": (1,)})
    score = Score("WT", "dice", 1.0, "scored", "by hand")
    cases = [("BraTS-GLI-00008-000", [score]), ("BraTS-GLI-00008-001", [score])]
    rows = to_rows(cases, convention, method="m", patient=r"(BraTS-GLI-\d+)-\d+")
    assert list(rows["patient"]) == ["BraTS-GLI-00008"] * 2
    assert list(to_rows(cases, convention, method="m")["patient"]) == [name for name, _ in cases]
    for pattern, said in ((r"(UPENN-\d+)", "does not fit"), (r"BraTS", "does not name"), (r"(", "does not name")):
        with pytest.raises(HarnessError, match=said):
            to_rows(cases, convention, method="m", patient=pattern)


@pytest.mark.parametrize(
    ("affine", "shape", "said"),
    [
        (np.diag([1.0, 1.0, 2.1, 1.0]), SHAPE, "corners are up to 0.70 mm apart"),
        (np.diag([-1.0, 1.0, 2.0, 1.0]), SHAPE, "lies elsewhere"),
        (np.diag([1.0, 1.0, 2.0, 1.0]), (9, 10, 7), "has shape"),
    ],
)
def test_another_grid_is_refused(folders, affine, shape, said):
    found, truth = folders
    write(found / "case2.nii.gz", np.zeros(shape, np.uint8), affine)
    with pytest.raises(DataError, match=said):
        scores(found, truth)


def test_an_affine_in_single_precision_is_the_same_grid(folders):
    found, truth = folders
    write(found / "case2.nii.gz", label_map(2), np.diag([1.0, 1.0, 2.0, 1.0]) + 1e-6)
    assert len(scores(found, truth)) == 12


def test_mistakes_are_refused(folders, tmp_path):
    found, truth = folders
    for wrong in (["WT"], ["WT=0"], ["WT=1,2", "WT=3"], ["WT=300"], ["=1"], [" =1"], ["WT=1,"], ["WT=" + "9" * 5000]):
        with pytest.raises(HarnessError, match="Invalid region"):
            parse_regions(wrong)
    with pytest.raises(HarnessError, match="Either a dataset or regions"):
        convention_of(None, {})
    with pytest.raises(HarnessError, match="Did you mean 'dice'"):
        convention_of(None, WHOLE, metrics=["dise"])
    with pytest.raises(DataError, match="There is no folder"):
        pair_files(tmp_path / "nothing", truth)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no"):
        pair_files(found, tmp_path / "empty")
    shutil.copy(found / "case0.nii.gz", found / "case0.nii")
    with pytest.raises(DataError, match="twice"):
        pair_files(found, truth)


def test_the_verb_writes_the_table_and_names_what_is_missing(folders, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "160")
    found, truth = folders
    (found / "case0.nii.gz").unlink()
    arguments = ["--predictions", str(found), "--reference", str(truth), "--regions", "WT=1,2,3", "--method", "Theirs"]
    out = tmp_path / "scores.csv"
    assert main(["evaluate", *arguments, "--metric", "dice", "--metric", "nsd", "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "Missing, counted as worst: case0" in shown
    rows = pd.read_csv(out)
    assert set(rows["metric"]) == {"dice", "nsd"}
    assert set(rows["method"]) == {"Theirs"}
    assert len(rows) == 6


def test_predictions_called_like_nnunets_images_belong_to_their_case(folders):
    found, truth = folders
    before = scores(found, truth)
    for number in range(3):
        (found / f"case{number}.nii.gz").rename(found / f"case{number}_0000.nii.gz")
    pd.testing.assert_frame_equal(scores(found, truth), before)
    write(found / "case1.nii.gz", label_map(11))
    assert [path.name for path in pair_files(found, truth).extra] == ["case1_0000.nii.gz"]


def test_a_folder_without_any_prediction_of_a_case_is_refused(folders):
    found, truth = folders
    for number in range(3):
        (found / f"case{number}.nii.gz").rename(found / f"other{number}.nii.gz")
    with pytest.raises(DataError, match="no prediction of any case"):
        pair_files(found, truth)


def test_half_a_voxel_is_the_tolerance_here_too(folders):
    found, truth = folders
    near, far = np.diag([1.0, 1.0, 2.0, 1.0]), np.diag([1.0, 1.0, 2.0, 1.0])
    near[0, 3], far[0, 3] = 0.45, 0.55
    write(found / "case2.nii.gz", label_map(2), near)
    assert len(scores(found, truth)) == 12
    write(found / "case2.nii.gz", label_map(2), far)
    with pytest.raises(DataError, match=r"0\.55 mm apart"):
        scores(found, truth)


def test_axes_of_length_1_and_other_formats_are_read(folders, tmp_path):
    found, truth = folders
    before = scores(found, truth)
    for number in range(3):
        path = found / f"case{number}.nii.gz"
        image = nib.load(path)
        nib.save(nib.Nifti1Image(np.asanyarray(image.dataobj)[..., None], image.affine), path)
    pd.testing.assert_frame_equal(scores(found, truth), before)
    (tmp_path / "mha").mkdir()
    for path in found.iterdir():
        volume = sitk.ReadImage(str(path))
        sitk.WriteImage(volume, str(tmp_path / "mha" / path.name.replace(".nii.gz", ".mha")))
    pd.testing.assert_frame_equal(scores(tmp_path / "mha", truth), before)


@pytest.mark.parametrize(
    ("text", "name", "values"),
    [
        ("whole tumor=1,2", "whole tumor", (1, 2)),
        (" GTV (nodes) = 1, 2 ", "GTV (nodes)", (1, 2)),
        ("ET+TC=3", "ET+TC", (3,)),
        ("T=2 lesions=4", "T=2 lesions", (4,)),
        ("Läsion=7", "Läsion", (7,)),
    ],
)
def test_a_region_may_have_any_name(text, name, values):
    assert parse_regions([text]) == {name: values}


def run(folders, *more):
    found, truth = folders
    return main(["evaluate", "--predictions", str(found), "--reference", str(truth), *map(str, more)])


def test_scores_of_own_data_go_beside_a_study_under_its_names(folders, tmp_path):
    out = tmp_path / "new" / "scores.csv"
    named = ["--regions", "whole tumor=1,2", "--dataset-name", "my_data", "--metric", "dice"]
    assert run(folders, *named, "--out", out) == 0
    rows = pd.read_csv(out)
    assert set(rows["dataset"]) == {"my_data"}
    assert set(rows["region"]) == {"whole tumor"}
    for more in (
        ["--dataset-name", " "],
        ["--dataset-name", "a\udcff"],
        ["--method", "a\udcff"],
        ["--regions", "\udcff=2"],
    ):
        assert run(folders, "--regions", "a=1", *more) == 2


def test_an_output_that_cannot_be_written_is_refused_before_the_scoring(folders, tmp_path, monkeypatch):
    import harness.evaluation.folder

    monkeypatch.setattr(harness.evaluation.folder, "score_case", lambda *_: pytest.fail("scored"))
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for out in (tmp_path / "file" / "scores.csv", tmp_path / "folder", tmp_path / ("n" * 300)):
        assert run(folders, "--regions", "a=1", "--out", out) == 2
    assert run(folders, "--regions", "a=1", "--patient", "(nobody)", "--out", tmp_path / "scores.csv") == 2
    assert not list(tmp_path.glob("*.csv"))
    assert not list(tmp_path.glob(".write*"))


def test_every_fault_of_a_file_is_listed_with_what_is_missing(folders, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    found, truth = folders
    write(truth / "case3.nii.gz", label_map(3))
    (found / "case0.nii.gz").write_bytes(b"")
    write(found / "case1.nii.gz", np.zeros((9, 10, 7), np.uint8))
    out = tmp_path / "scores.csv"
    assert run(folders, "--regions", "a=1", "--metric", "dice", "--out", out) == 2
    shown = capsys.readouterr()
    assert "Missing, counted as worst: case3" in shown.out
    assert "Cannot be scored, counted as worst: case0, case1" in shown.out
    assert "2 of 4 cases cannot be scored" in shown.err
    assert all(name in shown.err for name in ("case0.nii.gz", "case1.nii.gz"))
    rows = pd.read_csv(out).set_index("case")
    assert list(rows["status"]) == ["missing", "missing", "scored", "missing"]
    assert list(rows["value"][["case0", "case1", "case3"]]) == [0.0, 0.0, 0.0]
    assert "case0.nii.gz cannot be read" in rows["implementation"]["case0"]
    assert "failed" not in rows["implementation"]["case3"]


def test_one_fault_of_a_thousand_cases_is_one_line():
    names = [f"case{number:04d}" for number in range(1000)]
    faults = {
        name: DataError(f"a/{name}.nii.gz {'has shape (4, 4, 3)' if number % 2 else f'lies {number}.5 mm elsewhere'}.")
        for number, name in enumerate(names)
    }
    lines = str(FaultyCasesError(faults, 2000)).splitlines()
    assert lines[0] == "1000 of 2000 cases cannot be scored:"
    assert len(lines) == 3
    assert lines[1].startswith("- a/case0000.nii.gz lies 0.5 mm elsewhere. Alike: 499 cases: case0002, case0004,")
    assert lines[2].startswith("- a/case0001.nii.gz has shape (4, 4, 3). Alike: 499 cases: case0003,")


def test_a_short_name_of_a_case_is_not_looked_for_within_words():
    assert without_case("scan/an_0001.nii lies 3.5 mm off", "an") == "scan/CASE_0.nii lies 0 mm off"


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"junk"),
        lambda path: path.write_bytes(path.read_bytes()[:-9]),
        lambda path: (path.unlink(), path.symlink_to("nowhere.nii.gz")),
        lambda path: (path.unlink(), path.symlink_to(path.name)),
        lambda path: (path.unlink(), os.mkfifo(path)),
        lambda path: write(path, np.full(SHAPE, np.nan, np.float32)),
        lambda path: write(path, np.random.default_rng(0).random(SHAPE) * 1e4),
        lambda path: write(path, label_map(0), np.diag([1.0, 1.0, 9.0, 1.0])),
    ],
    ids=["junk", "truncated", "link to nowhere", "loop", "pipe", "NaN", "an image", "another grid"],
)
@pytest.mark.parametrize("side", [0, 1], ids=["prediction", "truth"])
def test_one_damaged_file_costs_one_case(folders, tmp_path, capsys, damage, side):
    damage(folders[side] / "case1.nii.gz")
    out = tmp_path / "scores.csv"
    assert run(folders, "--regions", "a=1", "--out", out) == 2
    assert "case1.nii.gz" in capsys.readouterr().err
    rows = pd.read_csv(out).set_index(["case", "metric"])
    assert set(rows["status"][["case0", "case2"]]) == {"scored"}
    if side == 0 or rows.index.isin(["case1"], level=0).any():
        assert set(rows["status"]["case1"]) == {"missing"}
        assert rows["value"]["case1", "dice"] == 0


def test_no_table_is_written_where_no_prediction_can_be_read(folders, tmp_path):
    for number in range(3):
        write(folders[0] / f"case{number}.nii.gz", np.zeros((9, 10, 7), np.uint8))
    assert run(folders, "--regions", "a=1", "--out", tmp_path / "scores.csv") == 2
    assert not (tmp_path / "scores.csv").exists()


def test_no_prediction_that_matches_is_an_error_with_both_names(folders, capsys):
    found, _ = folders
    for number in range(3):
        (found / f"case{number}.nii.gz").rename(found / f"patient_{number}_pred.nii.gz")
    assert run(folders, "--regions", "a=1") == 2
    message = " ".join(capsys.readouterr().err.split())
    assert "'patient_0_pred'" in message
    assert "'case0'" in message
    assert "rename" in message


def test_jobs_are_capped_at_the_cores(folders, capsys):
    assert run(folders, "--regions", "a=1", "--metric", "dice", "--jobs", 100_000) == 0
    assert "one per core" in capsys.readouterr().out
