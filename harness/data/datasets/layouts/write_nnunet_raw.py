"""Writes any dataset as a folder in nnU-Net v2's raw format, for nnU-Net itself or to be read back here."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness.data.contract import Dataset, Reader, Split, transform_codes
from harness.data.datasets.layouts.document import FILE
from harness.data.datasets.layouts.modalities import declare_missing
from harness.data.incomplete import absent_channels, patterns_of
from harness.data.patients.table import PATIENTS
from harness.data.reading.nifti import write_volume
from harness.data.splits import choose_splits, write_splits
from harness.data.synthetic.generated import is_generated, mark_generated
from harness.errors import DataError
from harness.files import atomic_folder, write_json

_ENDING = ".nii.gz"

#: The dataset's folds, as a study's ``splits`` reads them.
SPLITS = "splits.json"

#: The same as nnU-Net reads them, once the file lies in its folder of preprocessed data.
NNUNET_SPLITS = "splits_final.json"


def write_nnunet_raw(
    dataset: Dataset, reader: Reader, root: Path, out: Path, progress: Callable[[int, int], None] | None = None
) -> None:
    """Writes labelled cases to ``imagesTr`` and ``labelsTr``, the others to ``imagesTs``.

    Patients and folds go along in ``patients.json`` and ``splits.json``, which nnU-Net ignores, and in
    ``splits_final.json``, which it reads from its folder of preprocessed data: its own folds part a patient's cases.

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
            case, codes = reader.load(name), transform_codes(reader, name)
            is_labelled = done <= len(labelled)
            absent = absent_channels(dataset, reader, name)
            for channel, image in enumerate(case.images):
                if channel in absent:
                    continue
                place = folder / ("imagesTr" if is_labelled else "imagesTs")
                write_volume(place / f"{name}_{channel:04d}{_ENDING}", image, case.affine, codes)
            if is_labelled:
                write_volume(folder / "labelsTr" / f"{name}{_ENDING}", case.label, case.affine, codes)
            if progress is not None:
                progress(done, len(labelled) + len(unlabelled))
        # Not sorted: the order of regions is that of `regions_class_order`.
        (folder / FILE).write_text(json.dumps(_document(dataset, len(labelled)), indent=2), encoding="utf-8")
        write_json(folder / PATIENTS, {name: reader.patient(name) for name in labelled})
        if lacking := patterns_of(reader, [*labelled, *unlabelled]):
            declare_missing(folder, lacking)
        folds = choose_splits(dataset, reader)
        write_splits(folder / SPLITS, folds)
        write_json(folder / NNUNET_SPLITS, _nnunet_folds(dataset, folds))
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
        _written_value(values, [later for _, later in regions[number + 1 :]])
        for number, (_, values) in enumerate(regions)
    ]
    return content


def _written_value(values: Sequence[int], later: Sequence[Sequence[int]]) -> int:
    """Returns the value of a region's voxels that no later region claims: one that is in none of them, if there is.

    Otherwise one that is in none of the later regions that join several values: BraTS 2024's whole tumour without its
    core is oedema (2), although oedema is a region, too.
    """
    joined = [region for region in later if len(region) > 1]
    for others in (later, joined):
        if free := [value for value in values if not any(value in region for region in others)]:
            return free[0]
    return values[0]


def _nnunet_folds(dataset: Dataset, folds: Sequence[Split]) -> list[dict[str, list[str]]]:
    """Returns the folds of the cross-validation, all of a dataset without one; each test set is nnU-Net's ``val``."""
    chosen = [fold for fold, name in zip(folds, dataset.fold_names, strict=False) if name.startswith("cv")]
    return [{"train": sorted((*fold.train, *fold.val)), "val": sorted(fold.test)} for fold in chosen or folds]
