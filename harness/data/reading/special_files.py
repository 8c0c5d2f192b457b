"""Refuses paths that are no file to read, for all who open one; it imports no library of images."""

from pathlib import Path

from harness.errors import DataError


def refuse_special(path: Path) -> None:
    """Refuses what is no file that can be read to its end, before anything waits for it.

    Raises:
        DataError: The path is missing, a folder, a pipe, a device or a socket, or the file is empty.
    """
    try:
        exists = path.exists()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.", hint="Correct its name or its rights.") from error
    if not exists:
        hint = "Put it there. What comes out of an archive is unpacked again; nothing may be renamed."
        if path.is_symlink():
            raise DataError(f"Missing file: {path} is a link to {path.readlink()}, which is not there.", hint=hint)
        raise DataError(f"Missing file: {path}", hint=hint)
    if not path.is_file():
        what = "a folder" if path.is_dir() else "a pipe, a device or a socket"
        raise DataError(f"{path} is {what}, not a file.", hint="Put the file itself there.")
    if not path.stat().st_size:
        raise DataError(
            f"{path} cannot be read: the file is empty (0 bytes).",
            hint="Its download, copy or export stopped early, or the disk was full: get the file again.",
        )
