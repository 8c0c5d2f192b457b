"""A JSON file of the store as a typed record.

A file that cannot be read as its record raises :class:`DamagedRecordError`, which names it. Keys that are not known,
of a later version say, are ignored.
"""

from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.errors import HarnessError
from harness.files import read_json, write_json


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
    remedy: ClassVar[str] = ""

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
            key = ".".join(str(part) for part in first["loc"])
            raise DamagedRecordError(path, f"{key}: {first['msg']}" if key else first["msg"], cls.remedy) from error
        except ValueError as error:
            raise DamagedRecordError(path, f"it is not JSON ({error})", cls.remedy) from error

    def write(self, path: Path) -> None:
        """Writes the keys that were given, atomically."""
        write_json(path, self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Returns the keys that were given, as JSON values."""
        return self.model_dump(exclude_unset=True)
