"""Writes any dataset as a folder in nnU-Net v2's raw format, for nnU-Net itself or to be read back here."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from harness.data.contract import Case, Dataset, Reader
from harness.data.datasets.layouts.document import FILE
from harness.data.datasets.layouts.reader import PATIENTS
from harness.data.splits import choose_splits, write_splits
from harness.data.synthetic.generated import is_generated, mark_generated
from harness.errors import DataError
from harness.files import atomic_folder, write_json

_ENDING = ".nii.gz"

#: The dataset's folds, as a study's ``splits`` reads them.
SPLITS = "splits.json"


def write_nnunet_raw(
    dataset: Dataset, reader: Reader, root: Path, out: Path, progress: Callable[[int, int], None] | None = None
) -> None:
    """Writes labelled cases to ``imagesTr`` and ``labelsTr``, the others to ``imagesTs``.

    Patients and folds go along in ``patients.json`` and ``splits.json``, which nnU-Net ignores.

    Args:
        dataset: Facts of the dataset.
        reader: Reader of the dataset's folder.
        root: The folder that is read; where it was generated, the copy is marked as well.
        out: A folder that does not exist, or an empty one; it is there whole or not at all.
        progress: Called with (done, total).

    Raises:
        DataError: ``out`` holds something, or a case cannot be read.
    """
    if out.exists():
        if not out.is_dir() or any(out.iterdir()):
            raise DataError(f"{out} is not empty.", hint="Name a folder that does not exist yet.")
        out.rmdir()
    labelled, unlabelled = reader.cases(), reader.unlabelled()
    with atomic_folder(out) as folder:
        for name in ("imagesTr", "labelsTr", *(("imagesTs",) if unlabelled else ())):
            (folder / name).mkdir()
        for done, name in enumerate([*labelled, *unlabelled], start=1):
            case = reader.load(name)
            is_labelled = done <= len(labelled)
            _write_images(folder / ("imagesTr" if is_labelled else "imagesTs"), name, case)
            if is_labelled:
                _save(folder / "labelsTr" / f"{name}{_ENDING}", case.label, case.affine)
            if progress is not None:
                progress(done, len(labelled) + len(unlabelled))
        # Not sorted: the order of regions is that of `regions_class_order`.
        (folder / FILE).write_text(json.dumps(_document(dataset, len(labelled)), indent=2), encoding="utf-8")
        write_json(folder / PATIENTS, {name: reader.patient(name) for name in labelled})
        write_splits(folder / SPLITS, choose_splits(dataset, reader))
        if is_generated(root):
            mark_generated(folder, dataset.name, len({reader.patient(name) for name in labelled}), 0, 1.0)


def _document(dataset: Dataset, cases: int) -> dict[str, Any]:
    """Returns the content of ``dataset.json``; overlapping or joined regions become nnU-Net's regions."""
    content: dict[str, Any] = {
        "name": dataset.name,
        "description": dataset.summary,
        "licence": dataset.licence,
        "channel_names": {str(channel): name for channel, name in enumerate(dataset.modalities)},
        "numTraining": cases,
        "file_ending": _ENDING,
    }
    held = [values for values in dataset.regions.values() if len(values) == 1]
    if len(held) == len(dataset.regions) and sorted(held) == [(value,) for value in sorted(dataset.labels) if value]:
        content["labels"] = {"background": 0, **{name: values[0] for name, values in dataset.regions.items()}}
        return content
    # Large regions first: nnU-Net writes them in this order, later ones over earlier ones.
    regions = sorted(dataset.regions.items(), key=lambda region: -len(region[1]))
    content["labels"] = {"background": 0, **{name: list(values) for name, values in regions}}
    content["regions_class_order"] = [
        next((value for value in values if not any(value in later for _, later in regions[number + 1 :])), values[0])
        for number, (_, values) in enumerate(regions)
    ]
    return content


def _write_images(folder: Path, name: str, case: Case) -> None:
    for channel, image in enumerate(case.images):
        _save(folder / f"{name}_{channel:04d}{_ENDING}", image, case.affine)


def _save(path: Path, voxels: NDArray[np.generic], affine: NDArray[np.float64]) -> None:
    nib.save(nib.Nifti1Image(np.ascontiguousarray(voxels), affine), path)
