"""Predictions in the submission format of a challenge: official names, label values and geometry, in one archive.

Most challenges take one NIfTI file per case. A dataset with another submission format names its own exporter.
"""

import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from harness.data.contract import Dataset, Reader, transform_codes
from harness.data.official_grid import KnownOfficialGrid, OfficialGrid
from harness.data.reading.grids import same_grid
from harness.data.reading.nifti import read_label, write_label
from harness.errors import DataError
from harness.files import atomic_path
from harness.registry import resolve


class Exporter(Protocol):
    """Submission format of a case. Label maps (X, Y, Z) hold the values of the official files."""

    def files(self, reader: Reader, case: str) -> tuple[str, ...]:
        """Returns the files of a case, as POSIX paths inside the archive."""

    def write(
        self, folder: Path, reader: Reader, case: str, label: NDArray[np.uint8], affine: NDArray[np.float64]
    ) -> None:
        """Writes these files below ``folder``."""

    def problems(
        self,
        folder: Path,
        reader: Reader,
        case: str,
        grid: tuple[tuple[int, ...], NDArray[np.float64]],
        values: frozenset[int],
    ) -> list[str]:
        """Returns the problems of a case's files below ``folder``.

        Args:
            folder: Folder of the predictions.
            reader: Reader of the dataset's folder.
            case: Identifier of a case whose files all exist.
            grid: Shape and affine that the label map must have.
            values: Label values that may occur.
        """


@dataclass(frozen=True)
class NiftiFiles:
    """One NIfTI file per case, named by it.

    Attributes:
        folder: Folder of the archive they lie in; empty for none.
    """

    folder: str = ""

    def files(self, reader: Reader, case: str) -> tuple[str, ...]:
        """Returns e.g. ``BraTS-GLI-00001-000.nii.gz``."""
        del reader
        return (str(PurePosixPath(self.folder) / f"{case}.nii.gz"),)

    def write(
        self, folder: Path, reader: Reader, case: str, label: NDArray[np.uint8], affine: NDArray[np.float64]
    ) -> None:
        """Writes the file."""
        path = folder / self.files(reader, case)[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        write_label(path, label, affine, transform_codes(reader, case))

    def problems(
        self,
        folder: Path,
        reader: Reader,
        case: str,
        grid: tuple[tuple[int, ...], NDArray[np.float64]],
        values: frozenset[int],
    ) -> list[str]:
        """Reports a file that cannot be read, or has another grid or other values."""
        path = folder / self.files(reader, case)[0]
        try:
            label, affine = read_label(path, values)
        except DataError as error:
            return [error.message.replace(f"{folder}/", "")]
        shape, expected = grid
        if label.shape != shape:
            return [f"{path.name} has shape {label.shape}, its case {shape}."]
        if not same_grid(shape, affine, expected):
            return [f"{path.name} lies elsewhere than its case: affine {affine.round(3).tolist()}."]
        return []


def nifti_in_folder() -> NiftiFiles:
    """Returns the exporter of challenges that want the files in a folder of the archive."""
    return NiftiFiles("predictions")


def exporter_of(dataset: Dataset) -> Exporter:
    """Returns the exporter of a dataset, which writes its submission format.

    Raises:
        HarnessError: The exporter that the dataset names cannot be imported.
    """
    if not dataset.exporter:
        return NiftiFiles()
    exporter: Exporter = resolve(dataset.exporter, f"exporter of '{dataset.name}'")()
    return exporter


def write_prediction(
    dataset: Dataset,
    reader: Reader,
    case: str,
    label: NDArray[np.uint8],
    affine: NDArray[np.float64],
    folder: Path,
) -> None:
    """Writes the prediction of one case in the submission format.

    Args:
        dataset: Facts of the dataset.
        reader: Reader of the dataset's folder.
        case: Identifier.
        label: (X, Y, Z) on the grid of the case as it is loaded, values of the harness.
        affine: (4, 4) affine of that grid.
        folder: Folder to write to.
    """
    if isinstance(reader, OfficialGrid):
        label, affine = reader.to_official(case, label)
    table = np.array([dataset.file_labels.get(value, value) for value in sorted(dataset.labels)], np.uint8)
    exporter_of(dataset).write(folder, reader, case, table[label], affine)


def pack(folder: Path, archive: Path) -> None:
    """Writes a folder to a ZIP archive, in an order that does not depend on the file system."""
    with atomic_path(archive) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as made:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                made.write(path, path.relative_to(folder).as_posix())


def check_export(dataset: Dataset, reader: Reader, place: Path, cases: Sequence[str] | None = None) -> list[str]:
    """Returns the problems for which a challenge would refuse a folder or ZIP archive of predictions.

    Args:
        dataset: Facts of the dataset.
        reader: Reader of the folder with the predicted cases.
        place: Folder or ZIP archive of predictions, from the harness or any other program.
        cases: Cases that must be present; default: all unlabelled ones if any of them is present, else those present.

    Raises:
        DataError: The folder or archive does not exist, or a case of the dataset cannot be read.
    """
    if place.is_dir():
        return _problems(dataset, reader, place, cases)
    if not place.is_file() or not zipfile.is_zipfile(place):  # opening a pipe would wait for ever
        raise DataError(f"{place} is neither a folder nor a ZIP archive.", hint="Name what `harness predict` wrote.")
    with zipfile.ZipFile(place) as archive, tempfile.TemporaryDirectory() as folder:
        if leaving := [name for name in archive.namelist() if _leaves(name)]:
            return [f"{name} leads out of the archive." for name in leaving]
        archive.extractall(folder)
        return _problems(dataset, reader, Path(folder), cases)


def _leaves(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or ":" in path.parts[0]


def _problems(dataset: Dataset, reader: Reader, folder: Path, cases: Sequence[str] | None) -> list[str]:
    exporter = exporter_of(dataset)
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    if linked := sorted(path.name for path in folder.rglob("*") if path.is_symlink()):
        return [f"{name} is a link: put the file itself there." for name in linked]
    named = {case: exporter.files(reader, case) for case in (*reader.cases(), *reader.unlabelled())}
    problems = [
        f"Unexpected file {name}: {dataset.title} has no such case."
        for name in sorted(present - {f for n in named.values() for f in n})
    ]
    there = [case for case, files in named.items() if present & set(files)]
    if cases is None:
        cases = reader.unlabelled() if set(there) & set(reader.unlabelled()) else there
    if not cases:
        problems.append("The folder contains no prediction.")
    for case in sorted({*there, *cases}):
        if missing := [file for file in named[case] if file not in present]:
            problems.append(
                f"{missing[0]} is missing" + (f", and {len(missing) - 1} more of its case." if missing[1:] else ".")
            )
        else:
            problems += exporter.problems(folder, reader, case, _grid(reader, case), _values(dataset))
    return problems


def _grid(reader: Reader, case: str) -> tuple[tuple[int, ...], NDArray[np.float64]]:
    if isinstance(reader, KnownOfficialGrid):
        return reader.official_grid(case)
    content = reader.load(case)
    label, affine = content.label, content.affine
    if isinstance(reader, OfficialGrid):
        label, affine = reader.to_official(case, label)
    return label.shape, affine


def _values(dataset: Dataset) -> frozenset[int]:
    return frozenset(dataset.file_labels.get(value, value) for value in dataset.labels)
