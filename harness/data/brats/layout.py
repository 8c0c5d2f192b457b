"""Where a BraTS release keeps its cases.

Every release has one folder a case, named by the case, in which the modalities and ``seg`` carry the case's name. What
lies around these folders differs by release, archive and mirror (``HGG`` and ``LGG``, ``training_data1_v2``, archives
that unpack doubly nested), so the folders are found by their names, however deep.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.data.folder import visible
from harness.errors import DataError

__all__ = ["CaseFolder", "Layout", "find_cases"]

#: How deep below the named folder cases are looked for; the official trees need three.
_DEPTH = 5

#: What archives made on macOS hold besides: a second tree of ``._*`` files.
_NOT_DATA = "__MACOSX"


@dataclass(frozen=True)
class Layout:
    """How one release names things.

    Attributes:
        title: What messages call it.
        case: Pattern of a case's name; its group ``patient`` is the patient.
        separator: Between a case's name and what a file holds: ``_`` or ``-``.
        modalities: File suffixes, in the dataset's modality order.
        shape: Official number of voxels along X, Y, Z.
        labels: Value in the file to value in the harness, background included.
        example: A case folder, for messages.
    """

    title: str
    case: re.Pattern[str]
    separator: str
    modalities: tuple[str, ...]
    shape: tuple[int, int, int]
    labels: Mapping[int, int] = field(default_factory=dict)
    example: str = ""

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
        path: Its folder.
        labelled: Whether it must have a segmentation: all have that do not lie in a validation folder.
    """

    path: Path
    labelled: bool


def find_cases(root: Path, layout: Layout) -> dict[str, CaseFolder]:
    """Returns the cases below a folder, sorted by name.

    Args:
        root: What the user named: one unpacked archive, or a folder that holds several.
        layout: Of the release.

    Raises:
        DataError: There is none, or one case lies there twice (two releases, or an archive unpacked twice).
    """
    found: dict[str, CaseFolder] = {}
    level = [(root, _is_validation(root.name))]
    for _ in range(_DEPTH + 1):
        below: list[tuple[Path, bool]] = []
        for folder, validation in level:
            for child in visible(folder):
                if not child.is_dir() or child.name == _NOT_DATA:
                    continue
                if layout.case.fullmatch(child.name) is None:
                    below.append((child, validation or _is_validation(child.name)))
                elif child.name in found:
                    raise DataError(
                        f"{root} holds case {child.name} twice: in {found[child.name].path} and {child}.",
                        hint="Keep one of the two, or name the folder of one release.",
                    )
                else:
                    found[child.name] = CaseFolder(child, labelled=not validation)
        level = below
    if not found:
        raise DataError(
            f"{root} does not hold cases of {layout.title}: there is no folder named like {layout.example}.",
            hint="Name the folder as unpacked from the official archive, unchanged.",
        )
    return dict(sorted(found.items()))


def _is_validation(name: str) -> bool:
    return "validation" in name.lower()
