"""Shared by readers: finding folders and files inside the dataset's folder, and hashing their content quickly."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from harness.data.reading.headers import read_header
from harness.data.reading.special_files import refuse_special
from harness.data.reading.transforms import place
from harness.errors import DataError

#: What a NIfTI file's name may end with.
NIFTI_ENDINGS = (".nii.gz", ".nii")

#: What archives made on macOS hold besides: a second tree, of ``._*`` files.
_NOT_DATA = "__MACOSX"

#: Files up to this size are hashed whole.
_SMALL = 1 << 18

_BLOCK = 1 << 16


def find_folder(root: Path, is_it: Callable[[Path], bool], what: str, depth: int = 3) -> Path:
    """Returns the folder that holds the data: ``root``, or one nested in it (archives often unpack doubly nested).

    Args:
        root: Folder that the user named.
        is_it: Tells the folder.
        what: Description of the data for the message, e.g. ``train.csv``.
        depth: Number of levels below ``root`` to search.

    Raises:
        DataError: There is none, or there are several at the same depth.
    """
    for level in levels(root, depth):
        matches = [folder for folder in level if is_it(folder)]
        if len(matches) == 1:
            return matches[0]
        if matches:
            listed = ", ".join(str(folder) for folder in matches[:3])
            raise DataError(f"{root} holds {what} more than once: {listed}", hint="Name one of these folders.")
    raise DataError(
        f"{root} does not hold {what}.", hint="Name the folder as unpacked from the official archive, unchanged."
    )


def levels(root: Path, depth: int, is_leaf: Callable[[Path], bool] = lambda _: False) -> Iterator[list[Path]]:
    """Yields the folders at each depth: ``root`` alone, then its folders, and so on.

    Args:
        root: Folder to begin with.
        depth: Number of levels below ``root``.
        is_leaf: Tells the folders that are yielded but not looked into.

    Raises:
        DataError: A folder cannot be listed.
    """
    level = [root]
    for remaining in range(depth, -1, -1):
        yield level
        if remaining:
            inner = (folder for folder in level if not is_leaf(folder))
            level = [child for folder in inner for child in visible(folder) if child.is_dir()]


def by_name(folders: Iterable[Path], root: Path, what: str, remedy: str) -> dict[str, Path]:
    """Returns folders by their names.

    Args:
        folders: Folders within ``root``.
        root: Folder of the dataset.
        what: Kind of folder for the message, e.g. ``patient``.
        remedy: Hint of the error where two folders share a name.

    Raises:
        DataError: There are.
    """
    named: dict[str, Path] = {}
    for folder in folders:
        other = named.setdefault(folder.name, folder)
        if other is not folder:
            raise DataError(f"{root} holds {what} {folder.name} twice: in {other} and {folder}.", hint=remedy)
    return named


def visible(folder: Path) -> list[Path]:
    """Returns the entries of a folder, sorted, without hidden ones and those of macOS (``._*``, ``__MACOSX``).

    Raises:
        DataError: The folder cannot be listed.
    """
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith((".", _NOT_DATA)))
    except OSError as error:
        raise DataError(
            f"{folder} cannot be listed: {error}", hint="Check its permissions, or name the dataset's own folder."
        ) from error


def nifti_file(root: Path, stem: Path) -> Path:
    """Returns a file that is there as ``.nii.gz`` or ``.nii``; the first of these where there is neither.

    Args:
        root: Folder of the dataset, which the file may not lead out of.
        stem: Path of the file without its ending.

    Raises:
        DataError: It is there in both forms, or a link leads out of ``root``.
    """
    paths = [stem.with_name(f"{stem.name}{ending}") for ending in NIFTI_ENDINGS]
    present = [path for path in paths if path.is_file()]
    if len(present) > 1:
        raise DataError(f"{present[0]} and {present[1].name} are both there.", hint="Remove one of the two.")
    return inside(root, (present or paths)[0])


def inside(root: Path, path: Path) -> Path:
    """Returns ``path`` if it lies inside ``root``, links followed.

    Raises:
        DataError: It leads elsewhere, so that it is not part of what was downloaded.
    """
    if not path.resolve().is_relative_to(root.resolve()):
        raise DataError(
            f"{path} leads out of the dataset's folder {root}, to {path.resolve()}.",
            hint="Put the file itself there; links may only point inside the folder.",
        )
    return path


def files_hash(root: Path, files: Iterable[Path]) -> str:
    """Returns a hash of names and contents that needs no reading of gigabytes; outside ``root`` the name is the file's.

    Small files are hashed whole; of a ``.gz`` the size and the trailer enter, which holds the checksum of the
    uncompressed content; of other large files the size and three blocks. How transforms that disagree are read enters.

    Raises:
        DataError: A file cannot be read.
    """
    digest = hashlib.sha256()
    named = [(path.relative_to(root) if path.is_relative_to(root) else Path(path.name), path) for path in files]
    for name, path in sorted(named):
        digest.update(os.fsencode(name.as_posix()))
        try:
            digest.update(_content(path))
            digest.update(_reading_of(path))
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error}", hint="Check the file and its permissions.") from error
    return digest.hexdigest()[:16]


def _reading_of(path: Path) -> bytes:
    """Returns nothing, unless the header's transforms disagree: 0.2.0 read another affine from it then.

    Only such data are prepared and computed again.
    """
    if not path.name.endswith(NIFTI_ENDINGS):
        return b""
    try:
        return b"" if place(read_header(path)).is_nibabels else b"transforms as by SimpleITK"
    except DataError:
        return b""  # whoever reads the image says what is wrong with it


def _content(path: Path) -> bytes:
    if path.exists() and not path.is_file():
        refuse_special(path)  # a pipe would be waited for
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= _SMALL:
            return file.read()
        parts = [str(size).encode()]
        starts = [size - 8] if path.suffix == ".gz" else [0, size // 2, size - _BLOCK]
        for start in starts:
            file.seek(start)
            parts.append(file.read(_BLOCK))
    return b"".join(parts)
