"""Reads any BraTS release in its official layout."""

from pathlib import Path

import numpy as np

from harness.data.contract import Case, Split
from harness.data.datasets.archive import ArchiveReader, read_images, read_mapped_label
from harness.data.datasets.brats.layout import OFFICIAL_SHAPES, SEGMENTATION, CaseFolder, Layout, find_cases
from harness.data.patients.table import read_table
from harness.data.reading.files import NIFTI_ENDINGS, nifti_file, visible
from harness.data.splits import standard_split
from harness.data.synthetic.generated import is_generated
from harness.errors import DataError

#: A label that lies outside the brain by more than this share gives a warning: it may belong to another case.
_OUTSIDE = 0.02


class BratsReader(ArchiveReader):
    """Reader of one release.

    Args:
        root: One unpacked archive, or a folder that holds several (training and validation).
        layout: Layout of the release.

    Raises:
        DataError: The folder holds no case of the release, one twice, or a validation case with a segmentation.
    """

    def __init__(self, root: Path, layout: Layout) -> None:
        self._layout = layout
        self._cases = find_cases(root, layout)
        super().__init__(root, {name: case.labelled for name, case in self._cases.items()})

    def fingerprint(self) -> str:
        """Returns a hash of all image files; one that a link leads out of the folder is refused when it is loaded."""
        return self._hash(
            file for case in self._cases.values() for file in visible(case.path) if file.name.endswith(NIFTI_ENDINGS)
        )

    def patient(self, case: str) -> str:
        """Returns the patient: the case's name without the timepoint."""
        return self._layout.patient(case)

    def patient_columns(self) -> dict[str, dict[str, str]]:
        """Returns what the owners' spreadsheet says of each patient, if it was saved as ``.csv`` under its name.

        Raises:
            DataError: It cannot be read, or says two things of one patient.
        """
        table = self._layout.table
        path = self._root / f"{table.name}.csv" if table is not None else None
        if table is None or path is None or not path.is_file():
            return {}
        found: dict[str, dict[str, str]] = {}
        for name, columns in read_table(path, (table.key,)).items():
            match = self._layout.case.fullmatch(name)
            patient = name if match is None else match["patient"]
            known = found.setdefault(patient, {})
            for heading, value in columns.items():
                column = table.columns.get(heading, heading)
                if known.setdefault(column, value) != value:
                    raise DataError(
                        f"{path}: the timepoints of patient '{patient}' differ in '{heading}'.",
                        hint="A column belongs to the patient: write patients.csv with the one that counts.",
                    )
        return found

    def split(self, fold: int) -> Split:
        """Returns the seeded 80:20 (fold 0) or a fold of the cross-validation (1 to 5), by patient."""
        patients = {case: self.patient(case) for case in self.cases()}
        graded = {patient: _graded(case, self._cases[case].path) for case, patient in patients.items()}
        return standard_split(patients, fold, graded.__getitem__)

    def load(self, case: str) -> Case:
        """Reads the modalities and the segmentation of a case, its values mapped to the harness's."""
        folder = self._folder(case)
        paths = [self._file(folder, case, modality) for modality in self._layout.modalities]
        images, affine = read_images(paths, self._refuse_another_release)
        if not folder.labelled:
            return Case(images, np.zeros(images.shape[1:], np.uint8), affine)
        path = self._file(folder, case, SEGMENTATION)
        return Case(images, read_mapped_label(path, self._layout.labels, paths[0], images.shape[1:], affine), affine)

    def warnings(self, case: str, content: Case) -> list[str]:
        """Warns of a shape that is not the release's and of a segmentation that is empty or outside the brain."""
        warnings = []
        if content.label.shape != self._layout.shape and not is_generated(self._root):
            warnings.append(
                f"shape {content.label.shape} is not that of {self._layout.title}, {self._layout.shape}: "
                "is it another release, or was it resampled?"
            )
        if not self._cases[case].labelled:
            return warnings
        labelled = content.label > 0
        if not labelled.any():
            return [*warnings, "the segmentation is empty"]
        outside = float((labelled & ~content.images.any(axis=0)).sum() / labelled.sum())
        if outside > _OUTSIDE:
            warnings.append(f"{outside:.0%} of the segmentation lies outside the brain: is it that of another case?")
        return warnings

    def _reference(self, case: str) -> Path:
        return self._file(self._folder(case), case, self._layout.modalities[0])

    def _refuse_another_release(self, path: Path, shape: tuple[int, ...]) -> None:
        """Cases of 2023 and 2024 are named alike, and the labels of 2023 are labels of 2024, too."""
        if shape in OFFICIAL_SHAPES and shape != self._layout.shape:
            raise DataError(
                f"{path} has shape {shape}, that of another BraTS release; {self._layout.title} has "
                f"{self._layout.shape}.",
                hint="Name the folder of this release, or the dataset that the folder holds.",
            )

    def _folder(self, case: str) -> CaseFolder:
        if case not in self._cases:
            raise DataError(
                f"{self._root} holds no case '{case}' of {self._layout.title}.",
                hint=f"Cases are named like {self._layout.example}.",
            )
        return self._cases[case]

    def _file(self, folder: CaseFolder, case: str, what: str) -> Path:
        return nifti_file(self._root, folder.path / f"{case}{self._layout.separator}{what}")


def grade_of(folder: Path) -> str:
    """Returns the grade of a case of the release of 2019, whose folders say it: ``HGG``, ``LGG`` or nothing."""
    return next((part for part in reversed(folder.parts) if part in ("HGG", "LGG")), "")


def _graded(case: str, folder: Path) -> str:
    """Returns the name of a case in the authors' code: of the release of 2019 with the grade."""
    grade = grade_of(folder)
    return f"{grade}__{case}" if grade else case
