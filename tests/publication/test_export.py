"""``harness export``: the program gives the harness's label map where there is no harness."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import nn

from harness.cli import main
from harness.data import DATASETS
from harness.data.datasets.layouts.new_patients import NewPatients
from harness.data.preparation.normalisation import Normaliser
from harness.data.preparation.prepare import prepare
from harness.data.preparation.resample import resample_images
from harness.data.reading.nifti import write_volume
from harness.errors import HarnessError
from harness.execution.cell.absences import Absences
from harness.inference.native_grid import segment_native
from harness.inference.standalone.inputs import InputError
from harness.inference.standalone.preprocessing import normalise, preprocess, read_patient
from harness.inference.standalone.program import FORMAT, predict
from harness.inference.standalone.program import main as main_of_program
from harness.publication.export import model_facts, write_model
from harness.publication.exported_program import export_network, program_text
from harness.results.store import Store
from harness.study.protocol import load_protocol
from harness.training.modality_fill import Filling, FillsAbsent

#: Tried in every run, one of each kind of files; the others are slow.
QUICK = {"cortex", "chaos", "prostate158"}
NAMES = ("cortex", *(name for name in DATASETS.names() if DATASETS.get(name).generator))

#: What the protocol of the test changes: whole slices resized, patches with resampling along thick slices, volumes.
SETTINGS = {
    "slices": {"patch_size": [48, 40], "preparation": {"plane": "resize", "resize": "pad_to_square"}},
    "patches": {
        "patch_size": [24, 24], "preparation": {"plane": "native", "spacing": [None, 3.7, 9.0]},
        "inference": {"mirror_axes": [0, 1], "batch_size": 3},
    },
    "volumes": {
        "patch_size": [16, 16, 16], "preparation": {"plane": "native", "spacing": [5.0, 4.0, 6.0]},
        "inference": {"overlap": 0.25, "gaussian": False, "batch_size": 2},
    },
}  # fmt: skip

#: Hides every package that the program must do without, then runs the models of the folders that are named.
ALONE = """
import importlib.util, json, sys
from pathlib import Path

REFUSED = {"harness", "aahn", "baselines", "monai", "scipy", "skimage", "nnunetv2", "pandas", "SimpleITK"}

class Without:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in REFUSED else self.finder.find_spec(name, path, target)

