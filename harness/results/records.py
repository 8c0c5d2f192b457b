"""What the JSON files of the store hold. Files of earlier versions are read: a key they lack has a default.

A file that cannot be read as its record raises :class:`DamagedRecordError`, which names it. Keys that are not known,
of a later version say, are ignored.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.errors import HarnessError
from harness.files import read_json, write_json

__all__ = ["DamagedRecordError", "FailedAttempt", "Failure", "Record"]


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


class Record(BaseModel):
    """Base class of the records; each is one JSON file."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    #: What a person can do about a damaged file.
    remedy: ClassVar[str]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads a file.

        Raises:
            FileNotFoundError: There is no such file.
            DamagedRecordError: It is no JSON, lacks a key, or holds a value of another type.
        """
        try:
            return cls.model_validate(read_json(path))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise DamagedRecordError(path, f"{where}: {first['msg']}" if where else first["msg"], cls.remedy) from error
        except ValueError as error:
            raise DamagedRecordError(path, f"it is not JSON ({error})", cls.remedy) from error

    def write(self, path: Path) -> None:
        """Writes the keys that were given, atomically."""
        write_json(path, self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Returns the keys that were given, as JSON values."""
        return self.model_dump(exclude_unset=True)


class FailedAttempt(Record):
    """An attempt that failed: an entry of ``attempts.json``.

    Attributes:
        kind: What sort of failure; :mod:`harness.execution.workers.failures` lists them.
        reason: What happened, in a sentence.
        time: When, UTC, ISO 8601; empty where it is not known.
        accumulate: Parts each training batch was cut into.
    """

    kind: str
    reason: str
    time: str = ""
    accumulate: int = 1


class Failure(FailedAttempt):
    """Why the last attempt failed: ``failure.json``.

    Attributes:
        hint: What to do.
        traceback: Of the exception, if there was one.
        log: The end of the attempt's log.
        attempt: 1-based number of the attempt.
    """

    remedy = "Remove the file, then run `harness retry`: only the reason of the failure is lost."

    hint: str = ""
    traceback: str = ""
    log: str = ""
    attempt: int = 1
