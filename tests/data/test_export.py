"""Challenge files: official names, values and geometry; our own are accepted, what a challenge would refuse is not."""

from __future__ import annotations

import dataclasses
import os
import zipfile

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from harness.data import DATASETS
from harness.data.datasets.chaos.export import ChaosSlices
from harness.data.datasets.hecktor21.boxes import SIDE_MM
from harness.data.export import check_export, exporter_of, pack, write_prediction
from harness.data.official_grid import OfficialGrid
from harness.data.reading.nifti import write_label
from harness.errors import DataError, HarnessError

pytestmark = pytest.mark.integration

GENERATED = [name for name in DATASETS.names() if DATASETS.get(name).generator]


def drawing(dataset, shape):
    """Every label as a slab, so that a value or an axis that is mistaken shows."""
    label = np.zeros(shape, np.uint8)
    for value in dataset.labels:
        label[value::7, : shape[1] // 2, 1:] = value
    return label


@pytest.mark.parametrize("name", GENERATED)
def test_our_own_export_is_accepted_and_holds_the_official_values(name, generated, tmp_path):
    dataset = DATASETS.get(name)
    reader = dataset.open(generated(name))
    cases = (reader.unlabelled() or reader.cases())[:1]
    for case in cases:
        content = reader.load(case)
        assert content.label.any() == (case in reader.cases())
        write_prediction(
            dataset, reader, case, drawing(dataset, content.label.shape), content.affine, tmp_path / "made"
        )
    assert check_export(dataset, reader, tmp_path / "made", cases) == []
    pack(tmp_path / "made", tmp_path / "made.zip")
    assert check_export(dataset, reader, tmp_path / "made.zip", cases) == []
    with zipfile.ZipFile(tmp_path / "made.zip") as archive:
        assert set(archive.namelist()) == {file for case in cases for file in exporter_of(dataset).files(reader, case)}


@pytest.fixture(scope="module")
def brats(generated):
    return DATASETS.get("brats2019").open(generated("brats2019"))


@pytest.fixture
def made(brats, tmp_path):
    """A sound export of the validation cases."""
    dataset = DATASETS.get("brats2019")
    for case in brats.unlabelled():
        content = brats.load(case)
        write_prediction(dataset, brats, case, drawing(dataset, content.label.shape), content.affine, tmp_path / "made")
    return tmp_path / "made"


def file_of(made, index=0):
    return sorted(made.iterdir())[index]


def test_enhancing_tumour_is_4_in_brats_2019_and_the_grid_is_the_files(brats, made):
    case = brats.unlabelled()[0]
    image = nib.load(made / f"{case}.nii.gz")
    content = brats.load(case)
    written = np.asarray(image.dataobj)
    assert written.dtype == np.uint8
    assert set(np.unique(written)) == {0, 1, 2, 4}
    assert np.array_equal(written == 4, drawing(DATASETS.get("brats2019"), written.shape) == 3)
    assert np.allclose(image.affine, content.affine)


def test_the_official_validators_exact_header_is_kept(tmp_path):
    """BraTS 2023 compares the qform with its own, entry by entry."""
    affine = np.array([[-1.0, 0, 0, 0], [0, -1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1]])
    write_label(tmp_path / "a.nii.gz", np.zeros((24, 24, 15), np.uint8), affine)
    assert (nib.load(tmp_path / "a.nii.gz").header.get_qform() == affine).all()


def rewrite(path, change):
    image = nib.load(path)
    label, affine = change(np.array(image.dataobj), image.affine.copy())
    write_label(path, label, affine)


def crop(made):
    rewrite(file_of(made), lambda label, affine: (label[:-1], affine))


def shift(made):
    def moved(label, affine):
        affine[0, 3] += 5
        return label, affine

    rewrite(file_of(made), moved)


def use_our_values(made):
    rewrite(file_of(made), lambda label, affine: (np.where(label == 4, 3, label).astype(np.uint8), affine))


def rename(made):
    file_of(made).rename(made / "case_000.nii.gz")


def remove(made):
    file_of(made).unlink()


def add(made):
    (made / "notes.txt").write_text("hello")


def truncate(made):
    file_of(made).write_bytes(file_of(made).read_bytes()[:100])


def link(made):
    target = file_of(made).rename(made.parent / "elsewhere.nii.gz")
    (made / "linked.nii.gz").symlink_to(target)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (crop, "has shape"),
        (shift, "lies elsewhere than its case"),
        (use_our_values, "label values [3]"),
        (rename, "Unexpected file case_000.nii.gz"),
        (remove, "is missing"),
        (add, "Unexpected file notes.txt"),
        (truncate, "cannot be read"),
        (link, "is a link"),
    ],
)
def test_what_a_challenge_refuses_is_said(brats, made, damage, words):
    damage(made)
    problems = check_export(DATASETS.get("brats2019"), brats, made)
    assert any(words in problem for problem in problems), problems


