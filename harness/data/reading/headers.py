"""Opens NIfTI files: the header first, and voxels only where the header can be true and memory holds them."""

import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from harness.data.reading.special_files import refuse_special
from harness.errors import DataError
from harness.memory import most_memory

#: What raises where a file is not what its header says.
UNREADABLE = (ImageFileError, HeaderDataError, OSError, EOFError, ValueError, OverflowError, zlib.error)

#: Deflate makes no more bytes than this of one.
LONGEST_INFLATION = 1032

_GZIP = b"\x1f\x8b"
_LONGEST_HEADER = 540
_FLOAT = 4  # bytes of a voxel in single precision
_START = 1 << 12  # of a file, compressed or not: more than a header
_CHUNK, _BLOCK = 1 << 16, 1 << 20  # bytes that are inflated at once, and made at once
_PADDING = re.compile(rb"\0*")
_AGAIN = "The file is damaged or truncated: download it again."


@dataclass(frozen=True)
class Volume:
    """Content of a NIfTI file.

    Attributes:
        header: Its header.
        voxels: Values as scaled by the header, of the header's shape.
    """

    header: nib.Nifti1Header
    voxels: NDArray[Any]


def read_header(path: Path) -> nib.Nifti1Header:
    """Reads the header of a NIfTI file; a compressed one is inflated no further.

    Raises:
        DataError: The file is missing, empty, special or damaged, or no NIfTI file.
    """
    refuse_special(path)
    try:
        with path.open("rb") as file:
            return _parse(_inflate(file.read(_START), _LONGEST_HEADER, whole=False))
    except UNREADABLE as error:
        raise _unreadable(path, error) from error


def read_volume(path: Path) -> Volume:
    """Reads a NIfTI file; a compressed one to its end, where its checksum is, so that any damage shows.

    Whether it is compressed is told by its content, not by its name.

    Raises:
        DataError: As :func:`read_header`; or the file is shorter or longer than its header says, or does not fit
            into memory.
    """
    refuse_special(path)
    try:
        with fits_memory(path, path.stat().st_size):
            content = path.read_bytes()
        header = _parse(_inflate(content, _LONGEST_HEADER, whole=False))
        needed = _bytes_needed(header, len(content) * (LONGEST_INFLATION if content[:2] == _GZIP else 1))
        with fits_memory(path, 2 * needed + _FLOAT * prod(header.get_data_shape())):
            content = _inflate(content, needed, whole=True)
            if len(content) < needed:
                raise ValueError(f"it holds {len(content)} bytes, its header declares {needed}")
            return Volume(header, np.asanyarray(ArrayProxy(io.BytesIO(content), header)))
    except UNREADABLE as error:
        raise _unreadable(path, error) from error


@contextmanager
def fits_memory(path: Path, needed: int = 0) -> Iterator[None]:
    """Refuses a file that memory does not hold, before it is taken where the need is known.

    Args:
        path: The file.
        needed: Bytes that reading it takes.

    Raises:
        DataError: It does not fit.
    """
    try:
        if needed > most_memory():
            raise MemoryError
        yield
    except MemoryError as error:
        raise DataError(
            f"{path} does not fit into memory.",
            hint="Is the header right? If so, crop or resample the image, or use a machine with more memory.",
        ) from error


def _parse(start: bytes) -> nib.Nifti1Header:
    for kind in (nib.Nifti1Header, nib.Nifti2Header):
        if kind.may_contain_header(start):
            header = kind.from_fileobj(io.BytesIO(start))
            stated = kind.from_fileobj(io.BytesIO(start), check=False)["pixdim"][1:4]
            header["pixdim"][1:4][stated == 0] = 0  # nibabel put 1 there, without a word to whoever reads the header
            return header
    raise ValueError("it does not begin with the header of a NIfTI file")


def _bytes_needed(header: nib.Nifti1Header, most: int) -> int:
    """Returns how long the uncompressed file must be.

    Raises:
        ValueError: It cannot be that long, or the header makes no sense.
    """
    shape = [int(extent) for extent in header.get_data_shape()]
    offset = int(header.get_data_offset())
    if not shape or min(shape) < 1 or offset < 0:
        raise ValueError(f"its header declares the shape {tuple(shape)}")
    if offset < int(header["sizeof_hdr"]):
        raise ValueError("by its header the voxels begin within the header: is it one of two files (.hdr and .img)?")
    needed: int = offset + prod(shape) * header.get_data_dtype().itemsize
    if needed > most:
        raise ValueError(f"its header declares {'x'.join(map(str, shape))} voxels, more than the file can hold")
    return needed


def _inflate(content: bytes, length: int, *, whole: bool) -> bytes:
    """Returns the first bytes of a file's uncompressed content.

    Args:
        content: Content of the file.
        length: Number of bytes to return, fewer where there are no more.
        whole: Whether a compressed file is read to its end, which verifies its checksum.

    Raises:
        ValueError: What follows is longer than what is returned.
    """
    if content[:2] != _GZIP:
        return content
    parts: list[bytes] = []
    made = 0
    for block in _blocks(content):
        if made < length:
            parts.append(block)
        made += len(block)
        if made >= length and not whole:
            break
        if made > 2 * length + _BLOCK:
            raise ValueError("it holds more than twice of what its header declares")
    return b"".join(parts)[:length]


def _blocks(content: bytes) -> Iterator[bytes]:
    """Yields what compressed content inflates to, a bounded block at a time; it may be several gzip files in a row."""
    start = 0
    while content[start : start + 2] == _GZIP:
        engine = zlib.decompressobj(wbits=31)
        waiting = b""
        while not engine.eof:
            if not waiting:
                waiting = content[start : start + _CHUNK]
                start += len(waiting)
            block = engine.decompress(waiting, _BLOCK)
            waiting = engine.unconsumed_tail
            if block:
                yield block
            elif not engine.eof and not waiting and start >= len(content):
                raise EOFError("the compressed data end too early")
        start = _PADDING.match(content, start - len(engine.unused_data)).end()  # type: ignore[union-attr]
    if start < len(content):
        raise ValueError("something follows the compressed data")


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(f"{path} cannot be read as NIfTI: {error}", hint=_AGAIN)
