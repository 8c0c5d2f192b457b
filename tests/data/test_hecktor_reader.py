"""HECKTOR 2021: CT and PET of different grids in the official box, and back to the CT grid."""

from __future__ import annotations

import csv
import dataclasses
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from harness.data import DATASETS
from harness.data.datasets.hecktor21.boxes import SIDE_MM
from harness.data.official_grid import OfficialGrid
from harness.data.synthetic.generated import MARKER
from harness.errors import DataError

pytestmark = pytest.mark.integration

DATASET = DATASETS.get("hecktor21")
CORNER = (-65.0390625, -166.9921875, -204.05)  # of CHGJ007 in the official table, LPS


@pytest.fixture(scope="module")
def positioned(tmp_path_factory):
    """One patient whose voxels hold their own position, so that any shift, flip or swap shows; nobody may change it.

    CT is oblique and PET is not.
    """
    root = tmp_path_factory.mktemp("positioned") / "hecktor2021_train"
    (root / "hecktor_nii").mkdir(parents=True)
    write_boxes(root, [("CHGJ007", *CORNER)])
    voxels, affine = scan((3.0, 3.0, 4.0), (90, 90, 60), angle=0.2)
    write(root, "CHGJ007_ct", voxels, affine)
    write(root, "CHGJ007_pt", *scan((4.5, 4.5, 5.0), (60, 64, 50), offset=(-3.3, 2.1, 1.7)))
    write(root, "CHGJ007_gtvt", (distance_to_tumour(affine, voxels.shape) < 20).astype(np.uint8), affine)
    return root


@pytest.fixture
def tree(positioned, tmp_path):
    """The same patient, to be changed."""
    return Path(shutil.copytree(positioned, tmp_path / positioned.name))


@pytest.fixture(scope="module")
def content(positioned):
    return DATASET.open(positioned).load("CHGJ007")


@pytest.fixture(scope="module")
def drawn(generated):
    """A generated patient: the reader, the name, and what it loads."""
    reader = DATASET.open(generated("hecktor21"))
    return reader, reader.cases()[0], reader.load(reader.cases()[0])


def write_boxes(root, rows, name="hecktor2021_bbox_training.csv", side=144.0):
    with (root / name).open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["PatientID", "x1", "x2", "y1", "y2", "z1", "z2"])
        table.writerows([patient, x, x + side, y, y + side, z, z + side] for patient, x, y, z in rows)


def write(root, name, voxels, affine):
    nib.save(nib.Nifti1Image(voxels, affine), root / "hecktor_nii" / f"{name}.nii.gz")


def positions(affine, shape):
    """Returns (3, *shape): x, y, z in LPS mm."""
    ras = np.tensordot(affine[:3, :3], np.indices(shape), axes=1) + affine[:3, 3, None, None, None]
    return ras * np.array([-1, -1, 1])[:, None, None, None]


def distance_to_tumour(affine, shape):
    middle = np.array(CORNER) + np.array([60, 80, 75])
    return np.linalg.norm(positions(affine, shape) - middle[:, None, None, None], axis=0)


def scan(spacing, shape, offset=(0, 0, 0), angle=0.0):
    """Returns an image of x + 2 y - 3 z (LPS mm), on a grid around the box, and its affine."""
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-spacing[0], -spacing[1], spacing[2]])
    middle = (np.array(CORNER) + 72) * [-1, -1, 1] + offset
    affine[:3, 3] = middle - affine[:3, :3] @ (np.array(shape) - 1) / 2
    x, y, z = positions(affine, shape)
    return (x + 2 * y - 3 * z).astype(np.float32), affine


def test_every_voxel_of_the_box_shows_what_lies_at_its_place_in_both_images(content):
    case = content
    assert case.images.shape == (2, 144, 144, 144)
    assert case.spacing == (1, 1, 1)
    x, y, z = (np.arange(SIDE_MM) + start for start in CORNER)
    expected = x[:, None, None] + 2 * y[None, :, None] - 3 * z[None, None, :]
    np.testing.assert_allclose(case.images[0], expected, atol=0.05)
    np.testing.assert_allclose(case.images[1], expected, atol=0.05)
    np.testing.assert_allclose(positions(case.affine, (144,) * 3)[:, 0, 0, 0], CORNER, atol=1e-6)


