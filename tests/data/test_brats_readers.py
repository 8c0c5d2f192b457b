"""BraTS 2019, 2023 and 2024 in their official layouts, with the traps of the real archives."""

from __future__ import annotations

import shutil

import nibabel as nib
import numpy as np
import pytest

from harness.data import DATASETS
from harness.data.datasets.brats.layout import OFFICIAL_SHAPES
from harness.data.datasets.brats2019.reader import LAYOUT as LAYOUT_2019
from harness.data.datasets.brats2023.reader import LAYOUT as LAYOUT_2023
from harness.data.datasets.brats2024.reader import LAYOUT as LAYOUT_2024
from harness.data.reading.nifti import read_label
from harness.data.splits import check_leak
from harness.data.synthetic.generated import MARKER
from harness.errors import DataError

LAYOUTS = {"brats2019": LAYOUT_2019, "brats2023": LAYOUT_2023, "brats2024": LAYOUT_2024}
EVERY = pytest.mark.parametrize("name", LAYOUTS)


def opened(name, root):
    return DATASETS.get(name).open(root)


def folder_of(root, case):
    (found,) = root.rglob(case)
    return found


@EVERY
def test_every_case_is_read_with_all_modalities_and_declared_labels(name, generated):
    dataset, reader = DATASETS.get(name), opened(name, generated(name))
    assert len({reader.patient(case) for case in reader.cases()}) == 6
    for case in reader.cases():
        content = reader.load(case)
        assert content.images.shape == (4, *content.label.shape)
        assert all(image.any() for image in content.images)
        assert set(np.unique(content.label)) <= set(dataset.labels)
        assert content.label.any()
        assert reader.warnings(case, content) == []


@EVERY
def test_the_validation_folder_can_be_predicted_only(name, generated):
    reader = opened(name, generated(name))
    assert len(reader.unlabelled()) == 2
    assert not set(reader.unlabelled()) & set(reader.cases())
    content = reader.load(reader.unlabelled()[0])
    assert content.images.any()
    assert not content.label.any()


@EVERY
def test_folds_never_share_a_patient(name, generated):
    dataset, reader = DATASETS.get(name), opened(name, generated(name))
    assert len(dataset.fold_names) == dataset.folds
    for fold in range(dataset.folds):
        split = reader.split(fold)
        check_leak(split, dataset, reader, name)
        assert sorted((*split.train, *split.val, *split.test)) == list(reader.cases())


def test_brats_2019_is_drawn_with_the_grade_before_the_name(generated):
    root = generated("brats2019")
    reader = opened("brats2019", root)
    named = sorted(
        f"{path.parent.name}__{path.name}" for path in root.rglob("BraTS19_*") if path.parent.name in ("HGG", "LGG")
    )
    trained = np.random.RandomState(12345).choice(len(named), int(len(named) * 0.8), replace=False)
    tested = {name.split("__")[1] for index, name in enumerate(named) if index not in trained}
    assert set(reader.split(0).test) == tested


@pytest.mark.parametrize("name", ["brats2023", "brats2024"])
def test_two_timepoints_are_two_cases_of_one_patient(name, generated):
    reader = opened(name, generated(name))
    patients = [reader.patient(case) for case in reader.cases()]
    assert len(patients) == 7
    assert len(set(patients)) == 6


def test_names_of_every_source_give_the_patient():
    assert LAYOUT_2019.patient("BraTS19_CBICA_AAB_1") == "BraTS19_CBICA_AAB"
    assert LAYOUT_2019.patient("BraTS19_2013_10_1") == "BraTS19_2013_10"
    assert LAYOUT_2019.patient("BraTS19_TCIA12_101_1") == "BraTS19_TCIA12_101"
    assert LAYOUT_2023.patient("BraTS-GLI-00008-001") == "BraTS-GLI-00008"
    assert LAYOUT_2024.patient("BraTS-GLI-00005-100") == "BraTS-GLI-00005"
    with pytest.raises(DataError, match="BraTS-GLI-00000-000"):
        LAYOUT_2023.patient("BraTS-GLI-8-1")


