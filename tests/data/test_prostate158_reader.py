"""Prostate158: official lists, zones as the files number them, and what the tables and folders can get wrong."""

from __future__ import annotations

import csv
import shutil

import nibabel as nib
import numpy as np
import pytest

from harness.data import DATASETS
from harness.data.synthetic.generated import generate
from harness.errors import DataError

DATASET, PZ1 = DATASETS.get("prostate158"), DATASETS.get("prostate158-pz1")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("made") / "prostate"
    generate(DATASET, root, 10, 3, 0.1)
    return root


@pytest.fixture
def tree(made, tmp_path):
    shutil.copytree(made, tmp_path / "tree")
    return tmp_path / "tree"


def replace(path, change=None, affine=None):
    image = nib.load(path)
    voxels = np.asarray(image.dataobj)
    nib.save(
        nib.Nifti1Image(voxels if change is None else change(voxels), image.affine if affine is None else affine), path
    )


def test_fold_0_is_the_official_lists(made):
    reader = DATASET.open(made)
    split = reader.split(0)
    assert split.test == ("001",)
    assert split.val == ("020",)
    assert len(split.train) == 8
    assert DATASET.fold_names[0] == "official"
    assert len(reader.split(1).test) == 2


def test_folders_have_the_zeros_that_the_tables_lack(made):
    assert ",24," not in (made / "prostate158_train/train.csv").read_text().splitlines()[0]
    assert (made / "prostate158_train/train.csv").read_text().splitlines()[1].startswith("24,train/024/t2.nii.gz")
    assert "024" in DATASET.open(made).cases()


def test_the_zones_are_where_the_anatomy_has_them(made):
    reader = DATASET.open(made)
    for case in reader.cases():
        content = reader.load(case)
        assert content.images.shape[0] == 3
        assert set(np.unique(content.label)) == {0, 1, 2}
        assert reader.warnings(case, content) == []


def test_labels_of_the_other_convention_are_noticed_and_the_other_dataset_named(made):
    reader = PZ1.open(made)
    (warning,) = reader.warnings("024", reader.load("024"))
    assert "lies behind the peripheral zone" in warning
    assert "`prostate158`" in warning


def test_the_two_conventions_differ_by_the_labels_alone(made):
    first, second = DATASET.open(made).load("024"), PZ1.open(made).load("024")
    assert np.array_equal(first.images, second.images)
    assert np.array_equal(np.array([0, 2, 1])[first.label], second.label)
    assert PZ1.variable == DATASET.variable


def test_labels_stored_as_0_9999_are_read(made):
    raw = np.asarray(nib.load(made / "prostate158_train/train/025/t2_anatomy_reader1.nii.gz").dataobj)
    assert raw.dtype.kind == "f"
    assert not (raw == np.rint(raw)).all()
    assert DATASET.open(made).load("025").label.max() == 2


def test_an_empty_mask_may_have_any_affine_but_not_any_shape(tree):
    path = tree / "prostate158_train/train/024/t2_anatomy_reader1.nii.gz"
    replace(path, np.zeros_like, np.eye(4))
    reader = DATASET.open(tree)
    assert not reader.load("024").label.any()
    assert reader.warnings("024", reader.load("024")) == ["the transition zone and the peripheral zone is empty"]
    replace(path, lambda voxels: voxels[:-1])
    with pytest.raises(DataError, match=r"t2_anatomy_reader1\.nii\.gz .*t2\.nii\.gz.*shape"):
        reader.load("024")


def test_an_image_elsewhere_in_space_is_refused(tree):
    path = tree / "prostate158_train/train/024/adc.nii.gz"
    moved = nib.load(path).affine.copy()
    moved[0, 3] += 20
    replace(path, affine=moved)
    with pytest.raises(DataError, match=r"adc\.nii\.gz .*t2\.nii\.gz.*20\.00 mm"):
        DATASET.open(tree).load("024")


def test_without_the_test_archive_the_message_says_where_it_is_had(tree):
    shutil.rmtree(tree / "prostate158_test")
    with pytest.raises(DataError, match=r"does not hold test\.csv") as error:
        DATASET.open(tree)
    assert "6592345" in error.value.hint


def test_a_patient_in_two_tables_is_refused(tree):
    lines = (tree / "prostate158_train/train.csv").read_text().splitlines()
    with (tree / "prostate158_train/valid.csv").open("a") as file:
        file.write(lines[1] + "\n")
    with pytest.raises(DataError, match=r"two of the tables.*024"):
        DATASET.open(tree)


@pytest.mark.parametrize("blank", ["", "nan", "NaN"])
def test_columns_may_be_blank_and_numbers_decimal(tree, blank):
    """As pandas writes them."""
    table = tree / "prostate158_train/train.csv"
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["ID"] += ".0"
        row.update(dict.fromkeys(("t2_anatomy_reader2", "adc_tumor_reader1", "adc_tumor_reader2"), blank))
    rows[0]["adc"] = blank
    write(table, rows)
    with pytest.raises(DataError, match=r"line 2: patient 024 has no adc"):
        DATASET.open(tree)
    rows[0]["adc"] = "train/024/adc.nii.gz"
    write(table, rows)
    assert DATASET.open(tree).cases()[:3] == ("001", "020", "024")


def write(table, rows):
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_a_path_that_leaves_the_folder_is_refused(tree):
    table = tree / "prostate158_train/train.csv"
    table.write_text(table.read_text().replace("train/024/t2.nii.gz", "../../../secret.nii.gz"))
    with pytest.raises(DataError, match="leads out of the dataset's folder"):
        DATASET.open(tree)


def test_the_fingerprint_follows_files_and_lists(tree):
    before = DATASET.open(tree).fingerprint()
    replace(tree / "prostate158_train/train/024/adc.nii.gz", lambda voxels: voxels + 1)
    changed = DATASET.open(tree).fingerprint()
    assert changed != before
    table = tree / "prostate158_train/train.csv"
    table.write_text("\n".join(table.read_text().splitlines()[:-1]) + "\n")
    assert DATASET.open(tree).fingerprint() != changed
