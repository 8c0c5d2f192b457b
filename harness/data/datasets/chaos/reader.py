"""Reads the MR part of CHAOS in its official layout.

A case is a patient of ``Train_Sets/MR`` (drawn) or ``Test_Sets/MR`` (not drawn), on the grid of T1 in phase. Outside
``Test_Sets`` every patient must be drawn: a lost drawing is an error, not one training case less.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from harness.data.contract import Case
from harness.data.datasets.archive import ArchiveReader
from harness.data.datasets.chaos.series import number_of, read_drawing, read_positions, read_series, slice_files
from harness.data.reading.files import by_name, inside, levels, visible
from harness.data.reading.grids import centre, check_same_grid
from harness.errors import DataError

_IN, _OUT, _GROUND = Path("T1DUAL/DICOM_anon/InPhase"), Path("T1DUAL/DICOM_anon/OutPhase"), Path("T1DUAL/Ground")
_T2 = Path("T2SPIR/DICOM_anon")
_DEPTH = 5  # archives may unpack into a folder of their own, twice
_SETS = {"train_sets": True, "test_sets": False}  # folder, in small letters, to whether its patients must be drawn
_UNEVEN = 0.1  # slices may be this share of the mean distance nearer or farther
_LIVER, _RIGHT_KIDNEY, _LEFT_KIDNEY, _SPLEEN = 1, 2, 3, 4


def open_t1(root: Path) -> ChaosReader:
    """Returns a reader of T1 in phase and out of phase."""
    return ChaosReader(root, with_t2=False)


def open_t1_and_t2(root: Path) -> ChaosReader:
    """Returns a reader of T1 in phase and out of phase, and of T2-SPIR on their grid."""
    return ChaosReader(root, with_t2=True)


class ChaosReader(ArchiveReader):
    """Reader of CHAOS MR.

    Args:
        root: ``Train_Sets`` or ``Test_Sets``, or a folder that holds them, at whatever depth.
        with_t2: Whether T2-SPIR is read as third modality.

    Raises:
        DataError: The folder holds no patient, or a patient twice.
    """

    def __init__(self, root: Path, with_t2: bool) -> None:
        self._with_t2 = with_t2
        self._patients = _patients(root)
        super().__init__(root, {case: _is_drawn(root, folder) for case, folder in self._patients.items()})

    def fingerprint(self) -> str:
        """Returns a hash of all files that are read; one that a link leads out of the folder is refused later."""
        kinds = (_IN, _OUT, _GROUND, *((_T2,) if self._with_t2 else ()))
        folders = [patient / kind for patient in self._patients.values() for kind in kinds]
        return self._hash(file for folder in folders if folder.is_dir() for file in visible(folder) if file.is_file())

    def load(self, case: str) -> Case:
        """Reads T1 in phase, T1 out of phase, T2-SPIR if the dataset has it, and the organs drawn on T1."""
        folder = self._folder(case)
        in_phase = self._slices(folder / _IN)
        first, affine = read_series(in_phase)
        out_phase = self._partners(in_phase, folder / _OUT)
        second, own = read_series(out_phase)
        check_same_grid(out_phase[0], second.shape, own, in_phase[0], first.shape, affine)
        images = [first, second]
        if self._with_t2:
            images.append(_onto(*read_series(self._slices(folder / _T2)), affine, first.shape))
        drawn = self._labelled[case]
        label = self._drawing(folder, in_phase, first.shape) if drawn else np.zeros(first.shape, np.uint8)
        return Case(np.stack(images), label, affine)

    def warnings(self, case: str, content: Case) -> list[str]:
        """Warns of slices out of order or unevenly spaced, missing organs, and organs on the wrong side."""
        folder = self._folder(case)
        warnings = _spacing_warnings("T1 in phase", read_positions(self._slices(folder / _IN)))
        if self._with_t2:
            warnings += _spacing_warnings("T2-SPIR", read_positions(self._slices(folder / _T2)))
        if self._labelled[case]:
            warnings += _anatomy_warnings(content)
        return warnings

    def slice_names(self, case: str) -> tuple[str, ...]:
        """Returns the names of the slices of T1 in phase, in order; submissions use these names."""
        return tuple(path.stem for path in self._slices(self._folder(case) / _IN))

    def _folder(self, case: str) -> Path:
        if case not in self._patients:
            raise DataError(f"{self._root} holds no case '{case}' of CHAOS MR.", hint="Cases are named like 1 or 39.")
        return self._patients[case]

    def _slices(self, folder: Path) -> list[Path]:
        return [inside(self._root, path) for path in slice_files(folder, ".dcm")]

    def _drawing(self, folder: Path, in_phase: list[Path], shape: tuple[int, ...]) -> NDArray[np.uint8]:
        # By name, not by rank: a drawing that lacks a slice must not shift the others.
        files = [inside(self._root, folder / _GROUND / f"{path.stem}.png") for path in in_phase]
        if surplus := sorted(set(slice_files(folder / _GROUND, ".png")) - set(files)):
            raise DataError(
                f"{surplus[0]} was drawn on no slice of {folder / _IN}.",
                hint="Unpack the official archive again; nothing may be renamed.",
            )
        return read_drawing(files, shape)

    def _partners(self, in_phase: list[Path], folder: Path) -> list[Path]:
        """Returns the out-of-phase slice of each in-phase slice: the one numbered one less."""
        by_number = {number_of(path): path for path in self._slices(folder)}
        wanted = [number_of(path) - 1 for path in in_phase]
        missing = [number for number in wanted if number not in by_number]
        if missing or len(by_number) != len(wanted):
            raise DataError(
                f"{folder} does not pair with {in_phase[0].parent}: {len(by_number)} slices against {len(wanted)}"
                + (f", number {missing[0]} is missing." if missing else "."),
                hint="Unpack the official archive again; nothing may be renamed.",
            )
        return [by_number[number] for number in wanted]


def _patients(root: Path) -> dict[str, Path]:
    """Returns the folder of every patient below ``root``, by number."""

    def is_patient(folder: Path) -> bool:
        return folder != root and folder.name.isdecimal() and (folder / "T1DUAL").is_dir()

    folders = (folder for level in levels(root, _DEPTH, is_patient) for folder in level if is_patient(folder))
    patients = by_name(folders, root, "patient", "Keep one of the two.")
    if not patients:
        raise DataError(
            f"{root} does not hold patients of CHAOS MR (folders like Train_Sets/MR/1/T1DUAL).",
            hint="Name the folder that holds Train_Sets, as unpacked from CHAOS_Train_Sets.zip.",
        )
    return dict(sorted(patients.items()))


def _is_drawn(root: Path, patient: Path) -> bool:
    """Whether a patient has a drawing or must have one; ``root`` itself may lie in one of the sets."""
    if (patient / _GROUND).is_dir():
        return True
    around = (root.resolve() / patient.relative_to(root)).parts
    return next((_SETS[name.lower()] for name in reversed(around) if name.lower() in _SETS), True)


def _onto(
    image: NDArray[np.float32], affine: NDArray[np.float64], grid: NDArray[np.float64], shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """Returns an image (X, Y, Z) linearly interpolated on another grid; 0 outside."""
    matrix = np.linalg.inv(affine) @ grid
    moved: NDArray[np.float32] = ndimage.affine_transform(
        image, matrix[:3, :3], matrix[:3, 3], output_shape=shape, order=1, mode="constant", cval=0
    )
    return moved


def _spacing_warnings(what: str, positions: NDArray[np.float64]) -> list[str]:
    steps = np.diff(positions)
    if not len(steps):
        return [f"{what} has a single slice"]
    if not (np.sign(steps) == np.sign(steps[0])).all():
        return [f"the slices of {what}, by file name, do not lie in one direction"]
    mean = np.abs(steps).mean()
    if (np.abs(np.abs(steps) - mean) > _UNEVEN * mean).any():
        return [f"the slices of {what} are unevenly spaced: {np.abs(steps).min():.2f} to {np.abs(steps).max():.2f} mm"]
    return []


def _anatomy_warnings(content: Case) -> list[str]:
    names = {_LIVER: "liver", _RIGHT_KIDNEY: "right kidney", _LEFT_KIDNEY: "left kidney", _SPLEEN: "spleen"}
    absent = [name for value, name in names.items() if not (content.label == value).any()]
    if absent:
        return [f"nothing is drawn of: {', '.join(absent)}"]
    middle = {value: centre(content.label == value, content.affine) for value in names}
    warnings = []
    if middle[_RIGHT_KIDNEY][0] < middle[_LEFT_KIDNEY][0]:
        warnings.append(
            "the right kidney lies left of the left one: their grey values are swapped, or the image is mirrored"
        )
    if middle[_LIVER][0] < middle[_SPLEEN][0]:
        warnings.append("the liver lies left of the spleen: the image is mirrored")
    if middle[_LIVER][2] < min(middle[_RIGHT_KIDNEY][2], middle[_LEFT_KIDNEY][2]):
        warnings.append("the liver lies below both kidneys: the stack is upside down")
    return warnings