sys.meta_path[:] = map(Without, sys.meta_path)
for number, (folder, words) in enumerate(json.loads(sys.stdin.read())):
    spec = importlib.util.spec_from_file_location(f"predict{number}", Path(folder) / "predict.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.main(Path(folder), words) == 0, folder
assert not REFUSED & set(sys.modules)
"""


class Small(nn.Module):
    """A network of one hidden layer."""

    def __init__(self, modalities, classes, dims):
        super().__init__()
        convolution = {2: nn.Conv2d, 3: nn.Conv3d}[dims]
        self.first, self.last = convolution(modalities, 6, 3, padding=1), convolution(6, classes, 1)

    def forward(self, images):
        logits = 8 * self.last(torch.relu(self.first(images)))
        return logits - logits.mean(dim=tuple(range(2, logits.ndim)), keepdim=True)  # so that every class is there


def protocol_of(setting):
    base = load_protocol("paper" if len(SETTINGS[setting]["patch_size"]) == 2 else "paper_3d")
    values = base.model_dump(mode="json")
    for key, value in SETTINGS[setting].items():
        values[key] = {**values[key], **value} if isinstance(value, dict) else value
    return type(base).from_stored(values)


@pytest.fixture(scope="module")
def opened(generated, small_cortex):
    """Returns a function from a dataset's name to its facts, its reader and two cases."""

    def opened(name):
        dataset = DATASETS.get(name)
        reader = dataset.open(small_cortex if name == "cortex" else generated(name))
        return dataset, reader, reader.cases()[:2]

    return opened


def write_images(folder, case, codes=(1, 1)):
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(case.images):
        write_volume(folder / f"p_{number:04d}.nii.gz", image, case.affine, codes)
    return sorted(folder.glob("p_*.nii.gz"))


def harness_prediction(dataset, reader, cases, protocol, network, cache):
    """The harness's label map of the second case, its normaliser fitted on the first."""
    prepared = prepare(dataset, reader, cases, protocol.preparation, protocol.patch_size, cache)
    normaliser = Normaliser.fit(dataset.normalisations, prepared[:1], protocol.preparation.normalisation_mask)
    patch, device = protocol.patch_size, torch.device("cpu")
    label = segment_native(network, prepared[1], normaliser, patch, protocol.inference, device)
    return prepared[1], normaliser, label


@pytest.mark.slow
def test_a_program_without_the_harness_gives_the_harness_label_map_on_every_dataset(opened, tmp_path):
    jobs, wanted = [], {}
    for number, name in enumerate(NAMES):
        dataset, reader, cases = opened(name)
        protocol = protocol_of(list(SETTINGS)[number % len(SETTINGS)])
        torch.manual_seed(number)
        network = Small(len(dataset.modalities), len(dataset.labels), len(protocol.patch_size)).eval()
        case, normaliser, label = harness_prediction(dataset, reader, cases, protocol, network, tmp_path / "cache")
        folder = tmp_path / name
        folder.mkdir()
        program, batch = export_network(network, "small", len(dataset.modalities), protocol.patch_size, 2)
        spacing = (case.geometry.spacing,) * 2
        write_model(folder, program, model_facts(dataset, protocol, "-", normaliser, spacing, batch))
        files = write_images(folder, reader.load(cases[1]))
        jobs.append((str(folder), ["--images", *map(str, files), "--out", str(folder / "out")]))
        values = np.array([dataset.file_labels.get(value, value) for value in sorted(dataset.labels)])
        wanted[folder] = values[label], case.geometry.native_affine
    done = subprocess.run(
        [sys.executable, "-I", "-c", ALONE], input=json.dumps(jobs), text=True, capture_output=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for folder, (label, affine) in wanted.items():
        found = nib.load(folder / "out" / "p.nii.gz")
        assert np.array_equal(np.asarray(found.dataobj), label), folder
        assert np.allclose(found.affine, affine, atol=1e-4)
        assert len(np.unique(label)) > 1, folder  # a map of background alone would prove nothing


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name in NAMES
        if name != "hecktor21"  # its grid is always of full size
    ],
)
def test_a_program_prepares_and_predicts_as_the_harness_does(opened, tmp_path, name):
    dataset, reader, cases = opened(name)
    files = write_images(tmp_path / "images", reader.load(cases[1]))
    for setting in SETTINGS:
        protocol = protocol_of(setting)
        torch.manual_seed(0)
        network = Small(len(dataset.modalities), len(dataset.labels), len(protocol.patch_size)).eval()
        case, normaliser, label = harness_prediction(dataset, reader, cases, protocol, network, tmp_path / "cache")
        facts = model_facts(dataset, protocol, "-", normaliser, None, None)
        patient = read_patient(files)
        mine = preprocess(patient, facts["preprocessing"])
        assert mine.images.shape == case.images.shape
        assert np.abs(mine.images - case.images).max() <= 1e-6 * np.abs(case.images).max()
        theirs = normaliser(case.images, case)
        assert np.abs(normalise(mine, facts["normalisation"]) - theirs).max() < 1e-4
        found, _ = predict(network, patient, facts, torch.device("cpu"))
        assert np.array_equal(found, label), setting
        assert len(np.unique(found)) > 1


class Told(Small):
    """A network that is told which modalities are present, and looks at those alone."""

    takes_present = True

    def forward(self, images, present=None):
        kept = images if present is None else images * present.view(*present.shape, *[1] * (images.ndim - 2))
        return super().forward(kept)


