"""HECKTOR 2021 as unpacked.

``hecktor2021_train/hecktor_nii/`` is flat (``CHGJ007_ct.nii.gz``, ``CHGJ007_pt.nii.gz``, ``CHGJ007_gtvt.nii.gz``), with
``hecktor2021_bbox_training.csv`` beside it; ``hecktor2021_test/`` alike, without ``gtvt``.

CT and PET share physical space but not a grid. A loaded case lies on the grid of 1 mm in the patient's official box,
144 voxels along each axis, as the organisers' own resampling makes it; that is also where it is scored. The challenge
scores on the CT grid inside the box, to which :meth:`HecktorReader.to_official` brings a prediction.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.data.contract import Case
from harness.data.datasets.archive import ArchiveReader
from harness.data.datasets.hecktor21.boxes import SIDE_MM, Box, read_boxes
from harness.data.datasets.hecktor21.grid import box_affine, covered, label_to_box, label_to_files, to_box
from harness.data.patients.table import read_table
from harness.data.reading.files import levels, nifti_file, visible
from harness.data.reading.grids import check_same_grid
from harness.data.reading.nifti import read_image, read_label
from harness.errors import DataError

_IMAGES = "hecktor_nii"
_FILE = re.compile(r"(?P<case>[A-Z]{4}[0-9]{3})_(?:ct|pt|gtvt)\.nii(?:\.gz)?")

#: Table of boxes to whether its patients are labelled.
_TABLES = {"hecktor2021_bbox_training.csv": True, "hecktor2021_bbox_testing.csv": False}

#: Letters that name the centre in a patient's name.
_CENTRE = 4

#: How deep below the named folder the tables are looked for.
_DEPTH = 3

#: A box that an image covers by less than this is not that image's.
_LEAST_COVERED = 0.5


@dataclass(frozen=True)
class _Part:
    """The training or the test data: images, boxes, and whether there are labels."""

    images: Path
    table: Path
    boxes: dict[str, Box | str]
    labelled: bool


class HecktorReader(ArchiveReader):
    """Reader of the dataset.

    Args:
        root: ``hecktor2021_train``, or a folder that holds it and ``hecktor2021_test``.

    Raises:
        DataError: The table of boxes, its ``hecktor_nii`` or patients are missing, or a patient is in the training and
            in the test data.
    """

    def __init__(self, root: Path) -> None:
        self._cases: dict[str, _Part] = {}
        for table in _tables(root):
            images = table.parent / _IMAGES
            if not images.is_dir():
                raise DataError(f"Missing folder: {images}, next to {table.name}.", hint="Unpack the archive again.")
            part = _Part(images, table, read_boxes(table), _TABLES[table.name])
            for file in visible(images):
                if match := _FILE.fullmatch(file.name):
                    self._add(match["case"], part)
        if not self._cases:
            raise DataError(
                f"{root} holds no patient of HECKTOR 2021.",
                hint=f"Patients are files like CHGJ007_ct.nii.gz in {_IMAGES}; other years have other names.",
            )
        super().__init__(root, {name: part.labelled for name, part in self._cases.items()})

    def fingerprint(self) -> str:
        """Returns a hash of all images and boxes; a link out of the folder is refused when its case is loaded."""
        files = {part.table for part in self._cases.values()}
        for folder in {part.images for part in self._cases.values()}:
            files |= {file for file in visible(folder) if _FILE.fullmatch(file.name)}
        return self._hash(files)

    def load(self, case: str) -> Case:
        """Reads CT, PET and tumour of a patient on the grid of 1 mm in the official box."""
        part, box = self._box(case)
        ct_path = self._file(part, case, "ct")
        ct, ct_affine = read_image(ct_path)
        label = np.zeros((SIDE_MM,) * 3, np.uint8)
        if part.labelled:  # before the images, whose splines take seconds
            path = self._file(part, case, "gtvt")
            drawn, affine = read_label(path, frozenset({0, 1}))
            check_same_grid(path, drawn.shape, affine, ct_path, ct.shape, ct_affine)
            label = label_to_box(drawn, affine, box)
        pet_path = self._file(part, case, "pt")
        pet, pet_affine = read_image(pet_path)
        images = np.stack(
            [
                _in_box(ct_path, ct, ct_affine, box, part.table),
                _in_box(pet_path, pet, pet_affine, box, part.table),
            ]
        )
        return Case(images, label, box_affine(box))

    def to_official(self, case: str, label: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """Brings a label map in the box to the CT grid, by the nearest neighbour; 0 outside the box.

        Args:
            case: Patient identifier.
            label: (144, 144, 144), on the grid of the loaded case.

        Returns:
            The label map on the CT grid (X, Y, Z) and its affine.
        """
        _, box = self._box(case)
        shape, affine = self.official_grid(case)
        return label_to_files(label, box, affine, shape), affine

    def official_grid(self, case: str) -> tuple[tuple[int, ...], NDArray[np.float64]]:
        """Returns shape and affine of the patient's CT."""
        ct, affine = read_image(self._file(self._part(case), case, "ct"))
        return ct.shape, affine

    def warnings(self, case: str, content: Case) -> list[str]:
        """Warns of a labelled patient without a tumour in the box."""
        if self._part(case).labelled and not content.label.any():
            return ["the official box contains no tumour"]
        return []

    def patient_columns(self) -> dict[str, dict[str, str]]:
        """Returns the site of each patient, by the first letters of the name, and what the organisers' table says."""
        columns = {case: {"site": case[:_CENTRE]} for case in self._cases}
        for table in {part.table.with_name(part.table.name.replace("bbox", "patient_info")) for part in self._parts()}:
            if table.is_file():
                for patient, known in read_table(table, ["PatientID"]).items():
                    if patient in columns:  # the tables have patients without images
                        columns[patient] |= known
        return columns

    def affine(self, case: str) -> NDArray[np.float64]:
        """Returns the (4, 4) affine of the box of 1 mm voxels, which is not that of the files; no image is read."""
        _, box = self._box(case)
        return box_affine(box)

    def _reference(self, case: str) -> Path:
        return self._file(self._part(case), case, "ct")

    def _add(self, case: str, part: _Part) -> None:
        other = self._cases.setdefault(case, part)
        if other is not part:
            raise DataError(
                f"{case} lies in the training and in the test data: in {other.images} and {part.images}.",
                hint="Unpack each of the two archives into a folder of its own.",
            )

    def _parts(self) -> list[_Part]:
        return list({part.table: part for part in self._cases.values()}.values())

    def _part(self, case: str) -> _Part:
        if case not in self._cases:
            raise DataError(
                f"{self._root} holds no patient '{case}' of HECKTOR 2021.", hint="Patients are named like CHGJ007."
            )
        return self._cases[case]

    def _box(self, case: str) -> tuple[_Part, Box]:
        part = self._part(case)
        box = part.boxes.get(case, "it has no row")
        if isinstance(box, str):
            raise DataError(
                f"{part.table} gives no box for {case}: {box}.",
                hint="Take the table from the official archive again, or remove the patient's files.",
            )
        return part, box

    def _file(self, part: _Part, case: str, what: str) -> Path:
        return nifti_file(self._root, part.images / f"{case}_{what}")


