"""A case with the predictions that the cells of a study keep of it, for ``harness view``."""

from collections import Counter
from collections.abc import Sequence

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from harness.data.preparation.geometry import AS_IN_FILES, orientation_of, to_slices, turn
from harness.errors import DataError, HarnessError, did_you_mean
from harness.report.writers.case_viewer import ViewedCase
from harness.results.scores import read_scores
from harness.results.store import CellFolder


def worst_case(cell: CellFolder) -> str:
    """Returns the case of a finished cell with the least Dice, mean over regions; without Dice the first.

    Raises:
        HarnessError: The cell has no result.
    """
    if cell.status() != "done":
        raise HarnessError(f"Cell {cell.id} is not finished.", hint="`harness status` shows how far it is.")
    rows = read_scores(cell)
    means = rows[rows["metric"] == "dice"].groupby("case", observed=True)["value"].mean()
    return str(means.idxmin() if means.notna().any() else sorted(rows["case"])[0])


def read_viewed_case(cell: CellFolder, name: str, others: Sequence[tuple[str, CellFolder]]) -> ViewedCase:
    """Reads a case and every prediction of it.

    Args:
        cell: A finished cell.
        name: One of its test cases.
        others: What a study calls its cells; those that tested the case are shown beside.

    Raises:
        DataError: The case cannot be read, or the cell has not predicted it.
    """
    spec = cell.spec()
    dataset = spec.facts()
    known = sorted(path.name.removesuffix(".nii.gz") for path in (cell.result / "predictions").glob("*.nii.gz"))
    if name not in known:
        raise DataError(f"Cell {cell.id} has no prediction of case '{name}'.", hint=did_you_mean(name, known))
    case = dataset.open(spec.root).load(name)
    orientation = AS_IN_FILES if dataset.split_within_patient else orientation_of(case.affine)

    def upright(volume: NDArray[np.generic]) -> NDArray[np.generic]:
        slices = to_slices(turn(volume, orientation), dataset.slice_axis)
        return np.ascontiguousarray(np.rot90(slices, axes=(-2, -1)))

    spacing = [0.0, 0.0, 0.0]
    for size, (axis, _) in zip(case.spacing, orientation, strict=True):
        spacing[axis] = size
    del spacing[dataset.slice_axis]
    predictions = {
        label: upright(found)
        for label, found in _predictions(name, dataset.name, cell, others).items()
        if found.shape == case.label.shape
    }
    return ViewedCase(
        name=name,
        images=upright(case.images),  # type: ignore[arg-type]
        truth=upright(case.label),  # type: ignore[arg-type]
        predictions=predictions,  # type: ignore[arg-type]
        spacing=(spacing[1], spacing[0]),
        modalities=dataset.modalities,
        labels=dataset.labels,
        regions=dataset.regions,
        title=dataset.title,
    )


def _predictions(
    name: str, dataset: str, cell: CellFolder, others: Sequence[tuple[str, CellFolder]]
) -> dict[str, NDArray[np.uint8]]:
    """Returns the label maps by variant, that of the cell first; cells of one variant are told apart by their axes."""
    labelled = [(label, one) for label, one in others if one.id == cell.id][:1] or [(cell.id, cell)]
    labelled += [(label, one) for label, one in others if one.id != cell.id]
    found = [
        (label, one, one.result / "predictions" / f"{name}.nii.gz")
        for label, one in labelled
        if one.known().dataset == dataset and (one.result / "predictions" / f"{name}.nii.gz").is_file()
    ]
    counts = Counter(label for label, *_ in found)
    named = {}
    for label, one, path in found:
        record = one.known()
        axes = f", {record.leading} leads, fold {record.fold}, seed {record.seed}" if counts[label] > 1 else ""
        named[label + axes] = np.asarray(nib.load(path).dataobj).astype(np.uint8)
    return named
