"""Folders of the user's own: nnU-Net's raw format and the Decathlon's, read without code, written and read back."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from harness.cli import main
from harness.data.datasets.layouts import find_dataset
from harness.data.datasets.layouts.document import distinct
from harness.data.reading.nifti import read_channels
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
        ({"file_ending": ".jpg"}, "`file_ending` is '.jpg'"),
        ({"dataset": ["case0"]}, "`dataset` must map each case"),
        ({"regions_class_order": [[1], 2]}, "regions_class_order"),
        ({"channel_names": {"0": " "}}, "channels must have names"),
        ({"channel_names": {"1": "T1"}}, "numbered 0, 1"),
        ({"labels": {"background": 0, "organ": "x"}}, "label 'organ' must be a number"),
    ],
)
def test_what_cannot_be_is_refused_with_the_file(raw, changes, message):
    write(raw, **changes)
    with pytest.raises(DataError, match=message) as error:
        find_dataset("nnunet_raw", raw)
    assert "dataset.json" in error.value.message


def test_a_key_with_two_values_is_refused(raw):
    text = (raw / "dataset.json").read_text()
    (raw / "dataset.json").write_text(text.replace('"labels": {', '"labels": {"core": 1, '))
    with pytest.raises(DataError, match=r"dataset\.json cannot be read: the key 'core' stands twice"):
        find_dataset("nnunet_raw", raw)
    (raw / "dataset.json").write_text(text.replace('"labels": {', '"labels": {"core": [2], '))
    patients = ", ".join(f'"case{number}": "p{number}"' for number in range(6))
    (raw / "patients.json").write_text(f'{{{patients}, "case1": "p0"}}')
    with pytest.raises(DataError, match=r"patients\.json.*'case1' stands twice"):
        find_dataset("nnunet_raw", raw).open(raw)


def test_documents_of_windows_editors_are_read(raw):
    patients = json.dumps({f"case{number}": f"p{number // 2}" for number in range(6)})
    (raw / "patients.json").write_text(patients, encoding="utf-8-sig")
    (raw / "dataset.json").write_bytes(b"\xef\xbb\xbf" + (raw / "dataset.json").read_bytes())
    assert find_dataset("nnunet_raw", raw).open(raw).patient("case3") == "p1"


def test_a_file_of_several_volumes_is_not_taken_for_a_missing_modality(raw):
    save(raw / "imagesTr/case2_0000.nii.gz", np.stack([image_of(1), image_of(2)], axis=-1))
    with pytest.raises(DataError, match=r"case2 has 3 channels, dataset\.json declares 2") as refused:
        find_dataset("nnunet_raw", raw).open(raw).load("case2")
    assert "Keep one volume" in refused.value.hint


def test_a_missing_modality_is_named(raw):
    (raw / "imagesTr/case2_0001.nii.gz").unlink()
    with pytest.raises(DataError, match=r"Missing file: .*case2_0001.nii.gz"):
        find_dataset("nnunet_raw", raw).open(raw).load("case2")


def pointing_at(raw, prefix):
    """Returns a folder that holds nothing but a dataset.json whose `dataset` names the files of another one."""
    pointing = raw.parent / "Dataset502_Pointing"
    pointing.mkdir()
    shutil.copy(raw / "dataset.json", pointing)
    write(pointing, dataset=listing(prefix))
    return pointing


def listing(prefix):
    return {
        f"case{n}": {
            "images": [f"{prefix}imagesTr/case{n}_000{c}.nii.gz" for c in (0, 1)],
            "label": f"{prefix}labelsTr/case{n}.nii.gz",
        }
        for n in range(6)
    }


@pytest.mark.parametrize("how", ["relative", "absolute", "variable"])
def test_listed_files_that_lie_elsewhere_are_read_as_nnunet_reads_them(raw, how, monkeypatch):
    monkeypatch.setenv("MY_ARCHIVE", str(raw.parent))
    prefix = {"relative": f"../{raw.name}", "absolute": str(raw), "variable": f"${{MY_ARCHIVE}}/{raw.name}"}[how]
    pointing = pointing_at(raw, f"{prefix}/")
    reader = find_dataset("nnunet_raw", pointing).open(pointing)
    assert np.array_equal(reader.load("case3").images, find_dataset("nnunet_raw", raw).open(raw).load("case3").images)
    before = reader.fingerprint()
    save(raw / "imagesTr/case3_0000.nii.gz", image_of(77))
    assert reader.fingerprint() != before, "what lies elsewhere is part of the data's identity"


def test_a_variable_that_is_not_set_is_named(raw):
    pointing = pointing_at(raw, "$NOT_SET_ANYWHERE/x/")
    with pytest.raises(DataError, match="NOT_SET_ANYWHERE is not set"):
        find_dataset("nnunet_raw", pointing)


def test_links_are_followed(raw):
    store = raw.parent / "store"
    store.mkdir()
    before = find_dataset("nnunet_raw", raw).open(raw)
    images, fingerprint = before.load("case2").images, before.fingerprint()
    for path in [*(raw / "imagesTr").iterdir(), *(raw / "labelsTr").iterdir()]:
        path.rename(store / path.name)
        path.symlink_to(store / path.name)
    linked = find_dataset("nnunet_raw", raw).open(raw)
    assert np.array_equal(linked.load("case2").images, images)
    assert linked.fingerprint() == fingerprint
    (store / "case2_0001.nii.gz").unlink()
    with pytest.raises(DataError, match=r"case2_0001\.nii\.gz is a link to .*store"):
        linked.load("case2")


def test_the_fingerprint_of_a_folder_is_that_of_release_0_2_0(raw, monkeypatch):
    write(raw, dataset=listing(""))
    folders = [raw / name for name in ("imagesTr", "imagesTs", "labelsTr")]
    files = sorted([raw / "dataset.json", *(path for folder in folders for path in folder.iterdir())])
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.relative_to(raw).as_posix().encode() + path.read_bytes())
    monkeypatch.chdir(raw.parent)
    for root in (raw, Path(raw.name)):
        assert find_dataset("nnunet_raw", root).open(root).fingerprint() == digest.hexdigest()[:16]


def test_equal_channel_names_are_numbered(raw):
    write(raw, channel_names={"0": "CT", "1": "CT"})
    dataset = find_dataset("nnunet_raw", raw)
    assert dataset.modalities == ("CT_1", "CT_2")
    assert dataset.normalisations == ("ct", "ct")
    assert any("2 channels are called 'CT'" in note for note in dataset.notes)
    assert dataset.open(raw).load("case0").images.shape[0] == 2
    assert distinct(("a", "a_1", "a", "b")) == ("a_2", "a_1", "a_3", "b")


def test_a_missing_file_ending_is_guessed_from_what_is_there(raw):
    content = json.loads((raw / "dataset.json").read_text())
    del content["file_ending"]
    (raw / "dataset.json").write_text(json.dumps(content))
    dataset = find_dataset("nnunet_raw", raw)
    assert len(dataset.open(raw).cases()) == 6
    assert any("the files end with .nii.gz" in note for note in dataset.notes)
    (raw / "imagesTr/case0_0000.nii.gz").rename(raw / "imagesTr/case0_0000.mha")
    with pytest.raises(DataError, match=r"\.mha and \.nii\.gz") as caught:
        find_dataset("nnunet_raw", raw)
    assert "file_ending" in caught.value.hint


@pytest.mark.parametrize("ending", [".mha", ".nrrd", ".tif"])
def test_other_formats_are_read_through_simpleitk(raw, ending):
    for folder in ("imagesTr", "labelsTr", "imagesTs"):
        for path in list((raw / folder).iterdir()):
            sitk.WriteImage(sitk.ReadImage(str(path)), str(path).replace(".nii.gz", ending))
            path.unlink()
    write(raw, file_ending=ending)
    dataset = find_dataset("nnunet_raw", raw)
    case = dataset.open(raw).load("case1")
    assert np.allclose(case.images[1], image_of(11))
    assert np.array_equal(case.label, label_of(1))
    assert case.spacing == ((1, 1, 1) if ending == ".tif" else (1, 1, 4))
    assert any("1 mm is assumed" in note for note in dataset.notes) == (ending == ".tif")


def test_a_picture_in_colours_holds_all_channels(tmp_path):
    root = tmp_path / "Dataset120_Roads"
    for place in ("imagesTr", "labelsTr"):
        (root / place).mkdir(parents=True)
    for n in range(6):
        colours = np.random.default_rng(n).integers(0, 255, (9, 8, 3)).astype(np.uint8)
        road = (colours[..., 0] > 99).astype(np.uint8)
        sitk.WriteImage(sitk.GetImageFromArray(colours, isVector=True), str(root / f"imagesTr/road{n}_0000.png"))
        sitk.WriteImage(sitk.GetImageFromArray(road), str(root / f"labelsTr/road{n}.png"))
    write(root, channel_names={"0": "R", "1": "G", "2": "B"}, labels={"background": 0, "road": 1}, file_ending=".png")
    dataset = find_dataset("nnunet_raw", root)
    case = dataset.open(root).load("road1")
    assert case.images.shape == (3, 8, 9, 1)
    assert np.array_equal(case.label, (case.images[0] > 99).astype(np.uint8))


def test_a_grey_picture_with_a_palette_has_one_channel(tmp_path):
    grey = np.random.default_rng(0).integers(0, 255, (9, 8)).astype(np.uint8)
    for name, mode in (("a.bmp", "L"), ("b.png", "P"), ("c.png", "L")):
        Image.fromarray(grey).convert(mode).save(tmp_path / name)
        assert np.array_equal(read_channels(tmp_path / name)[0], grey.T[None, ..., None])
    colours = Image.fromarray(grey).convert("P")
    colours.putpalette([value for index in range(256) for value in (index, 255 - index, 7)])
    colours.save(tmp_path / "d.png")
    assert read_channels(tmp_path / "d.png")[0].shape == (3, 8, 9, 1)


def test_labels_with_an_idle_axis_are_read(raw):
    for path in (raw / "labelsTr").iterdir():
        save(path, np.asanyarray(nib.load(path).dataobj)[..., None])
    assert np.array_equal(find_dataset("nnunet_raw", raw).open(raw).load("case1").label, label_of(1))


def test_transforms_that_disagree_are_said_with_every_result(raw):
    image = nib.Nifti1Image(image_of(0), AFFINE)
    shifted = AFFINE.copy()
    shifted[0, 3] = 30
    image.set_qform(shifted, code=1)
    nib.save(image, raw / "imagesTr/case0_0000.nii.gz")
    (note,) = [note for note in find_dataset("nnunet_raw", raw).notes if "disagree" in note]
    assert note.startswith("Of 7 images, 1 file: sform and qform disagree")


def test_a_file_name_that_is_not_utf8_is_refused_in_ascii(raw):
    (raw / "labelsTr/case0.nii.gz").rename(os.fsdecode(os.fsencode(raw / "labelsTr") + b"/caf\xe9.nii.gz"))
    with pytest.raises(DataError, match=r"'caf\\udce9', which cannot be the name of a file"):
        find_dataset("nnunet_raw", raw).open(raw)


@pytest.mark.parametrize("name", ["dataset.json", "patients.json"])
def test_a_pipe_in_place_of_a_document_is_refused_before_it_blocks(raw, name):
    (raw / name).unlink(missing_ok=True)
    os.mkfifo(raw / name)
    with pytest.raises(DataError, match=f"{name} is a pipe"):
        find_dataset("nnunet_raw", raw).open(raw)


@pytest.mark.parametrize("name", ["../../outside", "a/b", "..", "", "/root", "a\0b", "a\x1b[2J"])
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


def test_folds_of_a_folder_are_written_with_what_a_study_says_of_them(raw, tmp_path, capsys):
    assert main(["data", "splits", "nnunet_raw", "--root", str(raw), "--out", str(tmp_path / "folds.json")]) == 0
    assert f"{{nnunet_raw: {raw}, splits: " in capsys.readouterr().out


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
