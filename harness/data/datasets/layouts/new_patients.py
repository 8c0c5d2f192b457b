"""Patients whose images are named file by file, to be predicted: they belong to no dataset's folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.data.contract import Case, Reader, Split
from harness.data.datasets.archive import read_images
from harness.data.reading.nifti import read_placement
from harness.errors import DataError


class NewPatients(Reader):
    """Reader of patients without labels.

    Args:
        files: Image files of each patient, in the channel order of the network; None where it lacks the modality.
        modalities: Names in channel order.
    """

    def __init__(self, files: Mapping[str, Sequence[Path | None]], modalities: Sequence[str]) -> None:
        self._files = files
        self._modalities = tuple(modalities)

    def fingerprint(self) -> str:
        """Returns what no dataset has: nothing of these patients is kept in a cache."""
        return "new patients"

    def cases(self) -> tuple[str, ...]:
        """Returns no case: none has a label."""
        return ()

    def unlabelled(self) -> tuple[str, ...]:
        """Returns the patients."""
        return tuple(self._files)

    def split(self, fold: int) -> Split:
        """Refuses: nothing can be trained on patients without labels.

        Raises:
            DataError: Always.
        """
        raise DataError(f"New patients have no fold {fold}.", hint="They have no labels and can only be predicted.")

    def missing_modalities(self, case: str) -> tuple[str, ...]:
        """Returns the modalities of which a patient has no file."""
        files = zip(self._modalities, self._files[case], strict=True)
        return tuple(name for name, file in files if file is None)

    def load(self, case: str) -> Case:
        """Reads the images of a patient, 0 where it lacks the modality; the label is all background.

        Raises:
            DataError: A file cannot be read, or is not on the grid of the first.
        """
        present, affine = read_images(self._present(case))
        images = np.zeros((len(self._modalities), *present.shape[1:]), np.float32)
        images[[channel for channel, file in enumerate(self._files[case]) if file is not None]] = present
        return Case(images, np.zeros(images.shape[1:], np.uint8), affine)

    def affine(self, case: str) -> NDArray[np.float64]:
        """Returns the (4, 4) affine of a patient's images, from the header of the first."""
        return read_placement(self._present(case)[0]).affine

    def transform_codes(self, case: str) -> tuple[int, int]:
        """Returns the codes of qform and sform of the first image."""
        return read_placement(self._present(case)[0]).codes

    def _present(self, case: str) -> list[Path]:
        return [file for file in self._files[case] if file is not None]
