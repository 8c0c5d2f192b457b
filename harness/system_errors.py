"""What an error of the operating system means, for the person at the keyboard."""

import errno
import tempfile
from pathlib import Path

from harness.errors import HarnessError

_ELSEWHERE = "name a place on another disk (`--out`, `--results`, `--cache`)"

#: What is wrong, by the number of the error.
_MEANINGS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your share of the disk (quota) is used up",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "the system does not permit it",
    errno.EFBIG: "the file would be larger than the file system or `ulimit -f` allows",
    errno.EIO: "the disk fails to read or write",
    errno.ENOENT: "there is no such file or folder",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EEXIST: "there is a file of that name",
    errno.EISDIR: "it is a folder",
    errno.EMFILE: "this process has too many open files",
}

#: What to do; ``{folder}`` is where the file lies.
_REMEDIES = {
    errno.ENOSPC: "Free some space on the disk of {folder} (`harness clean` lists what is not needed), or "
    f"{_ELSEWHERE}; then type the command again.",
    errno.EDQUOT: "Remove files of yours from the disk of {folder} (`harness clean` lists what is not needed), or "
    f"{_ELSEWHERE}; then type the command again.",
    errno.EROFS: f"Make the disk of {{folder}} writable, or {_ELSEWHERE}.",
    errno.EACCES: "Correct the permissions of {folder}, or name another place (`--out`, `--results`, `--cache`).",
    errno.EFBIG: f"Raise `ulimit -f`, or {_ELSEWHERE}.",
    errno.EIO: f"See to the disk of {{folder}} (`dmesg` says more), or {_ELSEWHERE}.",
    errno.ENOENT: "Check the path: is its disk mounted, and is every folder of it there?",
    errno.ENOTDIR: "Name another place (`--out`, `--results`, `--cache`), or move that file away.",
    errno.EMFILE: "Raise `ulimit -n`.",
}
_REMEDIES[errno.EPERM] = _REMEDIES[errno.EACCES]
_REMEDIES[errno.EEXIST] = _REMEDIES[errno.EISDIR] = _REMEDIES[errno.ENOTDIR]


def explain_system_error(error: OSError) -> HarnessError:
    """Returns what is wrong, where, and what to do; ``--debug`` is named where nothing better is known."""
    name = "" if error.filename is None else str(error.filename2 or error.filename)
    return HarnessError(
        f"{name or 'A file'}: {meaning_of(error)}.", hint=remedy_of(error, Path(name) if name else None)
    )


def meaning_of(error: OSError) -> str:
    """Returns what is wrong, in words."""
    return _MEANINGS.get(error.errno or 0, error.strerror or str(error) or type(error).__name__)


def remedy_of(error: OSError, place: Path | None) -> str:
    """Returns what to do.

    Args:
        error: What the system said.
        place: File or folder that was to be read or written; None where that is not known.
    """
    folder = str(_folder(place)) if place else f"the results and of {tempfile.gettempdir()}"
    return _REMEDIES.get(error.errno or 0, "`--debug` shows where.").replace("{folder}", folder)


def _folder(path: Path) -> Path:
    """Returns the path if it is a folder, else the nearest folder around it that is there."""
    try:
        return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.is_dir())
    except (OSError, ValueError, StopIteration):
        return path.parent
