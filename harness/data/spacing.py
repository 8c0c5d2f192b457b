"""The number that ``median`` stands for in a protocol's voxel size."""

from functools import cache
from pathlib import Path
from statistics import median

import numpy as np
from nibabel import orientations
from numpy.typing import NDArray
from pydantic import ValidationError

from harness.data.assumed import ASSUMED
from harness.data.contract import Dataset, Reader
from harness.data.settings import PreparationSettings
from harness.errors import DataError


def resolve_spacing(settings: PreparationSettings, dataset: Dataset, reader: Reader, root: Path) -> PreparationSettings:
    """Returns the settings with the median of the dataset's labelled cases in place of every ``median``.

    As in nnU-Net's plans these are all labelled cases, of every fold; only their voxel sizes are looked at.

    Args:
        settings: Preparation settings of a protocol.
        dataset: Facts of the dataset.
        reader: Reader of its folder.
        root: The folder; with the reader's fingerprint it says what was measured before.

    Raises:
        DataError: A case cannot be read.
    """
    if settings.spacing is None or "median" not in settings.spacing:
        return settings
    if reader.fingerprint() == ASSUMED:  # for plans: what the owners state
        measured = dataset.spacing or dataset.typical_spacing or (None, None, None)
    else:
        measured = _medians(dataset.name, root, reader.fingerprint(), _Reader(reader))
    spacing = tuple(
        size if wanted == "median" else wanted for wanted, size in zip(settings.spacing, measured, strict=True)
    )
    try:
        return PreparationSettings.model_validate({**settings.model_dump(), "spacing": spacing})
    except ValidationError as error:
        raise DataError(
            f"The median voxel size of {dataset.name} is {measured} mm, which cannot be.",
            hint="Correct the voxel size in the files, or give `preparation.spacing` in numbers.",
        ) from error


class _Reader:
    """A reader that equals any other: what it reads is named by the arguments beside it."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Reader)

    def __hash__(self) -> int:
        return 0


@cache
def _medians(name: str, root: Path, fingerprint: str, kept: _Reader) -> tuple[float, float, float]:
    """Returns the median voxel size in mm (right, anterior, superior)."""
    del name, root, fingerprint
    reader = kept.reader
    affine = getattr(reader, "affine", lambda case: reader.load(case).affine)  # a reader need not inherit from Reader
    sizes = [_turned(affine(case)) for case in reader.cases()]
    right, anterior, superior = (round(median(along), 6) for along in zip(*sizes, strict=True))
    return right, anterior, superior


def _turned(affine: NDArray[np.float64]) -> list[float]:
    sizes = [0.0, 0.0, 0.0]
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    for length, (axis, _) in zip(lengths, orientations.io_orientation(affine), strict=True):
        sizes[int(axis)] = float(length)
    return sizes
