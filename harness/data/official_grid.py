"""Additional methods of a reader whose cases lie on another grid than the files that a challenge expects."""

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@runtime_checkable
class OfficialGrid(Protocol):
    """Additional method of a reader whose cases lie on another grid than the files that a challenge expects."""

    def to_official(self, case: str, label: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """Brings a label map on the grid of the loaded case to that of the official files.

        Returns:
            The label map (X, Y, Z), values of the harness, and the affine of the official grid.
        """


@runtime_checkable
class KnownOfficialGrid(Protocol):
    """Additional method of such a reader that knows the official grid without loading the case."""

    def official_grid(self, case: str) -> tuple[tuple[int, ...], NDArray[np.float64]]:
        """Returns shape and affine of what ``to_official`` returns."""
