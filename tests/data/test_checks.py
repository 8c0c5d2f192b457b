"""`harness data check` finds what was put there on purpose, and nothing in a sound folder."""

from __future__ import annotations

import shutil

import nibabel as nib
import numpy as np
import pytest

from harness.cli import main
from harness.data import DATASETS
from harness.data.reading.checks import check_dataset
from harness.data.synthetic.generated import generate

DATASET = DATASETS.get("prostate158")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("made") / "prostate"
    generate(DATASET, root, 6, 5, 0.1)
    return root


@pytest.fixture
def tree(made, tmp_path):
    shutil.copytree(made, tmp_path / "tree")
    return tmp_path / "tree"


def case_file(tree, case, name):
    return tree / f"prostate158_train/train/{case}/{name}.nii.gz"


def findings(tree):
    checked = check_dataset(DATASET, DATASET.open(tree))
    return {one.where: (one.severity, one.what) for one in checked.findings}


def test_a_sound_folder_has_nothing_to_fix(made, capsys):
    assert main(["data", "check", "prostate158", str(made)]) == 0
    assert "Nothing must be put right" in capsys.readouterr().out


def test_a_missing_modality_and_a_damaged_file_are_named(tree):
    case_file(tree, "024", "adc").unlink()
    damaged = case_file(tree, "025", "dwi")
    damaged.write_bytes(damaged.read_bytes()[:200])
    found = findings(tree)
    assert "Missing file" in found["024"][1]
    assert "cannot be read as NIfTI" in found["025"][1]
    assert {severity for severity, _ in found.values()} == {"fix"}


def test_one_patient_under_two_names_is_found(tree):
    shutil.rmtree(tree / "prostate158_train/train/025")
    shutil.copytree(tree / "prostate158_train/train/024", tree / "prostate158_train/train/025")
    (where,) = [where for where, (_, what) in findings(tree).items() if "same content" in what]
    assert where == "024, 025"


def test_one_image_as_two_modalities_is_found(tree):
    shutil.copy(case_file(tree, "024", "adc"), case_file(tree, "024", "dwi"))
    assert findings(tree)["024"] == ("fix", "adc and dwi are the same image")


def test_the_label_of_another_case_is_found(tree):
    shutil.copy(case_file(tree, "026", "t2_anatomy_reader1"), case_file(tree, "024", "t2_anatomy_reader1"))
    assert "is not on the grid" in findings(tree)["024"][1]


def test_one_label_under_two_patients_is_found(tree):
    for name in DATASET.modalities:
        image = nib.load(case_file(tree, "024", name))
        nib.save(nib.Nifti1Image(np.asarray(image.dataobj) + 1, image.affine), case_file(tree, "025", name))
    shutil.copy(case_file(tree, "024", "t2_anatomy_reader1"), case_file(tree, "025", "t2_anatomy_reader1"))
    severity, what = findings(tree)["024, 025"]
    assert severity == "fix"
    assert "the same content (label)" in what


def test_a_constant_image_and_a_wrong_label_value_are_found(tree):
    for name, change in (("adc", lambda voxels: 0 * voxels), ("t2_anatomy_reader1", lambda voxels: voxels)):
        path = case_file(tree, "024", name)
        image = nib.load(path)
        nib.save(nib.Nifti1Image(change(np.asarray(image.dataobj)), image.affine), path)
    path = case_file(tree, "025", "t2_anatomy_reader1")
    image = nib.load(path)
    nib.save(nib.Nifti1Image((np.asarray(image.dataobj) * 3).astype(np.uint8), image.affine), path)
    found = findings(tree)
    assert found["024"] == ("fix", "adc has the same value everywhere")
    assert "label values" in found["025"][1]


def test_the_wrong_label_convention_fails_the_check_in_one_line(made, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["data", "check", "prostate158-pz1", str(made)]) == 1
    shown = capsys.readouterr().out
    assert shown.count("lies behind") == 1
    assert "6 cases" in shown


def test_a_preview_is_a_picture_of_the_cases_asked_for(made, tmp_path, capsys):
    out = tmp_path / "sheet.png"
    assert main(["data", "preview", "prostate158", str(made), "--out", str(out), "--cases", "2"]) == 0
    assert out.read_bytes().startswith(b"\x89PNG")
    assert main(["data", "preview", "prostate158", str(made), "--out", str(out / "sheet.png")]) == 2


def test_a_folder_without_labels_has_a_preview_too(generated, tmp_path):
    root = generated("brats2019") / "MICCAI_BraTS_2019_Data_Validation"
    out = tmp_path / "sheet.png"
    assert main(["data", "preview", "brats2019", str(root), "--out", str(out), "--cases", "1"]) == 0
    assert out.read_bytes().startswith(b"\x89PNG")
