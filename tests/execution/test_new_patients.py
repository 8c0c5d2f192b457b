"""``harness predict --images``: new patients, with the checks of the training and volumes in ml."""

from __future__ import annotations

import csv
import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from harness.cli import main
from harness.data import DATASETS
from harness.inference.standalone.inputs import InputError, assign, assign_named, notes_on_input, volumes
from harness.results.store import Store

MODALITIES = ("t1", "epi")
SMALL = nib.Nifti1Image(np.ones((4, 4, 4), np.float32), np.eye(4))


@pytest.fixture
def patient(finished_study, project):
    """The embedded person, as a new patient in nnU-Net's naming; the cell that has learnt from it."""
    (folder,) = (project / "results" / "cells").iterdir()
    cell = Store(project / "results").cell(folder.name)
    reader = DATASETS.get("cortex").open()
    (project / "new").mkdir()
    case = cell.spec() and reader.split(0).test[0]
    content = reader.load(case)
    for number, image in enumerate(content.images):
        nib.save(nib.Nifti1Image(image, content.affine), project / "new" / f"p_{number:04d}.nii.gz")
    return cell, case, project / "new"


def predict(cell, *words):
    return main(["predict", cell.id, "--cpu", "--out", "out", *map(str, words)])


def files(folder):
    return sorted(folder.glob("*.nii.gz"))


def test_a_new_patient_gets_what_the_cells_own_test_gave_it(patient, project, capsys):
    cell, case, folder = patient
    assert predict(cell, "--images", *files(folder), "--probabilities", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    found, scored = nib.load("out/p.nii.gz"), nib.load(cell.result / "predictions" / f"{case}.nii.gz")
    label = np.asarray(found.dataobj)
    assert np.array_equal(label, np.asarray(scored.dataobj))
    assert np.allclose(found.affine, scored.affine)
    probabilities = np.asarray(nib.load("out/p_probabilities.nii.gz").dataobj)
    assert np.array_equal(probabilities.argmax(axis=-1), label)
    assert np.allclose(probabilities.sum(axis=-1), 1, atol=1e-4)
    rows = list(csv.DictReader((project / "out" / "volumes.csv").read_text().splitlines()))
    assert [row["ml"] for row in rows] == [str(row["ml"]) for row in shown["rows"]]
    ml = abs(np.linalg.det(found.affine[:3, :3])) / 1000
    for value, name in list(DATASETS.get("cortex").labels.items())[1:]:
        (row,) = (row for row in rows if (row["kind"], row["name"]) == ("label", name))
        assert float(row["ml"]) == pytest.approx((label == value).sum() * ml, abs=1e-5)
    assert sorted(path.name for path in (project / "out").iterdir()) == [
        "p.nii.gz", "p_probabilities.nii.gz", "volumes.csv"
    ]  # fmt: skip


def test_files_are_named_by_modality_in_any_order_and_turned_images_give_the_same(patient, project, capsys):
    cell, _, folder = patient
    names = cell.spec().facts().modalities
    assert predict(cell, "--images", folder) == 0
    shutil.move("out", "first")
    turned = project / "turned"
    turned.mkdir()
    pairs = []
    for number, name in reversed(list(enumerate(names))):
        image = nib.load(folder / f"p_{number:04d}.nii.gz")
        nib.save(image.as_reoriented(np.array([[1, -1], [0, 1], [2, -1]])), turned / f"{name}_of_q.nii.gz")
        pairs += ["--modality", f"{name}={turned / f'{name}_of_q.nii.gz'}"]
    assert predict(cell, *pairs) == 0
    (found,) = (project / "out").glob("*.nii.gz")
    same = np.asarray(nib.as_closest_canonical(nib.load(found)).dataobj)
    first = np.asarray(nib.as_closest_canonical(nib.load("first/p.nii.gz")).dataobj)
    # Parts of one person stay as they are read: this dataset is turned by nobody, and axes stand for themselves.
    if cell.spec().facts().split_within_patient:
        assert same.shape == first.shape
    else:
        assert np.array_equal(same, first)


def test_what_is_unlike_the_training_is_said(patient, capsys):
    cell, _, folder = patient
    for number, path in enumerate(files(folder)):
        image = nib.load(path)
        voxels = np.asarray(image.dataobj) * (50 if number == 0 else 1)
        nib.save(nib.Nifti1Image(voxels, image.affine @ np.diag([3, 1, 1, 1])), path)
    assert predict(cell, "--images", folder) == 0
    said = capsys.readouterr().out
    names = cell.spec().facts().modalities
    assert "in the training they were" in said
    assert f"{names[0]}: intensities" in said
    assert f"{names[1]}: intensities" not in said


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "p_0000.nii.gz").unlink(), "(the leading modality)"),
        (lambda folder: (folder / "p_0001.nii.gz").rename(folder / "p_0002.nii.gz"), "which modality"),
        (lambda folder: shutil.copy(folder / "p_0000.nii.gz", folder / "p_0001.nii.gz"), "are the same image"),
        (lambda folder: nib.save(SMALL, folder / "p_0001.nii.gz"), "not on the grid"),
        (lambda folder: (folder / "p_0001.nii.gz").write_bytes(b"no image"), "p_0001.nii.gz"),
    ],
)  # fmt: skip
def test_wrong_images_are_refused_by_name_and_nothing_is_left(patient, project, capsys, spoil, words):
    cell, _, folder = patient
    spoil(folder)
    code = predict(cell, "--images", folder)
    said = capsys.readouterr().err.replace("\n", " ")
    leads = cell.spec().leading
    if words == "(the leading modality)" and leads not in cell.spec().facts().modalities[:1]:
        words = f"lacks {cell.spec().facts().modalities[0]}"
    assert code == 2
    assert words in said
    assert not (project / "out").exists()