@pytest.mark.parametrize("kind", [Small, Told])
def test_a_program_does_without_a_modality_as_the_harness_does(opened, tmp_path, kind):
    dataset, reader, cases = opened("cortex")
    files = write_images(tmp_path / "images", reader.load(cases[1]))
    files[1] = None
    reader = NewPatients({"p": files}, dataset.modalities)
    filling = Filling("token", (0.3, -1.5))
    told = bool(getattr(kind, "takes_present", False))
    absences = Absences(dataset.modalities, "-", dataset.modalities, filling, told)
    for setting in SETTINGS:
        protocol, device = protocol_of(setting), torch.device("cpu")
        torch.manual_seed(0)
        network = kind(2, len(dataset.labels), len(protocol.patch_size)).eval()
        (case,) = prepare(dataset, reader, ["p"], protocol.preparation, protocol.patch_size, tmp_path / "cache")
        normaliser = Normaliser(("zscore_case",) * 2, case.moments, (None, None))
        filled = FillsAbsent(network, filling)
        label = segment_native(filled, case, normaliser, protocol.patch_size, protocol.inference, device)
        program, batch = export_network(network, "small", 2, protocol.patch_size, 2)
        facts = model_facts(dataset, protocol, "-", normaliser, None, batch, absences)
        found, notes = predict(program.module(), read_patient(files), facts, device)
        assert np.array_equal(found, label), setting
        assert len(np.unique(found)) > 1
        assert dataset.modalities[1] in notes[0]


def test_a_program_refuses_a_patient_without_a_modality_that_it_was_not_trained_to_do_without(tmp_path, capsys):
    facts = {"format": FORMAT, "modalities": ["t1", "t2", "flair"], "leading": "t1"}
    words = ["--modality", "t2=p.nii.gz", "--out", str(tmp_path / "out")]
    for rule, needed in ((None, "t1 (the leading modality) and flair"), ({"may_lack": ["t2", "flair"]}, "t1 (the")):
        (tmp_path / "model.json").write_text(json.dumps({**facts, "absent": rule}))
        assert main_of_program(tmp_path, words) == 2
        said = capsys.readouterr().err
        assert f"Patient p lacks {needed}" in said
        assert "sampling:" in said
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("shape", [(9, 31, 20), (40, 8, 13), (12, 12, 12), (1, 17, 6)])
@pytest.mark.parametrize("spacings", [((1, 1, 1), (0.7, 1.6, 1)), ((1, 1, 5), (1.3, 0.8, 2)), ((2, 2, 2), (7, 1, 1))])
def test_resampling_is_nnunets(shape, spacings):
    """Splines as matrices give scipy's numbers, thick slices included."""
    old, new = spacings
    random = np.random.default_rng(0)
    image = (random.normal(100, 30, shape) * (random.random(shape) > 0.2)).astype(np.float32)
    plan = {"turn": False, "crop": False, "spacing": new, "plane": None, "slice_axis": 0, "square": False}
    made = tuple(max(1, round(n * a / b)) for n, a, b in zip(shape, old, new, strict=True))
    for masked in (True, False):
        theirs = resample_images(image[None], made, old, new, (masked,))
        patient = type("Patient", (), {"images": image[None], "affine": np.diag([*map(float, old), 1.0])})
        mine = preprocess(patient, {**plan, "zero_is_outside": [masked]}).images
        assert np.abs(mine - theirs).max() < 1e-4


@pytest.fixture
def exported(finished_study, project):
    (folder,) = (project / "results" / "cells").iterdir()
    assert main(["export", folder.name, "--out", "model"]) == 0
    return Store(project / "results").cell(folder.name), project / "model"


def test_an_exported_cell_predicts_its_test_case_as_its_own_test_did_and_says_what_is_unlike(exported, project):
    cell, folder = exported
    reader = DATASETS.get("cortex").open()
    name = reader.split(0).test[0]
    case = reader.load(name)
    unlike = replace(case, images=case.images[::-1].copy(), affine=case.affine @ np.diag([4, 1, 1, 1]))
    jobs = []
    for part, content in (("own", case), ("unlike", unlike)):
        files = write_images(project / part, content)
        jobs.append((str(folder), ["--images", *map(str, files), "--out", str(project / part / "out")]))
    done = subprocess.run([sys.executable, "-I", "-c", ALONE], input=json.dumps(jobs), text=True, capture_output=True)
    assert done.returncode == 0, done.stderr[-3000:]
    scored = nib.load(cell.result / "predictions" / f"{name}.nii.gz")
    assert np.array_equal(np.asarray(nib.load(project / "own/out/p.nii.gz").dataobj), np.asarray(scored.dataobj))
    assert "voxels,ml" in (project / "own/out/volumes.csv").read_text()
    (first, *_) = done.stderr.splitlines()
    assert "in the training they were" in first  # nothing is said of the case of the same study