@pytest.mark.parametrize(
    "name", ["../evil.nii.gz", "/evil.nii.gz", "a/../../evil.nii.gz", "C:/evil.nii.gz", "..\\evil"]
)
def test_an_archive_member_that_leaves_the_folder_is_refused(brats, tmp_path, name):
    with zipfile.ZipFile(tmp_path / "made.zip", "w") as archive:
        archive.writestr(name, b"x")
    problems = check_export(DATASETS.get("brats2019"), brats, tmp_path / "made.zip")
    assert len(problems) == 1
    assert "leads out of the archive" in problems[0]


def test_a_pipe_in_place_of_an_archive_is_refused_before_it_blocks(tmp_path):
    os.mkfifo(tmp_path / "made.zip")
    with pytest.raises(DataError, match="neither a folder nor a ZIP archive"):
        check_export(DATASETS.get("brats2019"), None, tmp_path / "made.zip")


def test_nothing_and_no_archive_are_refused(brats, tmp_path):
    (tmp_path / "empty").mkdir()
    (problem,) = check_export(DATASETS.get("brats2019"), brats, tmp_path / "empty")
    assert "no prediction" in problem
    with pytest.raises(DataError, match="neither a folder nor a ZIP archive"):
        check_export(DATASETS.get("brats2019"), brats, tmp_path / "missing.zip")


def test_hecktor_is_handed_in_on_the_ct_grid(generated, tmp_path):
    dataset = DATASETS.get("hecktor21")
    reader = dataset.open(generated("hecktor21"))
    assert isinstance(reader, OfficialGrid)
    case = reader.unlabelled()[0]
    label = np.ones((SIDE_MM,) * 3, np.uint8)
    write_prediction(dataset, reader, case, label, reader.affine(case), tmp_path / "made")
    image = nib.load(tmp_path / "made" / "predictions" / f"{case}.nii.gz")
    ct = nib.load(next(generated("hecktor21").rglob(f"{case}_ct.nii*")))
    assert image.shape == ct.shape
    assert np.allclose(image.affine, ct.affine, atol=1e-4)
    inside = np.asarray(image.dataobj).mean()
    assert 0 < inside < 1, "nothing is predicted outside the box"


class Slices:
    """A reader of CHAOS, as far as its exporter asks."""

    def slice_names(self, case):
        return "IMG-0004-00002", "IMG-0004-00004", "IMG-0004-00006"


def test_chaos_is_handed_in_as_one_picture_a_slice(tmp_path):
    label = np.zeros((5, 4, 3), np.uint8)
    label[4, 1, 2] = 126
    ChaosSlices().write(tmp_path, Slices(), "7", label, np.eye(4))
    files = ChaosSlices().files(Slices(), "7")
    assert files[2] == "MR/7/T1DUAL/Results/IMG-0004-00006.png"
    with Image.open(tmp_path / files[2]) as image:
        grey = np.asarray(image)
    assert grey.shape == (4, 5), "rows of the picture run along the second axis"
    assert grey[1, 4] == 126
    grid, values = (label.shape, np.eye(4)), frozenset({0, 63, 126, 189, 252})
    assert ChaosSlices().problems(tmp_path, Slices(), "7", grid, values) == []
    Image.fromarray(np.full((4, 5), 2, np.uint8)).save(tmp_path / files[0])
    Image.fromarray(np.zeros((5, 4), np.uint8)).save(tmp_path / files[1])
    (tmp_path / files[2]).write_text("no picture")
    wrong = ChaosSlices().problems(tmp_path, Slices(), "7", grid, values)
    expected = ("greys [2]", "shape", "cannot be read")
    assert all(words in problem for words, problem in zip(expected, wrong, strict=True)), wrong


def test_an_exporter_that_cannot_be_imported_is_named():
    broken = dataclasses.replace(DATASETS.get("brats2019"), exporter="harness.data.export:nothing")
    with pytest.raises(HarnessError, match="exporter of 'brats2019'"):
        exporter_of(broken)