def test_what_is_to_be_predicted_is_said_in_one_way(patient, capsys):
    cell, _, folder = patient
    for words in ((), ("--images", folder, "--export", "cortex"), ("--images", folder, "--modality", "t1=x")):
        assert predict(cell, *words) == 2
        assert "way" in capsys.readouterr().err


def test_a_file_that_is_not_there_is_named_before_what_it_lacks(patient, capsys):
    assert predict(patient[0], "--images", "nowhere_0000.nii.gz") == 2
    assert "There is no file nowhere_0000.nii.gz" in capsys.readouterr().err


def test_patients_are_told_apart_by_their_names(tmp_path):
    paths = [tmp_path / f"{name}_{number:04d}.nii.gz" for name in ("b", "a_1") for number in (1, 0)]
    found = assign(paths, MODALITIES)
    assert {name: [path.name for path in files] for name, files in found.items()} == {
        "b": ["b_0000.nii.gz", "b_0001.nii.gz"],
        "a_1": ["a_1_0000.nii.gz", "a_1_0001.nii.gz"],
    }


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda path: assign([path / "a_0001.nii.gz"], MODALITIES, "t1"), "lacks t1 (the leading modality)"),
        (lambda path: assign([path / "a.nii.gz"], MODALITIES), "_0000 t1, _0001 epi"),
        (lambda path: assign([path / "a_0000.nii", path / "a_0000.nii.gz"], MODALITIES), "same modality of patient a"),
        (lambda path: assign([], MODALITIES), "No image"),
        (lambda path: assign_named(["T1=a.nii"], MODALITIES), "t1, epi"),
        (lambda path: assign_named(["t1=a.nii", "t1=b.nii"], MODALITIES), "given twice"),
        (lambda path: assign_named(["epi=a.nii"], MODALITIES), "lacks t1"),
    ],
)
def test_a_file_that_names_no_modality_is_refused(tmp_path, call, words):
    with pytest.raises(InputError) as error:
        call(tmp_path)
    assert words in str(error.value)


def test_exchanged_modalities_and_far_voxel_sizes_are_noted():
    known, spacings = [(100.0, 20.0), (-500.0, 200.0)], [(0.9, 0.9, 1.0), (1.1, 1.1, 3.0)]

    def notes(spacing, means):
        return notes_on_input(MODALITIES, spacing, means, known, spacings)

    assert notes((1, 1, 2), [(110.0, 25.0), (-450.0, 150.0)]) == []
    assert "1 x 1 x 8 mm" in notes((1, 1, 8), known)[0]
    exchanged = notes((1, 1, 2), known[::-1])
    assert len(exchanged) == 2
    assert "look like epi" in exchanged[0]
    (alone,) = notes((1, 1, 2), [(900.0, 20.0), known[1]])
    assert "look like" not in alone
    assert notes_on_input(MODALITIES, (9, 9, 9), known, known, None) == []


def test_volumes_are_in_ml_by_label_and_region():
    label = np.zeros((4, 4, 4), np.uint8)
    label[0], label[1, 0] = 1, 2
    rows = volumes(label, np.diag([2.0, 3.0, 5.0, 1]), {0: "background", 1: "core", 2: "rim"}, {"whole": (1, 2)})
    assert [(row["kind"], row["name"], row["ml"]) for row in rows] == [
        ("label", "core", 0.48), ("label", "rim", 0.12), ("region", "whole", 0.6)
    ]  # fmt: skip
