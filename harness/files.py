"""Files that are either whole or absent, whatever kills the process that writes them."""

import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


def hash_of_file(path: Path) -> str:
    """Returns the first 16 hexadecimal digits of the SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside ``path``; on success it is flushed to disk and takes its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        _flush(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yields a temporary folder beside ``path``; on success it takes its place unless another process was first.

    Whoever is second keeps what the first one wrote: both computed the same.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                _flush(file)
        for folder in (temporary, *(found for found in temporary.rglob("*") if found.is_dir())):
            _flush_folder(folder)
        try:
            temporary.rename(path)
        except OSError:
            if not path.is_dir():
                raise
        _flush_folder(path.parent)  # what the folder makes needless, say checkpoints, is removed next
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_json(path: Path, values: Any) -> None:
    """Writes JSON atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Reads JSON.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no JSON.
    """
    for _ in range(_TRIES - 1):
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
    return json.loads(path.read_text(encoding="utf-8"))


#: How often a file is opened which another machine replaces while it is read: NFS calls that stale.
_TRIES = 3


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _flush_folder(path: Path) -> None:
    """Makes names in a folder last; file systems that cannot do so do without."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
