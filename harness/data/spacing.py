"""The number that ``median`` stands for in a protocol's voxel size."""

from collections.abc import Callable
from statistics import median

import numpy as np
from nibabel import orientations
from numpy.typing import NDArray
from pydantic import ValidationError

from harness.data.assumed import ASSUMED
from harness.data.contract import Dataset, Reader
from harness.data.settings import PreparationSettings
from harness.errors import DataError

Sizes = tuple[float | None, float | None, float | None]


def resolve_spacing(
    settings: PreparationSettings, dataset: Dataset, measure: Callable[[], Sizes]
) -> PreparationSettings:
    """Returns the settings with the median voxel size of a dataset in place of every ``median``.

    Args:
        settings: Preparation settings of a protocol.
        dataset: Facts of the dataset.
        measure: Called where a ``median`` stands, for :func:`median_spacing`.

    Raises:
        DataError: A case cannot be read, or the median is no size that voxels can have.
    """
    if settings.spacing is None or "median" not in settings.spacing:
        return settings
    measured = measure()
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


def median_spacing(dataset: Dataset, reader: Reader) -> Sizes:
    """Returns the median voxel size in mm (right, anterior, superior) of the labelled cases.

    As in nnU-Net's plans these are the cases of every fold; only their voxel sizes are looked at. For data that is
    assumed to be there it is what the owners state.

    Raises:
        DataError: A case cannot be read.
    """
    if reader.fingerprint() == ASSUMED:
        return dataset.spacing or dataset.typical_spacing or (None, None, None)
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