def _in_box(
    path: Path, image: NDArray[np.float32], affine: NDArray[np.float64], box: Box, table: Path
) -> NDArray[np.float32]:
    share = covered(image.shape, affine, box)
    if share < _LEAST_COVERED:
        raise DataError(
            f"{path} covers {share:.0%} of the box that {table.name} gives for it.",
            hint="Is it the file of another patient, or was its geometry changed?",
        )
    return to_box(image, affine, box)


def _tables(root: Path) -> list[Path]:
    """Returns the tables of boxes below a folder, at most one of a kind.

    Raises:
        DataError: No table was found, or one kind was found twice.
    """
    tables: dict[str, Path] = {}
    for level in levels(root, _DEPTH, lambda folder: folder.name == _IMAGES):
        for folder in level:
            for name in _TABLES:
                if not (folder / name).is_file():
                    continue
                if name in tables:
                    raise DataError(
                        f"{root} holds {name} twice: in {tables[name].parent} and {folder}.",
                        hint="Name one of the two folders.",
                    )
                tables[name] = folder / name
    if not tables:
        raise DataError(
            f"{root} does not hold HECKTOR 2021: there is no {' or '.join(_TABLES)}.",
            hint="Name the folder hecktor2021_train as unpacked from the official archive, or one that holds it.",
        )
    return list(tables.values())
