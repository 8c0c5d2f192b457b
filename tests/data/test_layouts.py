"""Folders of the user's own: nnU-Net's raw format and the Decathlon's, read without code, written and read back."""

from __future__ import annotations

import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from harness.cli import main
from harness.data.datasets.layouts import find_dataset
from harness.data.splits import choose_splits
from harness.errors import DataError, HarnessError, StudyError
from harness.study.cell import CellSpec
from harness.study.expansion import load_study

AFFINE = np.diag([-1.0, -1, 4, 1])
REGIONS = {"background": 0, "whole": [1, 2], "core": [2]}


def save(path, voxels):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, AFFINE), path)


def label_of(number):
    label = np.zeros((8, 8, 4), np.uint8)
    label[2:6, 2:6, 1:3] = 1
    label[3:5, 3 : 4 + number % 2, 1] = 2
    return label


def image_of(seed):
    return np.random.default_rng(seed).normal(100, 10, (8, 8, 4)).astype(np.float32)


@pytest.fixture
def raw(tmp_path):
    root = tmp_path / "Dataset501_Mine"
    for number in range(6):
        for channel in range(2):
            save(root / f"imagesTr/case{number}_{channel:04d}.nii.gz", image_of(10 * number + channel))
        save(root / f"labelsTr/case{number}.nii.gz", label_of(number))
    for channel in range(2):
        save(root / f"imagesTs/new_{channel:04d}.nii.gz", image_of(90 + channel))
    write(root, channel_names={"0": "T1", "1": "T1c"}, labels=REGIONS, regions_class_order=[1, 2])
    return root


def write(root, **changes):
    path = root / "dataset.json"
    content = json.loads(path.read_text()) if path.exists() else {"file_ending": ".nii.gz", "numTraining": 6}
    path.write_text(json.dumps({**content, **changes}))


def test_a_raw_folder_is_a_dataset(raw):
    dataset = find_dataset("nnunet_raw", raw)
    assert (dataset.name, dataset.modalities) == ("mine", ("T1", "T1c"))
    assert dataset.regions == {"whole": (1, 2), "core": (2,)}
    assert dataset.labels == {0: "background", 1: "label 1", 2: "core"}
    assert dataset.slice_axis == 2
    assert dataset.typical_spacing == (1, 1, 4)
    reader = dataset.open(raw)
    assert reader.unlabelled() == ("new",)
    content = reader.load("case1")
    assert np.array_equal(content.images[1], image_of(11))
    assert np.array_equal(content.label, label_of(1))


def test_an_image_to_predict_that_is_called_like_a_labelled_case_is_left_out_and_said(raw):
    for channel in range(2):
        save(raw / f"imagesTs/case0_{channel:04d}.nii.gz", image_of(95 + channel))
    dataset = find_dataset("nnunet_raw", raw)
    assert any("imagesTs/case0 is left out" in note for note in dataset.notes)
    reader = dataset.open(raw)
    assert reader.unlabelled() == ("new",)
    assert np.array_equal(reader.load("case0").images[0], image_of(0))


def test_values_with_gaps_become_consecutive(raw):
    write(raw, labels={"background": 0, "organ": 1, "lesion": 4}, regions_class_order=None)
    save(raw / "labelsTr/case0.nii.gz", np.where(label_of(0) == 2, 4, label_of(0)).astype(np.uint8))
    dataset = find_dataset("nnunet_raw", raw)
    assert dataset.file_labels == {2: 4}
    assert dataset.open(raw).load("case0").label.max() == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": {"background": 0, "organ": 1, "ignore": 2}}, "an ignore label is declared"),
        ({"labels": {"organ": 1}}, "background: 0"),
        ({"regions_class_order": [1]}, "regions_class_order"),
        ({"file_ending": ".png"}, "`file_ending` is '.png'"),
        ({"channel_names": {"1": "T1"}}, "numbered 0, 1"),
        ({"labels": {"background": 0, "organ": "x"}}, "label 'organ' must be a number"),
    ],
)
def test_what_cannot_be_is_refused_with_the_file(raw, changes, message):
    write(raw, **changes)
    with pytest.raises(DataError, match=message) as error:
        find_dataset("nnunet_raw", raw)
    assert "dataset.json" in error.value.message


def test_a_missing_modality_is_named(raw):
    (raw / "imagesTr/case2_0001.nii.gz").unlink()
    with pytest.raises(DataError, match=r"Missing file: .*case2_0001.nii.gz"):
        find_dataset("nnunet_raw", raw).open(raw).load("case2")


def test_a_listed_file_outside_the_folder_is_refused(raw):
    listed = {
        f"case{n}": {"images": [f"imagesTr/case{n}_000{c}.nii.gz" for c in (0, 1)], "label": f"labelsTr/case{n}.nii.gz"}
        for n in range(6)
    }
    listed["case0"]["images"][0] = "../outside.nii.gz"
    save(raw.parent / "outside.nii.gz", image_of(0))
    write(raw, dataset=listed)
    with pytest.raises(DataError, match="leads out"):
        find_dataset("nnunet_raw", raw).open(raw).load("case0")


@pytest.mark.parametrize("name", ["../../outside", "a/b", "..", "", "/root"])
def test_a_case_whose_name_leads_elsewhere_is_refused(raw, name):
    """Cache entries and predictions are written by the names of cases."""
    images = [f"imagesTr/case0_000{channel}.nii.gz" for channel in (0, 1)]
    write(raw, dataset={name: {"images": images, "label": "labelsTr/case0.nii.gz"}})
    with pytest.raises(DataError, match="cannot be the name of a file"):
        find_dataset("nnunet_raw", raw).open(raw)


