"""Files that are either whole or absent, whatever kills the process that writes them."""

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from harness.errors import HarnessError

#: How libraries in Rust (safetensors) repeat what the system said.
_IN_WORDS = re.compile(r"\(os error (\d+)\)")

#: Errors of the system that a write ends in.
_OF_WRITING = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO, errno.EACCES, errno.EPERM}

_Content = TypeVar("_Content", str, bytes)


def hash_of_file(path: Path) -> str:
    """Returns the first 16 hexadecimal digits of the SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


@contextmanager
def naming(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Within the block, errors of the system name the file that is written: a full disk names none.

    What a library says in words becomes an error of the system, too.

    Args:
        path: What is written.
        temporary: What stands for it until it is whole.
    """
    try:
        yield
    except OSError as error:
        named = str(error.filename2 or error.filename or "")  # of a copy, the second is what is written
        is_ours = temporary is not None and (named == str(temporary) or named.startswith(f"{temporary}{os.sep}"))
        if is_ours or (not named and error.errno in _OF_WRITING):
            error.filename, error.filename2 = str(path), None
        raise
    except Exception as error:
        if found := _IN_WORDS.search(str(error)):
            number = int(found[1])
            raise OSError(number, os.strerror(number), str(path)) from error
        raise


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside ``path``; on success it is flushed to disk and takes its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        with naming(path, temporary):
            yield temporary
            _flush(temporary)
            temporary.replace(path)
    finally:
        with suppress(OSError):  # on a disk that is read-only by now
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path, replaces: Callable[[], bool] = lambda: False) -> Iterator[Path]:
    """Yields a temporary folder beside ``path``; on success it takes its place unless another process was first.

    Whoever is second keeps what the first one wrote: both computed the same.

    Args:
        path: Folder to make.
        replaces: Asked once all is written: whether a folder that is there gives way, as one that is damaged does.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        with naming(path, temporary):
            temporary.mkdir()
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    _flush(file)
            for folder in (temporary, *(found for found in temporary.rglob("*") if found.is_dir())):
                _flush_folder(folder)
            if path.is_dir() and replaces():
                discard(path)
            try:
                temporary.rename(path)
            except OSError:
                if not path.is_dir():
                    raise
            _flush_folder(path.parent)  # what the folder makes needless, say checkpoints, is removed next
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def discard(path: Path) -> None:
    """Removes a folder, which is whole or absent at any time: it gets a temporary name first."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    path.rename(temporary)
    shutil.rmtree(temporary, ignore_errors=True)


def write_json(path: Path, values: Any) -> None:
    """Writes JSON atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Returns an object of JSON; of a key with two values, json keeps one without a word."""
    found = dict(pairs)
    if len(found) < len(pairs):
        for key, value in pairs:
            if found[key] != value:
                raise ValueError(f"the key {key!r} stands twice, with two values")
    return found


def read_json(path: Path) -> Any:
    """Reads JSON; the byte order mark that editors on Windows put before it does no harm.

    Raises:
        FileNotFoundError: There is no such file.
        OSError: It cannot be read.
        ValueError: It is no JSON, a key stands twice with two values, or :func:`read_text` refuses it.
    """
    try:
        return json.loads(read_text(path).removeprefix("\ufeff"), object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_text(path: Path) -> str:
    """Reads a text file of a size that somebody may have written; never waits for a pipe or a device.

    Raises:
        FileNotFoundError: There is no such file.
        OSError: It cannot be read.
        ValueError: It is no regular file, is too large, or is not UTF-8.
    """
    return _read(path, lambda: path.read_text(encoding="utf-8"))


def read_bytes(path: Path) -> bytes:
    """Reads a file of a size that somebody may have written; never waits for a pipe or a device.

    Raises:
        FileNotFoundError: There is no such file.
        OSError: It cannot be read.
        ValueError: It is no regular file, or is too large.
    """
    return _read(path, path.read_bytes)


def resolve_path(path: Path, beside: Path) -> Path:
    """Returns a path that a user named, absolute and with links followed; a link that leads to itself stays.

    Args:
        path: The path; ``~`` stands for a home.
        beside: Folder that a relative path is relative to.

    Raises:
        HarnessError: It cannot be a path: a NUL, or the home of an unknown user.
    """
    try:
        check_path(path)
        return Path(os.path.realpath(beside / path.expanduser()))
    except (ValueError, RuntimeError, OSError) as error:
        raise HarnessError(f"'{path}' is not a valid path: {error}.") from error


def check_path(path: Path) -> None:
    """Refuses what no file system takes for a path.

    Raises:
        ValueError: It holds control characters or characters that are none, or is too long.
    """
    if re.search(r"[\x00-\x1f\x7f]", str(path)):
        raise ValueError("a path cannot hold control characters")
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise ValueError(f"a path has at most {_LONGEST_PATH} bytes")
    if any(len(os.fsencode(part)) > _LONGEST_NAME for part in path.parts):
        raise ValueError(f"a name in a path has at most {_LONGEST_NAME} bytes")


def check_writable(path: Path) -> None:
    """Refuses a file that cannot be written, before there is anything to write; makes the folders around it.

    Raises:
        HarnessError: It is a folder or a pipe, or it or its folder cannot be written.
    """
    try:
        check_path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            with atomic_path(path.with_name(".write-probe")) as probe:
                probe.touch()
            path.with_name(".write-probe").unlink(missing_ok=True)
        elif path.is_dir() or path.is_fifo() or not os.access(path, os.W_OK):
            raise ValueError("it is a folder" if path.is_dir() else "it may not be replaced")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise HarnessError(f"{path} cannot be written: {reason}.", hint="Name another file with --out.") from error


def _read(path: Path, read: Callable[[], _Content]) -> _Content:
    for _ in range(_TRIES - 1):
        try:
            _check_file(path)
            return read()
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
    _check_file(path)
    return read()


def _check_file(path: Path) -> None:
    facts = path.stat()
    if stat.S_ISDIR(facts.st_mode):
        raise IsADirectoryError(errno.EISDIR, "It is a folder", str(path))
    if not stat.S_ISREG(facts.st_mode):
        raise ValueError("it is no regular file")
    if facts.st_size > _MOST_BYTES:
        raise ValueError(f"it has {facts.st_size:,} bytes, more than {_MOST_BYTES:,}")


#: How often a file is opened which another machine replaces while it is read: NFS calls that stale.
_TRIES = 3

#: Bytes of one name in a path, on every file system that training runs on.
_LONGEST_NAME = 255

#: Bytes of a path, less what the folder takes that a relative one begins at.
_LONGEST_PATH = 3000

#: Size of a text that is read into memory: no study, table of folds or record comes near it.
_MOST_BYTES = 1 << 28


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
