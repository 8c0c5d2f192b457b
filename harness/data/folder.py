"""What readers share: finding the official folder, staying inside it, and telling its content apart quickly."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

from harness.errors import DataError

__all__ = ["files_hash", "find_folder", "inside", "visible"]

#: Files up to this size are hashed whole.
_SMALL = 1 << 18

_BLOCK = 1 << 16


def find_folder(root: Path, is_it: Callable[[Path], bool], what: str, depth: int = 3) -> Path:
    """Returns the folder that holds the data: ``root``, or one nested in it (archives often unpack doubly nested).

    Args:
        root: What the user named.
        is_it: Tells the folder.
        what: What the folder must hold, for the message.
        depth: How deep to look.

    Raises:
        DataError: There is none, or there are several at the same depth.
    """
    level = [root]
    for _ in range(depth + 1):
        found = [folder for folder in level if is_it(folder)]
        if len(found) == 1:
            return found[0]
        if found:
            listed = ", ".join(str(folder) for folder in found[:3])
            raise DataError(f"{root} holds {what} more than once: {listed}", hint="Name one of these folders.")
        level = [child for folder in level for child in visible(folder) if child.is_dir()]
    raise DataError(
        f"{root} does not hold {what}.", hint="Name the folder as unpacked from the official archive, unchanged."
    )


def visible(folder: Path) -> list[Path]:
    """Returns the entries of a folder, sorted, without hidden ones (``._*`` of macOS among them)."""
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


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
    """Returns a hash of names and contents that needs no reading of gigabytes.

    Small files are hashed whole; of a ``.gz`` the size and the trailer enter, which holds the checksum of the
    uncompressed content; of other large files the size and three blocks.

    Raises:
        DataError: A file cannot be read.
    """
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.relative_to(root).as_posix().encode())
        try:
            digest.update(_content(path))
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error}", hint="Check the file and its permissions.") from error
    return digest.hexdigest()[:16]


def _content(path: Path) -> bytes:
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