@EVERY
def test_the_files_values_and_the_harness_s_are_each_other_s_inverse(name):
    dataset, layout = DATASETS.get(name), LAYOUTS[name]
    assert {value: dataset.file_labels.get(value, value) for value in dataset.labels} == {
        value: in_file for in_file, value in layout.labels.items()
    }
    assert dataset.modalities == layout.modalities


def test_enhancing_tumour_is_4_in_the_files_of_2019_and_3_here(generated):
    root = generated("brats2019")
    reader = opened("brats2019", root)
    seen = 0
    for case in reader.cases():
        (path,) = folder_of(root, case).glob(f"{case}_seg.nii*")
        in_file, _ = read_label(path, frozenset({0, 1, 2, 4}))
        label = reader.load(case).label
        np.testing.assert_array_equal(label == 3, in_file == 4)
        np.testing.assert_array_equal(label * (label < 3), in_file * (in_file < 3))
        seen += int((in_file == 4).sum())
    assert seen


def test_regions_are_the_challenges():
    pre = {"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,)}
    assert DATASETS.get("brats2019").regions == DATASETS.get("brats2023").regions == pre
    post = DATASETS.get("brats2024")
    cavity = next(value for value, word in post.labels.items() if word == "resection cavity")
    assert post.regions == pre | {"NETC": (1,), "SNFH": (2,), "RC": (4,)}
    assert cavity == 4
    assert cavity not in post.regions["WT"]


@EVERY
def test_a_case_without_enhancing_tumour_is_a_case(name, generated):
    reader = opened(name, generated(name))
    without = [case for case in reader.cases() if 3 not in reader.load(case).label]
    assert len(without) == 1


def test_labels_with_floating_point_noise_are_whole_numbers(generated):
    root = generated("brats2023")
    reader = opened("brats2023", root)
    noisy = []
    for case in reader.cases():
        (path,) = folder_of(root, case).glob(f"{case}-seg.nii*")
        stored = np.asarray(nib.load(path).dataobj)
        if stored.dtype.kind == "f":
            noisy.append(case)
            assert (stored != np.rint(stored)).any()
            np.testing.assert_array_equal(reader.load(case).label, np.rint(stored))
    assert len(noisy) == 1


@EVERY
def test_compressed_and_uncompressed_files_are_read_alike(name, copied):
    root = copied(name)
    reader = opened(name, root)
    plain = [case for case in reader.cases() if any(folder_of(root, case).glob("*.nii"))]
    assert len(plain) == 1
    before = reader.load(plain[0])
    for path in folder_of(root, plain[0]).glob("*.nii"):
        nib.save(nib.load(path), path.with_suffix(".nii.gz"))
        path.unlink()
    after = opened(name, root).load(plain[0])
    np.testing.assert_array_equal(before.images, after.images)
    np.testing.assert_array_equal(before.label, after.label)


def test_a_file_that_is_there_compressed_and_uncompressed_is_refused(copied):
    root = copied("brats2023")
    reader = opened("brats2023", root)
    path = next(path for path in root.rglob("*-t1c.nii.gz") if not path.name.startswith("."))
    nib.save(nib.load(path), path.with_suffix(""))
    with pytest.raises(DataError, match="Remove one of the two"):
        reader.load(path.name.removesuffix("-t1c.nii.gz"))


@EVERY
def test_files_of_macos_are_left_alone(name, generated, copied):
    clean = opened(name, generated(name))
    assert list(generated(name).rglob("._*"))
    root = copied(name)
    for case in clean.cases()[:2]:
        (root / "__MACOSX" / case).mkdir(parents=True)
        (root / "__MACOSX" / case / f"._{case}-seg.nii.gz").write_bytes(b"\0\5\26\7")
    again = opened(name, root)
    assert again.cases() == clean.cases()
    assert again.fingerprint() == clean.fingerprint()


def test_an_archive_may_be_named_itself(generated):
    whole = opened("brats2023", generated("brats2023"))
    folder = generated("brats2023") / "ASNR-MICCAI-BraTS2023-GLI-Challenge-TrainingData"
    assert opened("brats2023", folder).cases() == opened("brats2023", folder / folder.name).cases() == whole.cases()
    validation = opened("brats2023", generated("brats2023") / "ASNR-MICCAI-BraTS2023-GLI-Challenge-ValidationData")
    assert validation.cases() == ()
    assert validation.unlabelled() == whole.unlabelled()


def test_a_training_folder_that_is_called_validation_is_refused_not_left_out(copied):
    """Else all its cases would be predicted only, and nobody would know why there are none to train on."""
    root = copied("brats2019")
    root = root.rename(root.with_name("cross_validation"))
    with pytest.raises(DataError, match="'cross_validation'") as caught:
        opened("brats2019", root)
    assert "_seg.nii" in caught.value.message


def test_an_earlier_release_beside_the_later_one_is_refused(copied):
    root = copied("brats2024")
    training = root / "BraTS2024-BraTS-GLI-TrainingData"
    shutil.copytree(training / "training_data1_v2", training / "training_data1")
    with pytest.raises(DataError, match="twice") as caught:
        opened("brats2024", root)
    assert "training_data1_v2" in str(caught.value)
    assert opened("brats2024", training / "training_data1").cases()


@EVERY
def test_a_folder_without_cases_says_how_they_are_named(name, tmp_path):
    (tmp_path / "something").mkdir()
    with pytest.raises(DataError, match="as unpacked from the official archive") as caught:
        opened(name, tmp_path)
    assert LAYOUTS[name].example in str(caught.value)


@EVERY
def test_a_training_case_without_segmentation_is_an_error_not_a_validation_case(name, copied):
    root = copied(name)
    case = opened(name, root).cases()[0]
    (path,) = folder_of(root, case).glob(f"{case}?seg.nii*")
    path.unlink()
    reader = opened(name, root)
    assert case in reader.cases()
    with pytest.raises(DataError, match="Missing file") as caught:
        reader.load(case)
    assert path.name in str(caught.value)


def test_the_fingerprint_follows_content_and_nothing_else(copied):
    root = copied("brats2019")
    before = opened("brats2019", root).fingerprint()
    (root / "notes.txt").write_text("mine")
    assert opened("brats2019", root).fingerprint() == before
    path = next(path for path in root.rglob("*_t2.nii.gz") if not path.name.startswith("."))
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj) + np.int16(1), image.affine), path)
    assert opened("brats2019", root).fingerprint() != before


