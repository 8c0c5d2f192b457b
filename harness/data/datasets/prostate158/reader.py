"""Reads Prostate158 in its official layout.

The official lists make fold 0: 119 patients train, 20 validate, 19 test. Folds 1 to 6 draw from all of them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.data.contract import Case, Split
from harness.data.datasets.archive import ArchiveReader, read_images
from harness.data.datasets.prostate158.tables import Row, read_tables
from harness.data.reading.files import files_hash
from harness.data.reading.grids import centre, check_same_grid
from harness.data.reading.nifti import read_label
from harness.data.splits import make_split
from harness.errors import DataError

_TZ, _PZ = 1, 2


def open_tz_first(root: Path) -> Prostate158Reader:
    """Returns a reader that takes the files' 1 for the transition zone and 2 for the peripheral zone."""
    return Prostate158Reader(root, (0, _TZ, _PZ), "prostate158-pz1")


def open_pz_first(root: Path) -> Prostate158Reader:
    """Returns a reader that takes the files' 1 for the peripheral zone and 2 for the transition zone."""
    return Prostate158Reader(root, (0, _PZ, _TZ), "prostate158")


class Prostate158Reader(ArchiveReader):
    """Reader of Prostate158.

    Args:
        root: A folder that holds both unpacked archives, at whatever depth.
        zones: Label of the harness for each label value of the files.
        other: Dataset that reads the values the other way round.

    Raises:
        DataError: A table is missing or not as published.
    """

    def __init__(self, root: Path, zones: tuple[int, int, int], other: str) -> None:
        self._zones = np.array(zones, np.uint8)
        self._other = other
        self._tables = read_tables(root)
        self._rows = self._tables.rows
        super().__init__(root, {case: row.label is not None for case, row in self._rows.items()})

    def fingerprint(self) -> str:
        """Returns a hash of the tables and of the files they name; a missing one is refused when its case is read."""
        files = {file for row in self._rows.values() for file in (*row.images, row.label) if file is not None}
        return files_hash(self._root, [*self._tables.files, *(file for file in files if file.is_file())])

    def split(self, fold: int) -> Split:
        """Returns the official lists (fold 0), or a split of all patients: seeded 80:20 (1), cross-validation (2-6)."""
        if fold > 0:
            return super().split(fold - 1)
        return make_split({case: case for case in self.cases()}, self._tables.test, self._tables.valid)

    def load(self, case: str) -> Case:
        """Reads T2, ADC, DWI and the zones."""
        row = self._row(case)
        images, affine = read_images(row.images)
        return Case(images, self._label(row, images.shape[1:], affine), affine)

    def warnings(self, case: str, content: Case) -> list[str]:
        """Warns of a missing zone, and of a transition zone that is not anterior to the peripheral zone."""
        if self._rows[case].label is None:
            return []
        names = {_TZ: "transition zone", _PZ: "peripheral zone"}
        absent = [name for value, name in names.items() if not (content.label == value).any()]
        if absent:
            return [f"the {' and the '.join(absent)} is empty"]
        anterior = {value: centre(content.label == value, content.affine)[1] for value in names}
        if anterior[_TZ] > anterior[_PZ]:
            return []
        return [
            "the transition zone lies behind the peripheral zone: the label values mean the opposite (use the dataset "
            f"`{self._other}`), or the image is upside down"
        ]

    def _reference(self, case: str) -> Path:
        return self._row(case).images[0]

    def _row(self, case: str) -> Row:
        if case not in self._rows:
            raise DataError(f"{self._root} holds no case '{case}' of Prostate158.", hint="Cases are named like 024.")
        return self._rows[case]

    def _label(self, row: Row, shape: tuple[int, ...], affine: NDArray[np.float64]) -> NDArray[np.uint8]:
        if row.label is None:
            return np.zeros(shape, np.uint8)
        label, own = read_label(row.label, frozenset(range(len(self._zones))))
        # An empty mask (the release's empty.nii.gz) may carry any affine: only its shape says that it belongs here.
        check_same_grid(row.label, label.shape, own if label.any() else affine, row.images[0], shape, affine)
        return self._zones[label]
