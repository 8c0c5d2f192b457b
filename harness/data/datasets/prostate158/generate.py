"""Generated Prostate158 trees: official names and tables, invented patients, and the traps of the real archives.

Among them: folders with leading zeros that the tables' numbers lack, ``empty.nii.gz`` with an affine of its own, labels
stored as 0.9999, a test archive that unpacks doubly nested, blank columns, hidden files of macOS.
"""

import csv
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from harness.data.synthetic.phantoms.prostate import Prostate, draw_prostate

_COLUMNS = (
    *("ID", "t2", "adc", "dwi", "t2_anatomy_reader1", "t2_tumor_reader1", "adc_tumor_reader1"),
    *("t2_anatomy_reader2", "adc_tumor_reader2"),
)

#: The official validation patients; training and validation share folders.
_VALID = (20, 21, 22, 23, 38, 41, 46, 47, 51, 56, 60, 61, 77, 84, 87, 99, 109, 114, 118, 127)
_FIRST_TRAINING = 24

#: Official matrices in plane, of about the same extent, and slices.
_PLANES, _EXTENT_MM, _SLICES, _THICKNESS_MM = (232, 270, 442), 112.0, 24, 3.0
_LEAST_PLANE, _LEAST_SLICES = 32, 10

#: Which of the first patients shows which trap.
_WITH_MAC_FILES, _WITH_NOISY_LABEL = 0, 1


def generate(out: Path, patients: int, seed: int, scale: float) -> None:
    """Writes a tree with 1 = transition zone and 2 = peripheral zone in the files.

    Args:
        out: Folder to fill.
        patients: Labelled patients: those of training, validation and test.
        seed: The same seed gives the same images.
        scale: Size of the image matrix against the official one.
    """
    _Tree(out, seed, scale, (0, 1, 2)).write(patients)


def generate_pz_first(out: Path, patients: int, seed: int, scale: float) -> None:
    """Writes a tree with 1 = peripheral zone and 2 = transition zone in the files; arguments as above."""
    _Tree(out, seed, scale, (0, 2, 1)).write(patients)


class _Tree:
    """Writes one tree.

    Args:
        out: Folder to fill.
        seed: Random seed of the images.
        scale: Size of the image matrix against the official one.
        values: Label as drawn to value in the file.
    """

    def __init__(self, out: Path, seed: int, scale: float, values: tuple[int, int, int]) -> None:
        self._out, self._seed, self._scale = out, seed, scale
        self._values = np.array(values, np.uint8)

    def write(self, patients: int) -> None:
        testing, validating = max(1, patients // 6), max(1, patients // 8)
        valid = list(range(500, 500 + validating)) if validating > len(_VALID) else list(_VALID[:validating])
        free = (number for number in range(_FIRST_TRAINING, 500) if number not in _VALID)
        train = [next(free) for _ in range(patients - testing - validating)]
        training, test = self._out / "prostate158_train", self._out / "prostate158_test" / "prostate158_test"
        rows = {number: self._patient(training, "train", number, index) for index, number in enumerate(train + valid)}
        _table(training / "train.csv", [rows[number] for number in train])
        _table(training / "valid.csv", [rows[number] for number in valid])
        tested = [self._patient(test, "test", number + 1, len(rows) + number) for number in range(testing)]
        _table(test / "test.csv", tested)

    def _patient(self, archive: Path, part: str, number: int, index: int) -> dict[str, str]:
        """Draws and writes a patient; returns the row of the table."""
        rng = np.random.default_rng([self._seed, index, 158])
        plane = max(_LEAST_PLANE, round(_PLANES[index % len(_PLANES)] * self._scale))
        slices = max(_LEAST_SLICES, round((_SLICES + int(rng.integers(-2, 4))) * max(self._scale, 0.5)))
        spacing = (_EXTENT_MM / plane, _EXTENT_MM / plane, _SLICES * _THICKNESS_MM / slices)
        drawn = draw_prostate((plane, plane, slices), spacing, index % 3 != 0, rng)
        folder = archive / part / f"{number:03d}"
        folder.mkdir(parents=True)
        affine = _affine(spacing, rng)
        files = self._files(drawn, part, index)
        for name, voxels in files.items():
            # Rows run to the patient's left and back, as in DICOM.
            _save(folder / f"{name}.nii.gz", voxels[::-1, ::-1], affine)
        if not drawn.tumour.any():
            _save(folder / "empty.nii.gz", np.zeros(drawn.zones.shape, np.uint8), np.eye(4))
        if index == _WITH_MAC_FILES:
            (folder / "._t2.nii.gz").write_bytes(b"\x00\x05\x16\x07" + bytes(60))
        row = {name: f"{part}/{folder.name}/{name}.nii.gz" for name in files}
        for name in ("t2_tumor_reader1", "adc_tumor_reader1"):
            row.setdefault(name, f"{part}/{folder.name}/empty.nii.gz")
        return {"ID": str(number), **row}

    def _files(self, drawn: Prostate, part: str, index: int) -> dict[str, NDArray[np.generic]]:
        files: dict[str, NDArray[np.generic]] = {
            name: np.rint(image).astype(np.int16) for name, image in drawn.images.items()
        }
        label: NDArray[Any] = self._values[drawn.zones]
        if index == _WITH_NOISY_LABEL:
            label = (label * 0.9999).astype(np.float32)
        files["t2_anatomy_reader1"] = label
        if part == "test":
            files["t2_anatomy_reader2"] = label
        if drawn.tumour.any():
            files["t2_tumor_reader1"] = (3 * drawn.tumour).astype(np.uint8)
            files["adc_tumor_reader1"] = drawn.tumour.astype(np.uint8)
        return files


def _affine(spacing: tuple[float, float, float], rng: np.random.Generator) -> NDArray[np.float64]:
    """Returns an affine to RAS mm, a little oblique as scans of the prostate are."""
    angle = np.deg2rad(rng.normal(0, 4))
    tilt = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    affine = np.eye(4)
    affine[:3, :3] = tilt @ np.diag([-spacing[0], -spacing[1], spacing[2]])
    affine[:3, 3] = rng.normal(0, 20, 3)
    return affine


def _save(path: Path, voxels: NDArray[np.generic], affine: NDArray[np.float64]) -> None:
    nib.save(nib.Nifti1Image(np.ascontiguousarray(voxels), affine), path)


def _table(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(rows)
