"""What modalities are worth, from images to the sentence: trainings on patients of whom it is known what shows what."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from harness.cli import main
from harness.data.splits import make_split, write_splits

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("toys")]

MODALITIES = ("plain", "contrast", "fluid")
PATIENTS, TRAINED, VALIDATED = 32, 8, 6


def shown_by_one(random: np.random.Generator, shape: NDArray[np.bool_], core: NDArray[np.bool_]) -> list[NDArray]:
    """The whole shows in two modalities, its core in the one with contrast agent alone."""
    plain, contrast, fluid = random.normal(0, 0.4, (3, *shape.shape))
    return [plain + 1.5 * shape, contrast + 3 * core, fluid + 1.5 * shape]


def shown_by_all(random: np.random.Generator, shape: NDArray[np.bool_], core: NDArray[np.bool_]) -> list[NDArray]:
    """Every modality shows the same, with noise of its own."""
    return [random.normal(0, 0.4, shape.shape) + 1.5 * shape + 3 * core for _ in MODALITIES]


def shown_by_contrast(random: np.random.Generator, shape: NDArray[np.bool_], core: NDArray[np.bool_]) -> list[NDArray]:
    """The modality with contrast agent shows all, the others nothing."""
    plain, contrast, fluid = random.normal(0, 0.4, (3, *shape.shape))
    return [plain, contrast + 1.5 * shape + 3 * core, fluid]


def write_patients(folder: Path, show) -> dict[str, str]:
    """Writes a raw nnU-Net folder and a split of 8, 6 and 18 patients; returns the study's dataset."""
    random = np.random.default_rng(0)
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    names = [f"p{number:02d}" for number in range(PATIENTS)]
    for name in names:
        rows, columns = np.mgrid[:40, :40]
        distance = np.hypot(rows - random.integers(14, 26), columns - random.integers(14, 26))
        flat = (distance < random.integers(9, 12)).astype(np.uint8) + (distance < random.integers(5, 7))
        label = np.repeat(flat[..., np.newaxis], 3, axis=2).astype(np.uint8)
        nib.save(nib.Nifti1Image(label, np.eye(4)), folder / "labelsTr" / f"{name}.nii.gz")
        for number, image in enumerate(show(random, label > 0, label > 1)):
            nib.save(
                nib.Nifti1Image(image.astype(np.float32), np.eye(4)),
                folder / "imagesTr" / f"{name}_{number:04d}.nii.gz",
            )
    facts = {
        "channel_names": {str(number): name for number, name in enumerate(MODALITIES)},
        "labels": {"background": 0, "whole": [1, 2], "core": 2},
        "regions_class_order": [1, 2],
        "numTraining": PATIENTS,
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(facts))
    splits = folder.parent / f"{folder.name}_splits.json"
    others = TRAINED + VALIDATED
    split = make_split({name: name for name in names}, names[others:], names[TRAINED:others])
    write_splits(splits, [split])
    return {"name": folder.name, "nnunet_raw": str(folder), "splits": str(splits)}


PROTOCOL = {
    "base": "demo",
    "patch_size": [40, 40],
    "sampling": {"batch_size": 8, "foreground": 0.3333, "modality_dropout": {"p": 0.4, "fill": "zeros"}},
    "augmentation": {"p_brightness": 0, "p_contrast": 0, "p_noise": 0},
    "training": {
        "epochs": 4,
        "steps_per_epoch": 60,
        "optimiser": {"name": "adamw", "lr": 1.0e-2},
        "refresh_batchnorm": 0,
    },
}


def answer(project: Path, write_study, model: str, show, begins: str = "What modalities are worth", **matrix) -> str:
    """Trains, tests every set, and returns a paragraph of the report."""
    dataset = write_patients(project / "ours", show)
    study = write_study(
        protocol=PROTOCOL, matrix={"dataset": [dataset], "model": [model], **matrix}, report={"metrics": ["dice"]}
    )
    costs = project / "costs.yaml"
    costs.write_text("plain: {minutes: 4}\ncontrast: {minutes: 5, contrast: true}\nfluid: {minutes: 6}\n")
    asked = ["--margin", "0.05", "--costs", str(costs)]
    assert main(["run", str(study), "--cpu", "--no-mlflow"]) == 0
    assert main(["missing", "micro", "--cpu", *asked]) == 0
    assert main(["report", "micro", "--no-figures", "--no-mlflow", *asked]) == 0
    said = (project / "results/reports/micro/default/answer.txt").read_text()
    return next(text for text in said.split("\n\n") if text.startswith(begins))


def test_a_modality_that_alone_shows_a_region_is_found_and_needed(project, write_study) -> None:
    said = answer(project, write_study, "toy_group", shown_by_one, seed=[0, 1, 2])
    assert re.search(r"in core contrast is worth most, .* more than every other", said)
    assert re.search(r"The smallest set that is .* is (plain \+ contrast|contrast \+ fluid)", said)
    assert "Without contrast agent none is shown to suffice" in said


def test_where_none_matters_more_than_another_it_says_so(project, write_study) -> None:
    said = answer(project, write_study, "toy_alike", shown_by_all)
    assert "No modality's value can be told from another's (18 patients" in said


def test_harness_lead_and_the_report_agree_on_what_should_lead(project, write_study) -> None:
    begins = "What to acquire and what should lead"
    said = answer(project, write_study, "toy_leading", shown_by_contrast, begins, leading=["all"])
    assert "contrast should lead: P(best) 1.00" in said
    assert "To acquire: contrast, 5 min with contrast agent (all: 15 min with contrast agent)" in said
    (project / "protocols").mkdir()
    (project / "protocols" / "brief.yaml").write_text(json.dumps(PROTOCOL))
    data = ["--nnunet-raw", str(project / "ours"), "--splits", str(project / "ours_splits.json")]
    asked = ["--model", "toy_leading", "--protocol", "brief", "--seeds", "1", "--rungs", "1", "--cpu", "--no-mlflow"]
    assert main(["lead", "ours", *data, *asked]) == 0
    (path,) = (project / "results" / "lead" / "ours").glob("*/answer.json")
    facts = json.loads(path.read_text())
    assert (facts["leading"], facts["patients"]) == ("contrast", VALIDATED)