@pytest.mark.parametrize(("name", "shape"), [("brats2024", (240, 240, 155)), ("brats2023", (182, 218, 182))])
def test_the_other_release_is_not_read_as_this_one(name, shape, tmp_path):
    """Names are alike and labels 1 to 3 are declared by both: a table would call one release the other."""
    case = "BraTS-GLI-00005-100"
    (tmp_path / case).mkdir()
    nib.save(nib.Nifti1Image(np.ones(shape, np.uint8), np.eye(4)), tmp_path / case / f"{case}-t1n.nii")
    with pytest.raises(DataError, match="that of another BraTS release") as caught:
        opened(name, tmp_path).load(case)
    assert f"{case}-t1n.nii" in caught.value.message
    assert str(LAYOUTS[name].shape) in caught.value.message


def test_every_release_has_an_official_shape():
    assert {layout.shape for layout in LAYOUTS.values()} == set(OFFICIAL_SHAPES)


def test_the_shape_of_another_release_and_the_label_of_another_case_are_said(copied):
    root = copied("brats2023")
    for marker in root.rglob(MARKER):
        marker.unlink()
    reader = opened("brats2023", root)
    case = reader.cases()[0]
    content = reader.load(case)
    (shape,) = reader.warnings(case, content)
    assert "(240, 240, 155)" in shape
    foreign = type(content)(content.images, np.roll(content.label, content.label.shape[0] // 2, axis=0), content.affine)
    assert any("outside the brain" in warning for warning in reader.warnings(case, foreign))
    empty = type(content)(content.images, np.zeros_like(content.label), content.affine)
    assert any("empty" in warning for warning in reader.warnings(case, empty))
