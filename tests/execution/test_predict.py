"""``harness predict``: a finished cell predicts a validation set and writes what the challenge takes."""

from __future__ import annotations

import shutil
import zipfile

import nibabel as nib
import numpy as np
import pytest
import torch

from harness.cli import main
from harness.data import DATASETS
from harness.data.datasets.brats.generate import brats2019
from harness.data.export import check_export
from harness.data.preparation.cache import Moments
from harness.data.preparation.normalisation import Normaliser, Window
from harness.execution.cell.run import run_cell
from harness.execution.cell.weights import read_normaliser, save_weights
from harness.execution.study import register
from harness.results.store import Store
from harness.study.expansion import load_study

DATASET = DATASETS.get("brats2019")


@pytest.fixture(scope="session")
def brats(made_once):
    """Generated cases of BraTS 2019, which nobody may change."""
    return made_once("brats2019_of_predict", lambda folder: brats2019(folder, 6, 0, 0.15))


def study_on(write_study, root):
    return write_study(
        matrix={"dataset": [{"name": "brats2019", "root": str(root)}], "model": [{"name": "toy", "label": "A"}]}
    )


@pytest.fixture
def trained(brats, made_once, project, write_study, toys, monkeypatch):
    """A study that was trained on these cases, once for all tests; its results and its cache are the test's own."""
    path = study_on(write_study, brats)

    def make(folder):
        folder.mkdir()
        train(path, folder)

    made = made_once("trained_for_predict", make)
    for name in ("results", "cache"):
        shutil.copytree(made / name, project / name, symlinks=True)
    return project


def train(path, folder):
    """Trains in this process: no engine is needed."""
    loaded, store = load_study(path), Store(folder / "results")
    store.create()
    register(loaded, store, path)
    for cell in loaded.cells:
        run_cell(cell.spec, store.cell(cell.spec.id), folder / "cache", "cpu")


def predict(*words):
    return main(["predict", "micro", "--export", "brats2019", "--out", "out", "--cpu", "--workers", "0", *words])


def test_a_validation_set_is_predicted_packed_and_accepted(trained, brats, capsys):
    assert predict() == 0
    archive = next((trained / "out").glob("*.zip"))
    assert str(archive.relative_to(trained)) in capsys.readouterr().out.replace("\n", "")
    reader = DATASET.open(brats)
    assert check_export(DATASET, reader, archive) == []
    assert main(["data", "check", "brats2019", str(brats), "--export", str(archive)]) == 0
    assert "can be submitted" in capsys.readouterr().out
    with zipfile.ZipFile(archive) as opened:
        assert opened.namelist() == [f"{case}.nii.gz" for case in reader.unlabelled()]
    for case in reader.unlabelled():
        found = nib.load(archive.with_suffix("") / f"{case}.nii.gz")
        assert set(np.unique(np.asarray(found.dataobj))) <= {0, 1, 2, 4}
        assert np.allclose(found.affine, reader.load(case).affine)


def test_a_prediction_is_the_one_the_cells_own_test_wrote(brats, project, write_study, toys):
    """Without a validation set the test cases are predicted: as when they were scored, but for the labels."""
    shutil.copytree(brats, project / "brats", ignore=shutil.ignore_patterns("*_Validation"))
    path = study_on(write_study, "brats")
    train(path, project)
    cell = Store(project / "results").cell(load_study(path).cells[0].spec.id)
    assert main(["predict", cell.id, "--export", "brats2019", "--out", "out", "--cpu", "--workers", "0"]) == 0
    written = sorted((project / "out" / cell.id).iterdir())
    assert written
    for file in written:
        mine, scored = (np.asarray(nib.load(one).dataobj) for one in (file, cell.result / "predictions" / file.name))
        assert np.array_equal(mine == 4, scored == 3)
        assert np.array_equal(mine == 1, scored == 1)


def test_data_check_refuses_a_spoilt_export(trained, brats, capsys):
    assert predict() == 0
    folder = next(path for path in (trained / "out").iterdir() if path.is_dir())
    next(folder.iterdir()).rename(folder / "other.nii.gz")
    assert main(["data", "check", "brats2019", str(brats), "--export", str(folder)]) == 1
    shown = capsys.readouterr().out
    assert "Unexpected file other.nii.gz" in shown
    assert "is missing" in shown


def test_nothing_is_written_over_and_mistakes_are_named(trained, capsys):
    assert predict() == 0
    capsys.readouterr()
    assert predict() == 2
    assert "is there already" in capsys.readouterr().err
    assert main(["predict", "micro", "--export", "brats2023", "--out", "other"]) == 2
    assert "no cell that was trained on brats2023" in capsys.readouterr().err
    assert predict("--label", "B") == 2
    assert "no variant 'B'" in capsys.readouterr().err
    assert main(["predict", "micrro", "--export", "brats2019", "--out", "other"]) == 2
    assert "micro" in capsys.readouterr().err


@pytest.mark.parametrize("error", [KeyError("depth\nand more"), SystemExit(0)])
def test_a_network_of_others_that_fails_is_named(trained, capsys, monkeypatch, error):
    def fail(task, options):
        raise error

    monkeypatch.setattr("toy_networks.build", fail)
    assert predict() == 2
    assert f"toy failed: {type(error).__name__}: " in capsys.readouterr().err
    assert not list((trained / "out").glob("*"))


def test_a_bad_case_leaves_no_half_written_folder(brats, project, write_study, toys, capsys):
    shutil.copytree(brats, project / "brats")
    train(study_on(write_study, "brats"), project)
    broken = next((project / "brats").rglob("*Validation*/*/*_t1.nii.gz"))
    broken.write_bytes(broken.read_bytes()[:200])
    assert predict() == 2
    assert broken.name in capsys.readouterr().err.replace("\n", "")
    assert not list((project / "out").glob("*"))


def test_weights_carry_how_intensities_are_normalised(tmp_path):

    given = Normaliser(
        ("zscore_case", "ct"), (Moments(3, 1.5, 2.25), Moments(0, 0.0, 0.0)), (None, Window(-1, 2, 0.1, 3))
    )
    save_weights(torch.nn.Conv2d(2, 2, 1), tmp_path / "weights.safetensors", given)
    assert read_normaliser(tmp_path / "weights.safetensors") == given
