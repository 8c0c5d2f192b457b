"""Damaged and foreign files in a preparation: each is named with a remedy, the rest is kept, nothing is half done."""

from __future__ import annotations

import gzip

import nibabel as nib
import numpy as np
import pytest

from harness.data.datasets.brats2023 import DATASET
from harness.data.preparation.prepare import prepare
from harness.data.settings import PreparationSettings
from harness.errors import DataError

GOOD, BAD = "BraTS-GLI-00000-000", "BraTS-GLI-00001-000"
SHAPE = (20, 24, 18)


def save(path, voxels, affine=None):
    nib.save(nib.Nifti1Image(voxels, np.diag([1.0, 1, 1, 1]) if affine is None else affine), path)


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "ASNR-MICCAI-BraTS2023-GLI-Challenge-TrainingData"
    rng = np.random.default_rng(0)
    for case in (GOOD, BAD):
        (root / case).mkdir(parents=True)
        for modality in DATASET.modalities:
            save(root / case / f"{case}-{modality}.nii.gz", rng.integers(1, 900, SHAPE).astype(np.int16))
        save(root / case / f"{case}-seg.nii.gz", rng.integers(0, 4, SHAPE).astype(np.uint8))
    return root


def image_of(root, what="t1c"):
    return root / BAD / f"{BAD}-{what}.nii.gz"


def truncate(root):
    path = image_of(root)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def damage_inside(root):
    """A flipped byte in the middle of the compressed stream."""
    path = image_of(root)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)


def replace_by_text(root):
    image_of(root).write_bytes(gzip.compress(b"<html>404</html>" * 100))


def add_dimension(root):
    save(image_of(root), np.ones((*SHAPE, 2), np.int16))


def flatten(root):
    save(image_of(root), np.ones(SHAPE[:2], np.int16))


def poison(root):
    voxels = np.ones(SHAPE, np.float32)
    voxels[3, 3, 3] = np.nan
    save(image_of(root), voxels)


def colour(root):
    save(image_of(root), np.zeros(SHAPE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")]))


def leave_complex(root):
    save(image_of(root), np.ones(SHAPE, np.complex64))


def collapse(root):
    """Voxels without extent along z; nibabel would not write that."""
    content = bytearray(gzip.decompress(image_of(root).read_bytes()))
    row = nib.Nifti1Header.template_dtype.fields["srow_z"][1]
    content[row : row + 16] = bytes(16)
    image_of(root).write_bytes(gzip.compress(bytes(content)))


def take_anothers_label(root):
    save(image_of(root, "seg"), np.ones((SHAPE[0] + 2, *SHAPE[1:]), np.uint8))


def take_a_shifted_label(root):
    affine = np.eye(4)
    affine[0, 3] = 40
    save(image_of(root, "seg"), np.ones(SHAPE, np.uint8), affine)


def take_an_older_label(root):
    save(image_of(root, "seg"), np.full(SHAPE, 4, np.uint8))


def lead_out(root):
    secret = root.parent.parent / "outside.nii.gz"
    save(secret, np.ones(SHAPE, np.int16))
    image_of(root).unlink()
    image_of(root).symlink_to(secret)


def remove(root):
    image_of(root).unlink()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (truncate, ("cannot be read as NIfTI", "download it again")),
        (damage_inside, ("cannot be read as NIfTI", "download it again")),
        (replace_by_text, ("cannot be read as NIfTI", "download it again")),
        (add_dimension, ("(20, 24, 18, 2); a 3D volume is expected", "right file")),
        (flatten, ("(20, 24); a 3D volume is expected", "right file")),
        (poison, ("1 voxels that are not finite", "Convert the image again")),
        (colour, ("real number per voxel", "Take the image itself")),
        (leave_complex, ("holds complex64", "Take the image itself")),
        (collapse, ("no valid affine", "voxel size must not be 0")),
        (take_anothers_label, ("(22, 24, 18)", "another case")),
        (take_a_shifted_label, ("not on the grid", "another case")),
        (take_an_older_label, ("label values [4]", "right release")),
        (lead_out, ("leads out of the dataset's folder", "Put the file itself there")),
        (remove, ("Missing file", "unpacked again")),
    ],
)
def test_a_bad_file_is_named_with_its_remedy_and_leaves_nothing_behind(tree, tmp_path, damage, words):
    damage(tree)
    reader = DATASET.open(tree)
    label_is_bad = damage.__name__.endswith("label")
    with pytest.raises(DataError) as caught:
        prepare(DATASET, reader, [GOOD, BAD], PreparationSettings(), (16, 16), tmp_path / "cache")
    text = str(caught.value)
    assert f"Case {BAD}" in text
    assert image_of(tree, "seg" if label_is_bad else "t1c").name in text
    assert all(word in text for word in words), text
    prepared = [path.parent.name for path in (tmp_path / "cache").rglob("entry.json")]
    assert prepared == [GOOD], "the good case is kept, the bad one is not there"
    assert not list((tmp_path / "cache").rglob("*.tmp"))