def test_an_exported_folder_has_a_card_and_tells_nothing_of_this_machine(exported, project):
    cell, folder = exported
    card = (folder / "README.md").read_text()
    for words in ("95 % interval", "licence of the data", "Not a medical device", "python predict.py", cell.id):
        assert words in card
    names = [
        case for part in ("train", "val", "test") for case in getattr(DATASETS.get("cortex").open().split(0), part)
    ]
    for path in folder.iterdir():
        content = path.read_bytes()
        for word in (str(project), str(Path.home()), str(Path(__file__).parents[2]), *names):
            assert word.encode() not in content, (path.name, word)


def test_mlflow_has_the_model_of_the_cells_run_and_the_split_of_its_dataset(exported, tracking_database, project):
    from mlflow import MlflowClient

    cell, _ = exported
    assert main(["export", cell.id, "--out", "again", "--mlflow"]) == 0
    client = MlflowClient(f"sqlite:///{tracking_database}")
    (experiment,) = (one for one in client.search_experiments() if one.name != "Default")
    runs = client.search_runs([experiment.experiment_id], f"tags.`harness.cell` = '{cell.id}'")
    (model,) = client.search_logged_models([experiment.experiment_id])
    assert model.source_run_id == runs[0].info.run_id
    assert (model.status.value, model.tags["harness.cell"]) == ("READY", cell.id)
    assert [one.model_id for one in runs[0].outputs.model_outputs] == [model.model_id]
    (given,) = runs[0].inputs.dataset_inputs
    tags = {tag.key: tag.value for tag in given.tags}
    assert (given.dataset.name, tags["split.hash"]) == ("cortex", cell.record().split)
    told = f"{given.dataset.source} {given.dataset.profile}"
    for case in DATASETS.get("cortex").open().cases():
        assert case not in told
    assert str(project) not in told


def test_mistakes_are_named_and_nothing_is_written(exported, project, capsys):
    cell, _ = exported
    capsys.readouterr()
    assert main(["export", cell.id, "--out", "model"]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main(["export", "nothing_like_it", "--out", "other"]) == 2
    assert "No cell" in capsys.readouterr().err
    assert not (project / "other").exists()


class Choosing(Small):
    """A network whose way depends on the values of its input."""

    def forward(self, images):
        return super().forward(images if bool(images.sum() > 0) else -images)


def test_a_network_that_cannot_be_exported_is_named_with_the_reason():
    with pytest.raises(HarnessError) as error:
        export_network(Choosing(2, 3, 2).eval(), "choosing", 2, (16, 16), 4)
    assert "choosing cannot be exported" in error.value.message
    assert "data-dependent" in error.value.message.lower()


@pytest.mark.linux("writes to /dev/full")
def test_a_full_disk_is_an_error_and_no_end_of_the_process(tmp_path):
    program = torch.export.export(nn.Conv2d(1, 2, 3), (torch.zeros(1, 1, 8, 8),))
    (tmp_path / "model.pt2").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        write_model(tmp_path, program, {})


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda image: nib.Nifti1Image(image.dataobj[:-1], image.affine), "not on the grid"),
        (lambda image: nib.Nifti1Image(image.dataobj, image.affine + np.eye(4, k=3) * 9), "not on the grid"),
        (lambda image: nib.Nifti1Image(image.dataobj, None), "does not say clearly where it lies"),
    ],
)
def test_a_program_refuses_images_that_are_not_one_patient(tmp_path, spoil, words):
    for number in range(2):
        image = nib.Nifti1Image(np.random.default_rng(number).random((8, 8, 8), np.float32), np.eye(4))
        image.set_qform(image.affine, 1)
        nib.save(spoil(image) if number else image, tmp_path / f"p_{number:04d}.nii.gz")
    with pytest.raises(InputError) as error:
        read_patient(sorted(tmp_path.iterdir()))
    assert words in str(error.value)


def test_the_program_is_one_file_that_needs_three_packages():
    imported = {
        line.split()[1].split(".")[0] for line in program_text().splitlines() if line.startswith(("import ", "from "))
    }
    assert imported - sys.stdlib_module_names - {"__future__"} == {"torch", "numpy", "nibabel"}
