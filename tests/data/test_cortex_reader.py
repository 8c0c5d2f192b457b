"""The embedded person: an honest split, a common orientation, and files that are not what they should be."""

from __future__ import annotations

import shutil

import nibabel as nib
import numpy as np
import pytest

from harness.data import DATASETS
from harness.errors import DataError

DATASET = DATASETS.get("cortex")


@pytest.fixture(scope="module")
def reader():
    return DATASET.open(DATASET.home)


def span(case: str) -> tuple[str, set[int]]:
    side, slices = case.split("_y")
    first, last = map(int, slices.split("-"))
    return side, set(range(first, last + 1))


def slices_of(cases) -> set[tuple[str, int]]:
    return {(side, index) for side, indices in map(span, cases) for index in indices}


@pytest.mark.parametrize("fold", [0, 1])
def test_one_hemisphere_trains_and_the_other_is_tested_whole(reader, fold):
    split = reader.split(fold)
    train_side, test_side = ("left", "right") if fold == 0 else ("right", "left")
    assert {side for side, _ in slices_of(split.train + split.val)} == {train_side}
    assert {side for side, _ in slices_of(split.test)} == {test_side}
    assert len(slices_of(split.test)) == {"left": 160, "right": 163}[test_side]


@pytest.mark.parametrize("fold", [0, 1])
def test_guards_of_four_slices_lie_between_training_and_validation(reader, fold):
    split = reader.split(fold)
    train = {index for _, index in slices_of(split.train)}
    val = {index for _, index in slices_of(split.val)}
    assert min(abs(a - b) for a in train for b in val) == 5
    assert len(val) == 4 * 8


def test_the_folds_are_swapped_and_their_hashes_differ(reader):
    first, second = reader.split(0), reader.split(1)
    assert first.hash != second.hash
    assert first.hash == reader.split(0).hash


def test_the_midline_belongs_to_neither_side(reader):
    for side, sign in (("left", -1), ("right", 1)):
        case = reader.load(f"{side}_y080-087")
        x = (
            case.affine
            @ np.array(
                [np.arange(case.label.shape[0]), *np.zeros((2, case.label.shape[0])), np.ones(case.label.shape[0])]
            )
        )[0]
        assert (sign * x > 6).all()
        assert (np.diff(sign * x) > 0).all(), "index 0 is nearest to the midline on both sides"


def test_both_sides_face_alike(reader):
    """Mirrored labels agree far better than unmirrored ones."""
    left, right = (reader.load(f"{side}_y080-087").label for side in ("left", "right"))
    width = min(len(left), len(right))
    same = np.mean((left[:width] > 0) == (right[:width] > 0))
    flipped = np.mean((left[:width][::-1] > 0) == (right[:width] > 0))
    assert same > flipped + 0.2


def test_the_affine_of_a_slab_leads_back_to_the_file(reader):
    image = nib.load(DATASET.home / "label.nii.gz")
    whole, to_voxel = np.asarray(image.dataobj), np.linalg.inv(image.affine)
    for name in ("left_y040-047", "right_y100-107"):
        case = reader.load(name)
        for index in np.argwhere(case.label == 1)[::997]:
            voxel = to_voxel @ case.affine @ np.append(index, 1)
            assert whole[tuple(np.rint(voxel[:3]).astype(int))] == 1


def test_the_floor_is_the_mirrored_label_of_the_training_side(reader):
    (trivial,) = reader.trivial_baselines(0, "right_y080-087")
    left = reader.load("left_y080-087").label
    assert trivial.prediction.shape == reader.load("right_y080-087").label.shape
    assert np.array_equal(trivial.prediction[: len(left)], left)
    assert not trivial.prediction[len(left) :].any()


@pytest.fixture
def copy(tmp_path):
    for name in ("t1", "epi", "label"):
        shutil.copy(DATASET.home / f"{name}.nii.gz", tmp_path)
    return tmp_path


def test_a_missing_file_is_named(copy):
    (copy / "epi.nii.gz").unlink()
    with pytest.raises(DataError, match=r"Missing file: .*epi.nii.gz"):
        DATASET.open(copy)


def test_a_truncated_file_is_named(copy):
    data = (copy / "t1.nii.gz").read_bytes()
    (copy / "t1.nii.gz").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"t1.nii.gz cannot be read as NIfTI") as error:
        DATASET.open(copy).split(0)
    assert "download it again" in error.value.hint


def replace_image(folder, name, array, affine=None):
    path = folder / f"{name}.nii.gz"
    nib.save(nib.Nifti1Image(array, nib.load(path).affine if affine is None else affine), path)


def test_a_misshaped_image_is_named_with_both_shapes(copy):
    replace_image(copy, "epi", np.ones((160, 184, 100), np.uint8))
    with pytest.raises(DataError, match=r"epi\.nii\.gz .*t1\.nii\.gz.*\(160, 184, 100\)"):
        DATASET.open(copy).split(0)


def test_an_image_on_another_affine_is_refused(copy):
    replace_image(copy, "epi", np.ones((160, 184, 132), np.uint8), np.diag([2.0, 1, 1, 1]))
    with pytest.raises(DataError, match="not on the grid"):
        DATASET.open(copy).split(0)


def test_an_undeclared_label_is_named(copy):
    label = np.asarray(nib.load(copy / "label.nii.gz").dataobj).copy()
    label[0, 0, 0] = 7
    replace_image(copy, "label", label)
    with pytest.raises(DataError, match=r"\[7\].*\[0, 1, 2\]"):
        DATASET.open(copy).split(0)


def test_voxels_that_are_no_numbers_are_counted(copy):
    image = np.ones((160, 184, 132), np.float32)
    image[:2, 0, 0] = np.nan
    replace_image(copy, "t1", image)
    with pytest.raises(DataError, match="2 voxels that are not finite"):
        DATASET.open(copy).split(0)


def test_the_fingerprint_follows_the_content(copy):
    before = DATASET.open(copy).fingerprint()
    assert before == DATASET.open(DATASET.home).fingerprint()
    replace_image(copy, "t1", np.ones((160, 184, 132), np.uint8))
    assert DATASET.open(copy).fingerprint() != before


@pytest.mark.parametrize("case", ["../etc", "left_y1-2", "middle_y001-002", ""])
def test_a_name_that_is_no_case_is_refused(reader, case):
    with pytest.raises(DataError, match="is not a case"):
        reader.load(case)
