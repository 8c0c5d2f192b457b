"""Base class of everything that can be set, what of it names a cell, and settings that are written as ``KEY=VALUE``.

A cell is named by a hash of all that affects its numbers. A setting without a mark is part of it, whatever its value.
Two marks keep a setting out, so that a new setting renames no cell that was computed before it existed::

    window: Annotated[int, Added("0.3", was=1)] = Field(1, description="...")
    workers: Annotated[int | None, CHANGES_NO_NUMBER] = Field(None, description="...")
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    model_serializer,
    model_validator,
)
from pydantic_core import to_jsonable_python

from harness.bounds import admits, refuse
from harness.errors import HarnessError, StudyError
from harness.yaml_text import parse

#: Mark of a setting that is never part of an identity: words, and how work is spread.
CHANGES_NO_NUMBER: Final = "changes no number"

_IDENTITY, _STORED = "identity", "stored"


@dataclass(frozen=True)
class Added:
    """Mark of a setting that was added after cells had been named without it.

    At its old meaning it is not part of an identity; at any other value it is.

    Attributes:
        since: Version that has it first: of the harness, or of the package the segmenter comes from.
        was: The value that means what was done before the setting existed. It stays, whatever the default becomes.
    """

    since: str
    was: Any

    def is_old_meaning(self, value: object) -> bool:
        """Returns whether a value, in the JSON form of an identity, is the old meaning."""
        return bool(value == (self.was.identity() if isinstance(self.was, Settings) else to_jsonable_python(self.was)))


class Settings(BaseModel):
    """Immutable settings; refused are unknown keys, numbers that are infinite or NaN, and ``true`` as a number."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)

    def identity(self) -> dict[str, Any]:
        """Returns what names a cell, as JSON values: all settings but those that their marks leave out, also nested."""
        return self.model_dump(mode="json", context=_IDENTITY)

    @classmethod
    def from_stored(cls, values: object) -> Self:
        """Reads what was dumped, perhaps by an earlier version.

        A setting that did not exist then has its old meaning, which need not be today's default.

        Raises:
            ValidationError: A key is unknown, or a value is refused.
        """
        return cls.model_validate(values, context=_STORED)

    @model_serializer(mode="wrap")
    def _dump(self, dump: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        values: dict[str, Any] = dump(self)
        if info.context != _IDENTITY:
            return values
        for name, marks in _marks(type(self)).items():
            if name in values and not _is_identity(marks, values[name]):
                del values[name]
        return values

    @model_validator(mode="before")
    @classmethod
    def _fill_in_old_meanings(cls, values: Any, info: ValidationInfo) -> Any:
        if info.context != _STORED or not isinstance(values, Mapping):
            return values
        added = {name: mark.was for name, marks in _marks(cls).items() for mark in marks if isinstance(mark, Added)}
        return added | dict(values)

    @model_validator(mode="before")
    @classmethod
    def _refuse_truth_as_number(cls, values: Any) -> Any:
        """Refuses ``true`` and ``false`` where no truth value belongs: pydantic would read them as 1 and 0."""
        if not isinstance(values, Mapping):
            return values
        for name in _never_true(cls):
            if name in values:
                for path, value in _items(values[name], (name,)):
                    if isinstance(value, bool):
                        raise refuse(cls, path, f"{str(value).lower()} is not a number or a text", value)
        return values


@cache
def _marks(settings: type[Settings]) -> dict[str, tuple[Added | str, ...]]:
    """Returns the marks of each setting that has any."""
    marks = {
        name: tuple(mark for mark in field.metadata if isinstance(mark, Added) or mark == CHANGES_NO_NUMBER)
        for name, field in settings.model_fields.items()
    }
    return {name: those for name, those in marks.items() if those}


@cache
def _never_true(settings: type[Settings]) -> tuple[str, ...]:
    """Returns the settings that hold no truth value, nor other settings, which see to themselves."""
    return tuple(
        name for name, field in settings.model_fields.items() if not admits(field.annotation, (bool, BaseModel))
    )


def _is_identity(marks: Iterable[Added | str], value: object) -> bool:
    """Returns whether a setting with these marks is part of an identity at a value in JSON form."""
    return not any(not isinstance(mark, Added) or mark.is_old_meaning(value) for mark in marks)


def _items(value: object, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], object]]:
    """Yields what stands in lists and mappings, with its path."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _items(one, (*path, key))
    elif isinstance(value, list | tuple):
        for index, one in enumerate(value):
            yield from _items(one, (*path, index))
    else:
        yield path, value


def parse_key_values(given: Iterable[str], flag: str, example: str) -> dict[str, str]:
    """Splits options of the form ``KEY=VALUE``; of a key that is repeated the last value counts.

    Args:
        given: Options, e.g. ``["width=32"]``.
        flag: Name of the option in messages, e.g. ``--option``.
        example: A valid value of the flag, for the hint.

    Raises:
        HarnessError: An option is not of this form.
    """
    values = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_][\w-]*", key):
            raise HarnessError(f"{flag} {text}: expected KEY=VALUE.", hint=f"E.g. {flag} {example}")
        values[key] = value
    return values


def parse_yaml(given: Iterable[str], flag: str, example: str) -> dict[str, Any]:
    """As :func:`parse_key_values`, with the values read as in a study file: numbers, booleans, lists.

    Raises:
        HarnessError: An option is not of this form, or its value is not valid YAML.
    """
    values: dict[str, Any] = {}
    for key, text in parse_key_values(given, flag, example).items():
        try:
            values[key], _ = parse(text, f"{flag} {key}={text}")
        except StudyError as error:
            raise HarnessError(error.message, hint=f"E.g. {flag} {example}") from error
    return values
