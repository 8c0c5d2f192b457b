"""A folder of the user's own in nnU-Net's raw format, with patients at sites, at one of which images are otherwise."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np

SIDE, SLICES = 32, 4


def write_own_folder(root: Path, sites: Mapping[str, int], *, inverted: str = "", timepoints: int = 1) -> Path:
    """Writes patients whose lesion is brighter than the rest, but darker at one site; no column is written.

    Args:
        root: Folder to make.
        sites: Number of patients at each site.
        inverted: The site at which images are inverted.
        timepoints: Cases of each patient.

    Returns:
        The folder.
    """
    patient_of = {}
    for site, patient in (
        (site, f"{site.lower()}{number:02d}") for site, count in sites.items() for number in range(count)
    ):
        for time in range(timepoints):
            case = patient if timepoints == 1 else f"{patient}_{time}"
            patient_of[case] = patient
            _write_case(root, case, -1 if site == inverted else 1)
    content = {
        "name": "mine",
        "channel_names": {"0": "T1", "1": "T2"},
        "labels": {"background": 0, "lesion": 1},
        "file_ending": ".nii.gz",
        "numTraining": len(patient_of),
    }
    (root / "dataset.json").write_text(json.dumps(content))
    if timepoints > 1:
        (root / "patients.json").write_text(json.dumps(patient_of))
    return root


def write_sites(root: Path, sites: Mapping[str, int]) -> None:
    """Writes ``patients.csv`` with the site and an age of each patient."""
    rows = (
        (site, f"{site.lower()}{number:02d}", 40 + number) for site, count in sites.items() for number in range(count)
    )
    lines = [f"{patient},{site},{age}" for site, patient, age in rows]
    (root / "patients.csv").write_text("\n".join(["patient,site,age", *lines]) + "\n")


def _write_case(root: Path, case: str, sign: int) -> None:
    random = np.random.default_rng(list(case.encode()))
    x, y, _ = np.mgrid[:SIDE, :SIDE, :SLICES]
    centre = random.uniform(10, 22, 2)
    label = (np.hypot(x - centre[0], y - centre[1]) < random.uniform(5, 7)).astype(np.uint8)
    for channel in range(2):
        image = 100 + sign * 30.0 * label + random.normal(0, 4, label.shape)
        _save(root / f"imagesTr/{case}_{channel:04d}.nii.gz", image.astype(np.float32))
    _save(root / f"labelsTr/{case}.nii.gz", label)


def _save(path: Path, voxels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, np.diag([-1.0, -1, 4, 1])), path)
