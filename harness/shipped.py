"""Files of the project's top level that its wheel brings along: shipped studies and published numbers.

They stand once, in ``studies/`` and ``results/published/`` of a clone; the build copies them into the package.
"""

from pathlib import Path

import harness
from harness.errors import StudyError, did_you_mean

_PACKAGE = Path(harness.__file__).parent

#: Folder of studies, of a project as of a clone.
STUDIES = Path("studies")


def shipped(folder: str) -> Path:
    """Returns a folder of a clone's top level, or the copy that an installed wheel brings.

    Args:
        folder: ``studies`` or ``results/published``.
    """
    copy = _PACKAGE / "shipped" / folder
    return copy if copy.is_dir() else _PACKAGE.parent / folder


def find_study_file(wanted: Path) -> Path:
    """Returns the file of a study that a user named by its path or its name.

    A file of the user's own wins over a shipped one: as named, then in ``studies/`` of the working folder. A path
    ``studies/NAME.yaml`` that is not there is a shipped study too, so that commands of the documentation run anywhere.

    Args:
        wanted: A path, or the name of a study, e.g. ``ablation_tcfaf``.

    Raises:
        StudyError: There is no such study.
    """
    by_name = wanted.name == str(wanted) and not wanted.suffix
    if wanted.is_file() or not (by_name or wanted.parent == STUDIES):
        return wanted  # where a path leads nowhere, who reads the file says so
    name = f"{wanted.stem}.yaml"
    for folder in (STUDIES, shipped("studies")):
        if (folder / name).is_file():
            return folder / name
    known = {path.stem for folder in (STUDIES, shipped("studies")) for path in folder.glob("*.yaml")}
    hint = did_you_mean(wanted.stem, known, "`harness init --list` shows the shipped studies.")
    raise StudyError(f"There is no study '{wanted}'.", hint=hint)


def home_of(study: Path) -> Path:
    """Returns the folder that a study's own paths and ``protocols/`` are relative to.

    It is the study's, for a shipped study that of the user's studies: nobody writes into an installed package.

    Args:
        study: File of the study.
    """
    return STUDIES if study.parent == shipped("studies") else study.parent