def test_images_are_what_simpleitk_makes_of_the_whole_files(drawn, generated):
    _, case, content = drawn
    (folder,) = (generated("hecktor21") / "hecktor2021_train").glob("hecktor_nii")
    for index, (suffix, kind) in enumerate((("ct", sitk.sitkBSpline), ("pt", sitk.sitkBSpline))):
        (path,) = folder.glob(f"{case}_{suffix}.nii*")
        expected = resampled(sitk.ReadImage(str(path), sitk.sitkFloat32), content.affine, kind)
        assert np.abs(content.images[index][THIRDS] - expected).max() < 1e-3 * np.abs(expected).max()
    (path,) = folder.glob(f"{case}_gtvt.nii*")
    expected = resampled(sitk.ReadImage(str(path), sitk.sitkUInt8), content.affine, sitk.sitkNearestNeighbor)
    np.testing.assert_array_equal(content.label[THIRDS], expected)


THIRDS = (slice(None, None, 3),) * 3  # every third voxel along each axis: splines of all of them take seconds


def resampled(image, affine, interpolator):
    """The organisers' recipe on a whole file: first voxel on the corner, identity direction, 1 mm, 144 voxels.

    Of these, every third one.
    """
    made = sitk.ResampleImageFilter()
    made.SetOutputSpacing((3.0, 3.0, 3.0))
    made.SetOutputDirection(np.eye(3).ravel().tolist())
    made.SetOutputOrigin((affine[:3, 3] * [-1, -1, 1]).tolist())
    made.SetSize((48, 48, 48))
    made.SetInterpolator(interpolator)
    made.SetUseNearestNeighborExtrapolator(interpolator == sitk.sitkBSpline)
    return sitk.GetArrayFromImage(made.Execute(image)).T


def dice(first, second):
    first, second = first > 0, second > 0
    return 2 * (first & second).sum() / (first.sum() + second.sum())


def test_the_tumour_lies_where_it_was_drawn_and_returns_to_the_ct_grid(positioned, content):
    reader = DATASET.open(positioned)
    assert dice(content.label, distance_to_tumour(content.affine, (144,) * 3) < 20) > 0.93
    assert isinstance(reader, OfficialGrid)
    label, affine = reader.to_official("CHGJ007", content.label)
    drawn = nib.load(positioned / "hecktor_nii" / "CHGJ007_gtvt.nii.gz")
    np.testing.assert_allclose(affine, drawn.affine)
    assert label.shape == drawn.shape
    assert dice(label, np.asarray(drawn.dataobj)) > 0.999


def test_patients_of_another_table_do_no_harm_and_a_missing_one_is_named(tree):
    write_boxes(tree, [("CHGJ007", *CORNER), ("CHUP046", *CORNER)])
    assert DATASET.open(tree).cases() == ("CHGJ007",)
    write_boxes(tree, [("CHUP046", *CORNER)])
    with pytest.raises(DataError, match="no box for CHGJ007") as caught:
        DATASET.open(tree).load("CHGJ007")
    assert "hecktor2021_bbox_training.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("PatientID,x1,x2,y1,y2,z1,z2\nCHGJ007,0,144,0,144,0,120\n", "120 mm long"),
        ("PatientID,x1,x2,y1,y2,z1,z2\nCHGJ007,0,144,0,144,0,\n", "not a number"),
        ("PatientID,x1,x2,y1,y2,z1,z2\nCHGJ007,nan,144,0,144,0,144\n", "nan mm long"),
        ("PatientID,x1,x2,y1,y2,z1,z2\nCHGJ007,0,144,0,144,0,144\nCHGJ007,1,145,0,144,0,144\n", "two rows"),
    ],
)
def test_a_bad_row_stops_its_patient(tree, text, words):
    (tree / "hecktor2021_bbox_training.csv").write_text(text)
    with pytest.raises(DataError, match=words):
        DATASET.open(tree).load("CHGJ007")


