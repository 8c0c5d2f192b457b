"""YAML that remembers its lines, so that every refusal names one."""

import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from harness.errors import HarnessError, StudyError, did_you_mean

Key = tuple[str | int, ...]

#: Tag of the key `<<`, which takes over the keys of another mapping.
_MERGE = "tag:yaml.org,2002:merge"
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Document:
    """A YAML mapping.

    Attributes:
        values: The content.
        lines: Line (1-based) of every key and list item, by its path.
        source: File name, for messages.
    """

    values: dict[str, Any]
    lines: Mapping[Key, int]
    source: str

    def at(self, path: Key) -> str:
        """Returns ``file:line`` of ``path`` or of its nearest parent that has a line."""
        for length in range(len(path), 0, -1):
            if (line := self.lines.get(path[:length])) is not None:
                return f"{self.source}:{line}"
        return self.source

    def error(self, path: Key, message: str, hint: str = "") -> StudyError:
        """Returns an error that points at ``path``."""
        return StudyError(f"{self.at(path)}: {message}", hint=hint)

    @contextmanager
    def naming_line(self, path: Key) -> Iterator[None]:
        """Puts the line of ``path`` before every error of the harness that is raised within."""
        try:
            yield
        except HarnessError as error:
            kind = StudyError if type(error) is HarnessError else type(error)
            raise kind(f"{self.at(path)}: {error.message}", hint=error.hint) from error


def read_document(path: Path) -> Document:
    """Reads a YAML mapping safely.

    Raises:
        StudyError: The file is missing, is no YAML, is no mapping, or repeats a key.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        near = did_you_mean(path.name, [p.name for p in path.parent.glob("*.yaml")]) if path.parent.is_dir() else ""
        raise StudyError(f"There is no file {path}.", hint=near) from None
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{path} cannot be read: {error}") from error
    lines: dict[Key, int] = {}
    try:
        values = _parse(text, lines, path.name)
    except yaml.YAMLError as error:
        raise StudyError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(values, dict):
        raise StudyError(f"{path} must hold a mapping (key: value), not {type(values).__name__}.")
    return Document(values, lines, path.name)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Returns ``base`` with ``over`` laid on it: mappings are merged, everything else is replaced."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def validate(model: type[Model], document: Document) -> Model:
    """Validates a document; the first problem becomes an error with line and nearest valid name.

    Raises:
        StudyError: A key is unknown or missing, or a value is refused.
    """
    try:
        return model.model_validate(document.values)
    except ValidationError as error:
        first = error.errors()[0]
        path = tuple(first["loc"])
        name = ".".join(str(part) for part in path)
        if first["type"] == "extra_forbidden":
            known = _fields_at(model, path[:-1])
            raise document.error(path, f"unknown key '{path[-1]}'.", did_you_mean(str(path[-1]), known)) from error
        if first["type"] == "missing":
            raise document.error(path, f"'{name}' is missing.") from error
        given = f" (given: {first['input']!r})" if not isinstance(first["input"], dict) else ""
        message = first["msg"].removeprefix("Value error, ")
        raise document.error(path, f"'{name}': {message}{given}.") from error


def _parse(text: str, lines: dict[Key, int], source: str) -> Any:
    """Returns the values and fills in their lines; parsed once, by the safe loader's form in C."""
    loader = yaml.CSafeLoader(text) if yaml.__with_libyaml__ else yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        _collect(node, (), lines, source)  # first: what `<<` merges in looks like the mapping's own keys afterwards
        return loader.construct_document(node) if node is not None else None
    finally:
        loader.dispose()


def _collect(node: yaml.Node | None, path: Key, lines: dict[Key, int], source: str) -> None:
    if isinstance(node, yaml.MappingNode):
        merged = [value for key, value in node.value if key.tag == _MERGE]
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                continue
            key = (*path, str(key_node.value))
            line = key_node.start_mark.line + 1
            if key in lines:
                raise StudyError(f"{source}:{line}: key '{key_node.value}' stands twice (first in line {lines[key]}).")
            lines[key] = line
            _collect(value_node, key, lines, source)
        for value_node in merged:
            _collect_merged(value_node, path, lines, source)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[(*path, index)] = item.start_mark.line + 1
            _collect(item, (*path, index), lines, source)


def _collect_merged(node: yaml.Node, path: Key, lines: dict[Key, int], source: str) -> None:
    """Collects what `<<` names: a mapping, or several, of which the first that has a key wins."""
    for one in node.value if isinstance(node, yaml.SequenceNode) else [node]:
        below: dict[Key, int] = {}
        _collect(one, path, below, source)
        lines.update({key: line for key, line in below.items() if key not in lines})


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
