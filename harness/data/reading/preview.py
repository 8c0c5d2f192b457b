"""A contact sheet: all modalities of several cases, one slice each, labels as contours and in colour."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from harness.data.contract import Case, Dataset, Reader
from harness.data.label_colours import label_colour, tint
from harness.data.preparation.geometry import orientation_of, turn
from harness.errors import DataError
from harness.files import naming

_INCH = 2.1
_AXIAL = 2
_WINDOW = (0.5, 99.5)  # percentiles of the slice shown as black and white


def draw_preview(dataset: Dataset, reader: Reader, out: Path, count: int) -> list[str]:
    """Draws a contact sheet.

    Args:
        dataset: Facts of the dataset.
        reader: Reader of the dataset's folder.
        out: The picture; its ending chooses the format.
        count: Number of cases, evenly chosen from the labelled ones; from the others where there is none with a label.

    Returns:
        The cases drawn.

    Raises:
        DataError: A case cannot be read, or the picture cannot be written.
    """
    names = reader.cases() or reader.unlabelled()
    chosen = [names[index] for index in np.unique(np.linspace(0, len(names) - 1, min(count, len(names))).astype(int))]
    columns = len(dataset.modalities) + 1
    figure = Figure(figsize=(columns * _INCH, len(chosen) * _INCH + 0.9), layout="constrained", facecolor="white")
    grid = figure.subplots(len(chosen), columns, squeeze=False)
    for row, name in zip(grid, chosen, strict=True):
        _draw_case(row, dataset, reader.load(name), name)
    for axes, title in zip(grid[0], [*dataset.modalities, "labels"], strict=True):
        axes.set_title(title, fontsize=9)
    handles = [Patch(color=label_colour(value), label=word) for value, word in dataset.labels.items() if value]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)), fontsize=8, frameon=False)
    sides = "front up, the patient's right on the left" if dataset.slice_axis == _AXIAL else "head up"
    figure.suptitle(f"{dataset.title}: {sides}", fontsize=9)
    try:
        with naming(out):
            figure.savefig(out, dpi=150)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the disk, not of the format
            raise
        raise DataError(f"{out} cannot be written: {error}", hint="Name a .png, .pdf or .svg file.") from error
    return chosen


def _draw_case(row: Sequence[Axes], dataset: Dataset, case: Case, name: str) -> None:
    orientation = orientation_of(case.affine)
    images, label = turn(case.images, orientation), turn(case.label, orientation)
    sizes = [0.0, 0.0, 0.0]
    for size, (axis, _) in zip(case.spacing, orientation, strict=True):
        sizes[axis] = size
    others = tuple(axis for axis in range(3) if axis != dataset.slice_axis)
    index = _best_slice(label, dataset)
    flat = _as_seen(np.take(label, index, dataset.slice_axis), dataset.slice_axis)
    aspect = sizes[others[1]] / sizes[others[0]]
    for position, axes in enumerate(row):
        shown = images[min(position, len(images) - 1)]
        plane = _as_seen(np.take(shown, index, dataset.slice_axis), dataset.slice_axis)
        low, high = np.percentile(plane.astype(np.float64), _WINDOW)
        axes.imshow(plane, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), aspect=aspect, interpolation="nearest")
        axes.set_xticks([])
        axes.set_yticks([])
        if position < len(images):
            for value in range(1, len(dataset.labels)):
                if (flat == value).any():
                    axes.contour(flat == value, [0.5], colors=[label_colour(value)], linewidths=0.8)
    row[-1].imshow(tint(flat, opacity=0.6), aspect=aspect, interpolation="nearest")
    row[0].set_ylabel(f"{name}\nslice {index}", fontsize=8)


def _best_slice(label: NDArray[np.uint8], dataset: Dataset) -> int:
    """Returns the slice that shows most of all labels, each against its own largest area; the middle one of none."""
    others = tuple(axis for axis in range(3) if axis != dataset.slice_axis)
    areas = [(label == value).sum(axis=others) for value in dataset.labels if value]
    shown = sum((area / max(1, area.max()) for area in areas), np.zeros(label.shape[dataset.slice_axis]))
    return int(shown.argmax()) if shown.any() else len(shown) // 2


def _as_seen(plane: NDArray[np.generic], slice_axis: int) -> NDArray[np.generic]:
    """Returns rows and columns of a slice of a volume in RAS: up is up, and the patient's right is on the left."""
    turned = plane.T[::-1]
    return turned if slice_axis == 0 else turned[:, ::-1]
