"""Reads cases whose files are listed: the reader of every layout."""

import hashlib
import json
import os
import unicodedata
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.alike import name_some
from harness.data.contract import Case
from harness.data.datasets.archive import ArchiveReader, read_mapped_label
from harness.data.datasets.layouts.document import FILE
from harness.data.datasets.layouts.modalities import MODALITIES, CaseFiles
from harness.data.patients.table import PATIENTS, read_patients
from harness.data.reading.files import files_hash
from harness.data.reading.grids import check_same_grid
from harness.data.reading.nifti import read_channels
from harness.errors import DataError


def patient_notes(root: Path) -> tuple[str, ...]:
    """Returns the caveat that each case counts as a patient, where the folder does not map cases to patients."""
    try:
        if read_patients(root / PATIENTS)[0]:
            return ()
    except DataError:
        return ()  # who opens the folder is told
    why = f"{PATIENTS} maps no case to one" if (root / PATIENTS).is_file() else f"there is no {PATIENTS}"
    return (f"Every case counts as a patient of its own, as {why}.",)


class ListedReader(ArchiveReader):
    """Reader of a folder in some layout.

    Args:
        root: Holds ``dataset.json``.
        cases: Files of each case, by case name.
        channels: Names in channel order.
        values: Value in the files of each label of the harness.

    Raises:
        DataError: The folder has no labelled case, a case's name is not a valid file name, or ``patients.json`` is
            invalid.
    """

    def __init__(
        self, root: Path, cases: Mapping[str, CaseFiles], channels: tuple[str, ...], values: tuple[int, ...]
    ) -> None:
        self._channels, self._values = channels, values
        self._cases = dict(sorted(cases.items()))
        super().__init__(root, {name: case.label is not None for name, case in cases.items()})
        # Files are written by these names.
        if unfit := [name for name in self._cases if not _is_file_name(name)]:
            raise DataError(
                f"{root} has a case called {unfit[0]!a}, which cannot be the name of a file.",
                hint="Name cases by letters, digits, '-', '_' and '.'.",
            )
        self._patients, self._has_columns = _read_patients(root, self._cases)
        if not self.cases():
            raise DataError(f"{root} holds no labelled case.", hint="Are imagesTr and labelsTr there?")

    def fingerprint(self) -> str:
        """Returns a hash of all files, ``dataset.json`` and which cases are of which patient included.

        What else ``patients.json`` says of patients changes no number.
        """
        listed = [file for case in self._cases.values() for file in (*case.images, case.label) if file is not None]
        path = self._root / PATIENTS
        listed += [self._root / FILE, self._root / MODALITIES, *([] if self._has_columns else [path])]
        found = files_hash(self._root, {file for file in listed if file.is_file()})
        if not self._has_columns or not self._patients:
            return found
        text = json.dumps([found, self._patients], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def patient(self, case: str) -> str:
        """Returns the patient that ``patients.json`` names; without that file each case is a patient."""
        return self._patients.get(case, case)

    def missing_modalities(self, case: str) -> tuple[str, ...]:
        """Returns the modalities that ``modalities.json`` declares to be missing."""
        return tuple(self._channels[channel] for channel in self._files(case).absent)

    def load(self, case: str) -> Case:
        """Reads all channels and the label of a case; a modality that is declared to be missing is 0."""
        files = self._files(case)
        self._refuse_missing(case, files)
        reference = files.images[0]  # links and entries of dataset.json may lead anywhere: the user named this folder
        first, affine = read_channels(reference)
        parts = [first]
        for path in files.images[1:]:
            more, own = read_channels(path)
            check_same_grid(path, more.shape[1:], own, reference, first.shape[1:], affine)
            parts.append(more)
        images = np.concatenate(parts)
        if len(images) + len(files.absent) != len(self._channels):
            declared = f" and {MODALITIES} {len(files.absent)} missing ones" if files.absent else ""
            surplus = len(images) + len(files.absent) > len(self._channels)
            raise DataError(
                f"Case {case} has {len(images)} channels, dataset.json declares {len(self._channels)}{declared}: "
                f"{', '.join(self._channels)} ({reference}).",
                hint="Keep one volume per file, or name every channel in dataset.json."
                if surplus
                else f"Add the missing modality, declare it in {MODALITIES}, or correct dataset.json.",
            )
        for channel in files.absent:
            images = np.insert(images, channel, 0, axis=0)
        return Case(images, self._label(files, reference, images.shape[1:], affine), affine)

    def _files(self, case: str) -> CaseFiles:
        if case not in self._cases:
            raise DataError(f"{self._root} holds no case '{case}'.", hint="`harness data check` lists what is there.")
        return self._cases[case]

    def _refuse_missing(self, case: str, files: CaseFiles) -> None:
        """Names a file that is not there, of a case with a file per modality: it may never have been taken."""
        present = [name for channel, name in enumerate(self._channels) if channel not in files.absent]
        if len(present) < 2 or len(files.images) != len(present):
            return
        there = [os.path.lexists(path) for path in files.images]
        for name, path, found in zip(present, files.images, there, strict=True):
            if not found and any(there):
                raise DataError(
                    f"Missing file: {path} ({name} of case {case})",
                    hint=f"Put it there. If this patient has no {name}, say so in {MODALITIES}: "
                    f"`harness data check nnunet_raw {self._root} --allow-missing` writes that file.",
                )

    def _reference(self, case: str) -> Path:
        return self._cases[case].images[0]

    def _label(
        self, files: CaseFiles, reference: Path, shape: tuple[int, ...], affine: NDArray[np.float64]
    ) -> NDArray[np.uint8]:
        if files.label is None:
            return np.zeros(shape, np.uint8)
        ours = {value: number for number, value in enumerate(self._values)}
        return read_mapped_label(files.label, ours, reference, shape, affine)


def _is_file_name(name: str) -> bool:
    """Whether files can be written by a name: one part of a path, in UTF-8, without control characters."""
    return bool(name.strip(".")) and Path(name).name == name and not any(map(_is_control, name))


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs")


def _read_patients(root: Path, cases: Mapping[str, CaseFiles]) -> tuple[dict[str, str], bool]:
    """Returns the patient of each case where ``patients.json`` says so, and whether it has columns of patients."""
    path = root / PATIENTS
    patients, columns = read_patients(path)
    missing = [name for name, case in cases.items() if case.label is not None and name not in patients]
    if patients and missing:
        raise DataError(
            f"{path} names no patient of {name_some(missing)}.",
            hint='Name the patient of every labelled case, {"CASE": "PATIENT", ...}.',
        )
    return patients, bool(columns)
