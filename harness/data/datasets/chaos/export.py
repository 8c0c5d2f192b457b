"""CHAOS predictions as its evaluation reads them: one PNG a slice, in file-name order, organs as the official greys."""

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from harness.data.contract import Reader


class _NamesSlices(Reader, Protocol):
    """The reader of CHAOS."""

    def slice_names(self, case: str) -> tuple[str, ...]:
        """Returns the names of the slices of T1 in phase, in order."""


class ChaosSlices:
    """``MR/CASE/T1DUAL/Results/SLICE.png``, named as the DICOM slices of T1 in phase are."""

    def files(self, reader: Reader, case: str) -> tuple[str, ...]:
        """Returns one file per slice, in slice order."""
        names: _NamesSlices = reader  # type: ignore[assignment]
        return tuple(f"MR/{case}/T1DUAL/Results/{name}.png" for name in names.slice_names(case))

    def write(
        self, folder: Path, reader: Reader, case: str, label: NDArray[np.uint8], affine: NDArray[np.float64]
    ) -> None:
        """Writes the slices; rows of a picture are the second axis of the label map, as in the official drawings."""
        del affine
        for index, name in enumerate(self.files(reader, case)):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.ascontiguousarray(label[:, :, index].T)).save(path)

    def problems(
        self,
        folder: Path,
        reader: Reader,
        case: str,
        grid: tuple[tuple[int, ...], NDArray[np.float64]],
        values: frozenset[int],
    ) -> list[str]:
        """Reports slices that cannot be read, or have another shape or other grey values."""
        shape, _ = grid
        problems = []
        for name in self.files(reader, case):
            try:
                with Image.open(folder / name) as image:
                    grey = np.asarray(image)
            except (UnidentifiedImageError, OSError, ValueError) as error:
                problems.append(f"{name} cannot be read as PNG: {error}")
                continue
            if grey.T.shape != shape[:2]:
                problems.append(f"{name} has shape {grey.T.shape}, its image {shape[:2]}.")
            elif surplus := sorted({int(value) for value in np.unique(grey)} - values):
                problems.append(f"{name} holds greys {surplus[:5]}; the official ones are {sorted(values)}.")
        return problems
