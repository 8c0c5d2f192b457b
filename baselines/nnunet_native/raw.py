"""The split in nnU-Net's raw format.

nnU-Net reads a NIfTI file's axes in reverse order, so that its first axis, the one that ``2d`` cuts slices along, is
the file's last. Files are therefore written with the dataset's slice axis last.

Source of the format: ``documentation/dataset_format.md`` of MIC-DKFZ/nnUNet.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes

from harness.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from harness.segmenters.external import ExternalCase, ExternalProblem

DATASET = "Dataset001_split"
"""What nnU-Net calls the split; the three digits are its number."""
ENDING = ".nii.gz"
CASES = "cases.json"


def file_axes(slice_axis: int) -> tuple[int, int, int]:
    """Returns the native axes in the order of a file's: the slice axis last."""
    first, second = (axis for axis in range(3) if axis != slice_axis)
    return first, second, slice_axis


def to_nnunet(case: ExternalCase, slice_axis: int) -> tuple[NDArray[np.float32], list[float]]:
    """Returns images and spacing of a case as nnU-Net would read them from the files of :func:`export`.

    Args:
        case: Case on its native grid.
        slice_axis: Voxel axis that becomes the first.
    """
    axes = file_axes(slice_axis)[::-1]
    images = np.ascontiguousarray(case.images.transpose(0, *(axis + 1 for axis in axes)), dtype=np.float32)
    spacing = voxel_sizes(case.affine).astype(np.float32)  # precision of a header
    return images, [float(spacing[axis]) for axis in axes]


def from_nnunet(label: NDArray[Any], slice_axis: int) -> NDArray[np.uint8]:
    """Returns a label map of nnU-Net's with its axes in the native order."""
    axes = file_axes(slice_axis)[::-1]
    return np.ascontiguousarray(label.transpose(np.argsort(axes)), dtype=np.uint8)


def identifiers(problem: ExternalProblem) -> dict[str, str]:
    """Returns nnU-Net's identifier of each training and validation case: safe in file names, whatever ours are."""
    return {f"case_{number:04d}": name for number, name in enumerate([*problem.train, *problem.val])}


def dataset_json(problem: ExternalProblem) -> dict[str, Any]:
    """Returns the content of ``dataset.json``.

    Channels keep their names, because nnU-Net chooses the normalisation by them (``ct``). Labels are prefixed with
    their value, because some names (``ignore``) mean something to nnU-Net. Files are listed, because nnU-Net forks a
    dozen processes to find them where they are not.
    """
    names = {value: f"{value} {name}" for value, name in sorted(problem.labels.items())}
    names[0] = "background"
    return {
        "channel_names": {str(channel): name for channel, name in enumerate(problem.task.modalities)},
        "labels": {name: value for value, name in names.items()},
        "numTraining": len(identifiers(problem)),
        "file_ending": ENDING,
        "overwrite_image_reader_writer": "NibabelIO",
        "dataset": {
            identifier: {
                "images": [_image_file(identifier, channel) for channel in range(problem.task.in_channels)],
                "label": _label_file(identifier),
            }
            for identifier in identifiers(problem)
        },
    }


def export(problem: ExternalProblem, raw: Path) -> None:
    """Writes training and validation cases; those that an interrupted export left are kept.

    Args:
        problem: The split.
        raw: nnU-Net's folder of raw datasets.

    Raises:
        DataError: No case has any foreground, so that nnU-Net cannot make a fingerprint.
        Exception: What ``should_stop`` returned.
    """
    folder = raw / DATASET
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    cases = identifiers(problem)
    foreground = False
    for identifier, name in cases.items():
        label_file = folder / _label_file(identifier)
        if label_file.exists():
            foreground = foreground or bool(np.any(nib.load(label_file).dataobj))
            continue
        case = problem.load(name)
        if case.label is None:
            raise DataError(f"Case '{name}' is for training or validation and has no label.")
        foreground = foreground or bool(case.label.any())
        for channel, image in enumerate(case.images):
            _save(image, case.affine, problem.slice_axis, folder / _image_file(identifier, channel))
        unfinished = folder / f"label{ENDING}"
        _save(case.label, case.affine, problem.slice_axis, unfinished)
        unfinished.replace(label_file)  # last, and at once: a label stands for a complete case
        if (reason := problem.should_stop()) is not None:
            raise reason
    if not foreground:
        raise DataError(
            "nnU-Net cannot plan: no training or validation case has a voxel of a foreground label.",
            hint="Choose another fold, or look at the labels with `harness data`.",
        )
    _write(folder / "dataset.json", dataset_json(problem))
    _write(raw / CASES, cases)


def _image_file(identifier: str, channel: int) -> str:
    return f"imagesTr/{identifier}_{channel:04d}{ENDING}"


def _label_file(identifier: str) -> str:
    return f"labelsTr/{identifier}{ENDING}"


def _save(array: NDArray[Any], affine: NDArray[np.float64], slice_axis: int, path: Path) -> None:
    axes = file_axes(slice_axis)
    permuted = affine.copy()
    permuted[:, :3] = affine[:, list(axes)]
    nib.save(nib.Nifti1Image(np.ascontiguousarray(array.transpose(axes)), permuted), path)


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2))
