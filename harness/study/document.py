"""Documents that remember the line of each key, so that every error names a file and a line."""

import difflib
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from harness.alike import name_some
from harness.bounds import bounds_at
from harness.errors import HarnessError, StudyError, did_you_mean, look_alikes, one_line, shorten
from harness.files import read_text
from harness.system_errors import meaning_of, remedy_of
from harness.yaml_text import Key, parse

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Document:
    """A mapping read from one file, or merged from several.

    Attributes:
        values: The content.
        places: Place of every key and list item, as ``file:line``, by its path.
        source: File name, for messages about keys without a place.
    """

    values: dict[str, Any]
    places: Mapping[Key, str]
    source: str

    def at(self, path: Key) -> str:
        """Returns ``file:line`` of ``path`` or of its nearest parent that has a place."""
        for length in range(len(path), 0, -1):
            if (place := self.places.get(path[:length])) is not None:
                return place
        return self.source

    def error(self, path: Key, message: str, hint: str = "") -> StudyError:
        """Returns an error that points at ``path``."""
        return StudyError(f"{self.at(path)}: {one_line(message)}", hint=hint)

    def section(self, path: Key) -> "Document":
        """Returns the mapping at a path; empty where there is none."""
        values: Any = self.values
        for part in path:
            try:
                values = values[part]
            except (KeyError, IndexError, TypeError):
                values = None
        places = {key[len(path) :]: place for key, place in self.places.items() if key[: len(path)] == path}
        return Document(dict(values) if isinstance(values, Mapping) else {}, places, self.at(path))

    def over(self, base: "Document") -> "Document":
        """Returns another document, changed by this one: mappings are merged, everything else is replaced."""
        replaced = set(_leaves(self.values))
        kept = {
            path: place
            for path, place in base.places.items()
            if not any(path[:length] in replaced for length in range(1, len(path) + 1))
        }
        return Document(merge(base.values, self.values), kept | dict(self.places), self.source or base.source)

    def without(self, *keys: str) -> "Document":
        """Returns the document without some of its keys."""
        return Document({key: value for key, value in self.values.items() if key not in keys}, self.places, self.source)

    @contextmanager
    def naming_line(self, path: Key) -> Iterator[None]:
        """Puts the line of ``path`` before every error of the harness that is raised within and names none here."""
        try:
            yield
        except HarnessError as error:
            if error.message.startswith(f"{self.source}:"):
                raise
            kind = StudyError if type(error) is HarnessError else type(error)
            raise kind(f"{self.at(path)}: {one_line(error.message)}", hint=error.hint) from error


def read_document(path: Path) -> Document:
    """Reads a YAML mapping safely.

    Raises:
        StudyError: The file is missing, is not YAML, is not a mapping, or repeats a key.
    """
    try:
        text = read_text(path)
    except FileNotFoundError:
        near = did_you_mean(path.name, [p.name for p in path.parent.glob("*.yaml")]) if path.parent.is_dir() else ""
        raise StudyError(f"There is no file {path}.", hint=near) from None
    except IsADirectoryError:
        inside = sorted(found.name for found in path.glob("*.yaml"))
        hint = f"Name a file in it: {name_some(inside)}." if inside else "Name the YAML file itself."
        raise StudyError(f"{path} cannot be read: it is a folder.", hint=hint) from None
    except OSError as error:
        hint = remedy_of(error, path)
        raise StudyError(f"{path} cannot be read: {meaning_of(error)}.", hint=hint) from error
    except ValueError as error:
        raise StudyError(f"{path} cannot be read: {error}.", hint="Is it the right file, in UTF-8?") from error
    values, lines = parse(text, path.name)
    if not isinstance(values, dict):
        what = "; it is empty" if values is None else f", not {type(values).__name__}"
        raise StudyError(f"{path} must hold a mapping (key: value){what}.", hint="Is it the right file?")
    return Document(values, {key: f"{path.name}:{line}" for key, line in lines.items()}, path.name)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Returns ``base``, changed by ``over``: mappings are merged, everything else is replaced."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def validate(model: type[Model], document: Document) -> Model:
    """Validates a document; the first problem becomes an error with line, allowed range or nearest valid name.

    Raises:
        StudyError: A key is unknown or missing, or a value is refused.
    """
    try:
        return model.model_validate(document.values)
    except ValidationError as error:
        first = error.errors()[0]
        kind, path = first["type"], _path_in(document.values, first["loc"])
        if kind == "extra_forbidden":
            known = _fields_at(model, path[:-1])
            raise document.error(path, f"unknown key '{path[-1]}'.", did_you_mean(str(path[-1]), known)) from error
        name = ".".join(str(part) for part in path)
        if kind == "missing":
            path = (*path, str(first["loc"][-1]))
            raise _missing(model, document, path) from error
        given = f" (given: {shorten(repr(first['input']), 200)})" if not isinstance(first["input"], dict) else ""
        message = first["msg"].removeprefix("Value error, ")
        bounds = bounds_at(model, first["loc"])
        hint = f"Allowed: {bounds}." if bounds is not None else "Put text in quotes." if kind == "string_type" else ""
        raise document.error(path, f"'{name}': {message}{given}.", hint) from error


def _missing(model: type[BaseModel], document: Document, path: Key) -> StudyError:
    """Returns the error of a required key; where a key of a similar name is present, the error points at it."""
    above = document.section(path[:-1]).values
    unknown = [key for key in map(str, above) if key not in _fields_at(model, path[:-1])]
    near = difflib.get_close_matches(str(path[-1]), unknown, n=1, cutoff=0.5)
    where = (*path[:-1], near[0]) if near else path
    hint = f"Did you mean '{path[-1]}' by '{near[0]}'?{look_alikes(near[0], str(path[-1]))}" if near else ""
    return document.error(where, f"'{'.'.join(map(str, path))}' is missing.", hint)


def _path_in(values: Any, location: Key) -> Key:
    """Returns the part of a location that is in the values: pydantic also names the kinds of a union."""
    path: Key = ()
    for part in location:
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            continue
        path = (*path, part)
    return path


def _leaves(values: Mapping[str, Any], above: Key = ()) -> Iterator[Key]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*above, key))
        else:
            yield (*above, key)


def _fields_at(model: type[BaseModel], path: Key) -> list[str]:
    """Returns the field names of the model nested at ``path``."""
    for part in path:  # a list index, a mapping key and the tag of a union name no field
        field = model.model_fields.get(str(part))
        model = (_model_in(field.annotation) if field is not None else None) or model
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Returns the model class inside ``X``, ``list[X]``, ``X | None`` and the like."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, typing.get_args(annotation))), None)