def test_timepoints_stay_with_their_patient(raw):
    (raw / "patients.json").write_text(
        json.dumps({f"case{n}": f"p{n // 2}" for n in range(6)} | {"case5": "p9", "case4": "p8"} | {"case3": "p7"})
    )
    dataset = find_dataset("nnunet_raw", raw)
    reader = dataset.open(raw)
    for fold in choose_splits(dataset, reader):
        sides = [{reader.patient(case) for case in part} for part in (fold.train + fold.val, fold.test)]
        assert not sides[0] & sides[1]


def test_a_decathlon_folder_is_a_dataset(tmp_path):
    root = tmp_path / "Task01"
    for number in range(5):
        save(root / f"imagesTr/B_{number:03d}.nii.gz", np.stack([image_of(number), image_of(50 + number)], axis=-1))
        save(root / f"labelsTr/B_{number:03d}.nii.gz", label_of(number))
    (root / "imagesTr/._B_000.nii.gz").write_bytes(b"\x00\x05")
    content = {
        "name": "BRATS",
        "modality": {"0": "FLAIR", "1": "T1w"},
        "labels": {"0": "background", "1": "edema", "2": "tumour"},
        "training": [
            {"image": f"./imagesTr/B_{n:03d}.nii.gz", "label": f"./labelsTr/B_{n:03d}.nii.gz"} for n in range(5)
        ],
        "test": [],
    }
    (root / "dataset.json").write_text(json.dumps(content))
    dataset = find_dataset("msd", root)
    case = dataset.open(root).load("B_003")
    assert dataset.regions == {"edema": (1,), "tumour": (2,)}
    assert np.array_equal(case.images[1], image_of(53))
    assert np.array_equal(case.label, label_of(3))


def test_two_images_of_one_name_are_refused_not_made_one_case(tmp_path):
    root = tmp_path / "Task02"
    entries = []
    for number in range(5):
        save(root / f"p{number}/image.nii.gz", image_of(number))
        save(root / f"p{number}/label.nii.gz", label_of(number))
        entries.append({"image": f"p{number}/image.nii.gz", "label": f"p{number}/label.nii.gz"})
    content = {"modality": {"0": "T1"}, "labels": {"0": "background", "1": "a", "2": "b"}, "training": entries}
    (root / "dataset.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="two images called 'image'") as caught:
        find_dataset("msd", root)
    assert "p1/image.nii.gz" in caught.value.message


def test_a_study_names_the_folder_and_the_worker_finds_it_again(raw, write_study, toys):
    entry = {"nnunet_raw": str(raw), "leading": "T1c"}
    loaded = load_study(write_study(matrix={"dataset": [entry], "model": ["toy"]}))
    spec = CellSpec.from_json(loaded.cells[0].spec.to_json())
    assert spec.dataset == "mine"
    assert spec.facts().modalities == ("T1", "T1c")
    renamed = load_study(write_study(matrix={"dataset": [{**entry, "name": "other"}], "model": ["toy"]}))
    assert renamed.cells[0].spec.facts().name == "other"


def test_what_a_study_says_of_a_folder_is_checked(raw, write_study, toys):
    with pytest.raises(StudyError, match="no modality 'T2'"):
        load_study(write_study(matrix={"dataset": [{"nnunet_raw": str(raw), "leading": "T2"}], "model": ["toy"]}))
    with pytest.raises(StudyError, match="give one of"):
        load_study(write_study(matrix={"dataset": [{"nnunet_raw": str(raw), "root": "x"}], "model": ["toy"]}))
    shutil.copytree(raw, raw.parent / "copy")
    twice = [{"nnunet_raw": str(raw), "name": "a"}, {"nnunet_raw": str(raw.parent / "copy"), "name": "a"}]
    with pytest.raises(StudyError, match="two folders are called 'a'"):
        load_study(write_study(matrix={"dataset": twice, "model": ["toy"]}))


def test_a_name_of_ours_is_not_taken(raw):
    assert find_dataset("chaos", raw, "nnunet_raw").name == "own-chaos"
    with pytest.raises(HarnessError, match="Unknown dataset 'caos'"):
        find_dataset("caos")


def test_an_export_reads_back_as_it_was(raw, tmp_path, capsys):
    out = tmp_path / "exported"
    assert main(["data", "export", "nnunet_raw", "--root", str(raw), "--nnunet-raw", str(out)]) == 0
    before, after = find_dataset("nnunet_raw", raw), find_dataset("nnunet_raw", out)
    assert (before.regions, before.modalities) == (after.regions, after.modalities)
    assert list(json.loads((out / "dataset.json").read_text())["labels"]) == ["background", "whole", "core"]
    assert json.loads((out / "dataset.json").read_text())["regions_class_order"] == [1, 2]
    first, second = before.open(raw).load("case1"), after.open(out).load("case1")
    assert np.array_equal(first.images, second.images)
    assert np.array_equal(first.label, second.label)
    assert np.allclose(first.affine, second.affine)
    folds = choose_splits(after, after.open(out), out / "splits.json")
    assert folds == choose_splits(before, before.open(raw))
    assert main(["data", "export", "nnunet_raw", "--root", str(raw), "--nnunet-raw", str(out)]) == 2
    assert "not empty" in capsys.readouterr().err
