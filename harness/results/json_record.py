"""A JSON file of the store as a typed record.

A record carries a checksum of its other keys. A file whose checksum is not that of its content, or that cannot be read
as its record, raises :class:`DamagedRecordError`, which names it. Files of versions before 0.3.0 carry none: their
types alone are checked. Keys that are not known, of a later version say, are ignored.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.errors import HarnessError
from harness.files import read_json, write_json

#: Key of the checksum.
CHECKSUM = "checksum"


class DamagedRecordError(HarnessError):
    """A file of the store does not hold what it should.

    Args:
        path: The file.
        what: What is wrong with it.
        hint: What to do next.

    Attributes:
        path: The file.
    """

    def __init__(self, path: Path, what: str, hint: str) -> None:
        super().__init__(f"{path} is damaged: {what}.", hint=hint)
        self.path = path


class UnreadableRecordError(DamagedRecordError):
    """The system does not let us read a file of the store: what it holds may be sound.

    Args:
        path: The file.
        error: What the system said.
    """

    def __init__(self, path: Path, error: OSError) -> None:
        what = f"it cannot be read ({error.strerror or error})"
        super().__init__(path, what, "Correct its permissions, or see to the disk it lies on. Nothing replaces it.")


class Record(BaseModel):
    """Base class of the records; each is one JSON file."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    #: What a person can do about a damaged file.
    remedy: ClassVar[str] = ""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads a file.

        Raises:
            FileNotFoundError: There is no such file.
            DamagedRecordError: It is no JSON, is not what was written, lacks a key, or holds a value of another type.
            UnreadableRecordError: The system does not let us read it.
        """
        try:
            return cls.model_validate(_unsealed(read_json(path)))
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            raise DamagedRecordError(path, f"{key}: {first['msg']}" if key else first["msg"], cls.remedy) from error
        except _ChangedError as error:
            raise DamagedRecordError(path, str(error), cls.remedy) from error
        except ValueError as error:
            raise DamagedRecordError(path, f"it is not JSON ({error})", cls.remedy) from error
        except FileNotFoundError:
            raise
        except OSError as error:
            raise UnreadableRecordError(path, error) from error

    def write(self, path: Path) -> None:
        """Writes the keys that were given, and their checksum, atomically."""
        write_sealed(path, self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Returns the keys that were given, as JSON values."""
        return self.model_dump(exclude_unset=True)


def write_sealed(path: Path, values: Mapping[str, Any]) -> None:
    """Writes a JSON object with its checksum, atomically."""
    write_json(path, {**values, CHECKSUM: _checksum(values)})


def find_damage(kind: type[Record], path: Path) -> DamagedRecordError | None:
    """Returns what is wrong with a record's file; None where nothing is, or where there is no file.

    The same file is read once, however often it is asked for.
    """
    try:
        seen = path.stat()
    except FileNotFoundError:
        return None
    except OSError:
        return _damage_of(kind, path)
    return _damage_seen(kind, path, seen.st_ctime_ns, seen.st_size, seen.st_ino)


@lru_cache(maxsize=1 << 16)
def _damage_seen(kind: type[Record], path: Path, changed: int, size: int, inode: int) -> DamagedRecordError | None:
    del changed, size, inode  # what tells one content of the file from another
    return _damage_of(kind, path)


def _damage_of(kind: type[Record], path: Path) -> DamagedRecordError | None:
    try:
        kind.read(path)
    except DamagedRecordError as error:
        error.__cause__ = None  # it is kept; what it was made of need not be
        return error.with_traceback(None)
    except FileNotFoundError:  # it went meanwhile
        return None
    return None


class _ChangedError(Exception):
    """The content of a file is not what was written."""


def _unsealed(values: Any) -> Any:
    """Returns the content of a file without its checksum; files of earlier versions have none."""
    if not isinstance(values, dict) or CHECKSUM not in values:
        return values
    content = {key: value for key, value in values.items() if key != CHECKSUM}
    if values[CHECKSUM] != _checksum(content):
        raise _ChangedError("its checksum is not that of its content")
    return content


def _checksum(values: Mapping[str, Any]) -> str:
    plain = json.loads(json.dumps(values))  # tuples are lists and keys are text, as they will be read
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
