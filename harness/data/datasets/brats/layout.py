"""Folder layout of the BraTS releases.

Every release has one folder per case, named by the case; its files (modalities and ``seg``) carry the case's name too.
The folders around differ by release, archive and mirror (``HGG`` and ``LGG``, ``training_data1_v2``, archives that
unpack doubly nested), so case folders are found by their names at any depth.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.data.reading.files import NIFTI_ENDINGS, by_name, levels
from harness.errors import DataError

#: Voxels of the images of 2019 and 2023, and of those of 2024.
OFFICIAL_SHAPES = ((240, 240, 155), (182, 218, 182))

#: What the name of a segmentation ends with.
SEGMENTATION = "seg"

#: How deep below the named folder cases are looked for; the official trees need four.
_DEPTH = 6


@dataclass(frozen=True)
class PatientTable:
    """The owners' spreadsheet of patients, as far as its headings are known.

    Attributes:
        name: Name of the file without its ending. The archive holds ``.xlsx``, which is saved as ``.csv`` to be read.
        key: Heading of the column that names cases.
        columns: Heading to what the column is called here; others keep their heading.
    """

    name: str
    key: str
    columns: Mapping[str, str]


@dataclass(frozen=True)
class Layout:
    """Naming scheme of one release.

    Attributes:
        title: Name of the release in messages.
        case: Pattern of a case's name; its group ``patient`` is the patient.
        separator: Between a case's name and what a file holds: ``_`` or ``-``.
        modalities: File suffixes, in the dataset's modality order.
        shape: Official number of voxels along X, Y, Z.
        labels: Value in the file to value in the harness, background included.
        example: A case folder, for messages.
        table: The owners' spreadsheet of patients; None where there is none.
    """

    title: str
    case: re.Pattern[str]
    separator: str
    modalities: tuple[str, ...]
    shape: tuple[int, int, int]
    labels: Mapping[int, int] = field(default_factory=dict)
    example: str = ""
    table: PatientTable | None = None

    def patient(self, case: str) -> str:
        """Returns the patient of a case.

        Raises:
            DataError: No case of this release is named so.
        """
        match = self.case.fullmatch(case)
        if match is None:
            raise DataError(f"'{case}' is not a case of {self.title}.", hint=f"Cases are named like {self.example}.")
        return match["patient"]


@dataclass(frozen=True)
class CaseFolder:
    """One case.

    Attributes:
        path: Folder of the case.
        labelled: Whether it must have a segmentation: all have that do not lie in a validation folder.
    """

    path: Path
    labelled: bool


def find_cases(root: Path, layout: Layout) -> dict[str, CaseFolder]:
    """Returns the cases below a folder, sorted by name.

    Args:
        root: Folder that the user named: one unpacked archive, or a folder that holds several.
        layout: Layout of the release.

    Raises:
        DataError: No case was found, a case was found twice (two releases, or an archive unpacked twice), or a case of
            a validation folder has a segmentation.
    """

    def is_case(folder: Path) -> bool:
        return folder != root and layout.case.fullmatch(folder.name) is not None

    folders = (folder for level in levels(root, _DEPTH, is_case) for folder in level if is_case(folder))
    once = by_name(folders, root, "case", "Keep one of the two, or name the folder of one release.")
    cases = {name: CaseFolder(folder, _is_labelled(root, folder, layout)) for name, folder in once.items()}
    if not cases:
        raise DataError(
            f"{root} does not hold cases of {layout.title}: there is no folder named like {layout.example}.",
            hint="Name the folder as unpacked from the official archive, unchanged.",
        )
    return dict(sorted(cases.items()))


def _is_labelled(root: Path, case: Path, layout: Layout) -> bool:
    """Whether no folder around a case, ``root`` or one in it, names it a validation case.

    Raises:
        DataError: One does although the case has a segmentation.
    """
    around = (root.name, *case.relative_to(root).parts[:-1])
    validation = next((name for name in around if "validation" in name.lower()), None)
    if validation is None:
        return True
    for ending in NIFTI_ENDINGS:
        path = case / f"{case.name}{layout.separator}{SEGMENTATION}{ending}"
        if path.is_file():
            raise DataError(
                f"{path} is a segmentation, but the folder '{validation}' is read as the challenge's validation set, "
                "which has none.",
                hint="Give the folder another name if its cases are for training; otherwise remove the file.",
            )
    return False