def test_a_table_with_other_columns_is_refused(tree):
    (tree / "hecktor2021_bbox_training.csv").write_text("PatientID,x1,x2\nCHGJ007,0,144\n")
    with pytest.raises(DataError, match="no column y1"):
        DATASET.open(tree)


def test_a_box_somewhere_else_is_refused(tree):
    write_boxes(tree, [("CHGJ007", CORNER[0], -CORNER[1], CORNER[2])])  # as if y were RAS
    with pytest.raises(DataError, match="of the box") as caught:
        DATASET.open(tree).load("CHGJ007")
    assert "CHGJ007_ct.nii.gz" in str(caught.value)


def test_the_tumour_of_another_patient_is_refused(tree):
    voxels, affine = scan((3.0, 3.0, 4.0), (70, 90, 60))
    write(tree, "CHGJ007_gtvt", (voxels * 0).astype(np.uint8), affine)
    with pytest.raises(DataError, match="another") as caught:
        DATASET.open(tree).load("CHGJ007")
    assert "CHGJ007_gtvt.nii.gz" in str(caught.value)


def test_a_missing_pet_is_named(tree):
    (tree / "hecktor_nii" / "CHGJ007_pt.nii.gz").unlink()
    with pytest.raises(DataError, match=r"Missing file: .*CHGJ007_pt\.nii\.gz"):
        DATASET.open(tree).load("CHGJ007")


def test_a_file_that_is_there_compressed_and_uncompressed_is_refused(tree):
    path = tree / "hecktor_nii" / "CHGJ007_pt.nii.gz"
    nib.save(nib.load(path), path.with_suffix(""))
    with pytest.raises(DataError, match="Remove one of the two"):
        DATASET.open(tree).load("CHGJ007")


def test_both_archives_unpacked_into_one_folder_are_refused(tree):
    """Whether a patient has a label would hang on which table is read last."""
    write_boxes(tree, [("CHUP025", *CORNER)], "hecktor2021_bbox_testing.csv")
    write(tree, "CHUP025_ct", *scan((3.0, 3.0, 4.0), (80, 90, 60)))
    with pytest.raises(DataError, match="in the training and in the test data") as caught:
        DATASET.open(tree)
    assert "a folder of its own" in caught.value.hint


def test_another_year_s_layout_is_told_apart(tmp_path):
    (tmp_path / "imagesTr").mkdir()
    (tmp_path / "imagesTr" / "CHUM-001__CT.nii.gz").write_bytes(b"")
    with pytest.raises(DataError, match="does not hold HECKTOR 2021"):
        DATASET.open(tmp_path)


def test_the_generated_tree_has_training_and_test_and_its_traps_do_no_harm(drawn, generated):
    root = generated("hecktor21")
    reader, first, labelled = drawn
    assert (len(reader.cases()), len(reader.unlabelled())) == (6, 2)
    assert DATASET.open(root / "hecktor2021_train").cases() == reader.cases()
    assert list(root.rglob("._*"))
    assert list(root.rglob("*_ct.nii"))
    assert "CHUP046" in (root / "hecktor2021_train" / "hecktor2021_bbox_training.csv").read_text()
    last = reader.unlabelled()[0]
    assert labelled.label.any()
    assert reader.warnings(first, labelled) == []
    assert reader.warnings(last, dataclasses.replace(labelled, label=np.zeros_like(labelled.label))) == []


def test_pet_is_coarser_than_ct_and_lies_elsewhere(generated):
    for ct_path in generated("hecktor21").rglob("CH*_ct.nii*"):
        ct, pet = nib.load(ct_path), nib.load(str(ct_path).replace("_ct.", "_pt."))
        assert (np.array(pet.header.get_zooms()) > np.array(ct.header.get_zooms()))[:2].all()
        assert np.abs(pet.affine[:3, 3] - ct.affine[:3, 3]).max() > 1
        assert ct.shape != pet.shape


def test_a_labelled_patient_without_tumour_is_warned_about(positioned, content):
    reader = DATASET.open(positioned)
    assert reader.warnings("CHGJ007", content) == []
    assert reader.warnings("CHGJ007", dataclasses.replace(content, label=np.zeros_like(content.label)))
    assert not (positioned / MARKER).exists()
