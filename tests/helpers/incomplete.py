"""A small folder in nnU-Net's raw format whose patients lack modalities."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

MODALITIES = ("T1", "T2", "FLAIR")
AFFINE = np.diag([-1.0, -1, 1, 1])

#: Modalities that some of the patients lack: ten have all, five lack T2, two lack T1 and T2.
LACKING: Mapping[str, tuple[str, ...]] = {
    **{f"p{number:02d}": ("T2",) for number in (1, 4, 7, 10, 13)},
    **{f"p{number:02d}": ("T1", "T2") for number in (5, 11)},
}


def volume(case: str, channel: int) -> NDArray[np.float32]:
    """A body whose lesion is bright in each modality; the box of nonzero voxels differs from modality to modality."""
    random = np.random.default_rng([int(case.removeprefix("p")), channel])
    image = np.zeros((16, 16, 6), np.float32)
    image[2 + channel : 14, 2:14] = random.normal(100 * (channel + 1), 5, (12 - channel, 12, 6))
    image[6:10, 6:10, 2:4] += 60
    return image


def write_folder(
    root: Path, patients: int = 17, lacking: Mapping[str, Iterable[str]] = LACKING, declare: bool = True
) -> Path:
    """Writes the folder: files of absent modalities are not there."""
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True)
    for number in range(patients):
        case, label = f"p{number:02d}", np.zeros((16, 16, 6), np.uint8)
        label[6:10, 6:10, 2:4] = 1
        label[3, 2 + number % 12, 2 + number // 12] = 1  # no two labels are the same
        for channel, name in enumerate(MODALITIES):
            if name not in lacking.get(case, ()):
                path = root / f"imagesTr/{case}_{channel:04d}.nii.gz"
                nib.save(nib.Nifti1Image(volume(case, channel), AFFINE), path)
        nib.save(nib.Nifti1Image(label, AFFINE), root / f"labelsTr/{case}.nii.gz")
    content = {
        "channel_names": {str(channel): name for channel, name in enumerate(MODALITIES)},
        "labels": {"background": 0, "lesion": 1},
        "file_ending": ".nii.gz",
        "numTraining": patients,
    }
    (root / "dataset.json").write_text(json.dumps(content))
    if declare:
        declared = {"missing": {case: list(names) for case, names in lacking.items()}}
        (root / "modalities.json").write_text(json.dumps(declared))
    return root
