"""YAML that users write: read safely and within bounds, with the line of every key.

Whatever stands in the text ends as values or as a :class:`harness.errors.StudyError` of one line that names the line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from harness.errors import StudyError, one_line

Key = tuple[str | int, ...]

#: Bounds of a text: characters, values once every alias is written out, and brackets within brackets. A study with
#: thousands of variants stays far below them.
MOST_CHARACTERS, MOST_VALUES, DEEPEST = 4_000_000, 100_000, 50

#: Tag of the key `<<`, which takes over the keys of another mapping.
_MERGE = "tag:yaml.org,2002:merge"

#: What usually is behind the words of the parser.
_REMEDIES = {
    "cannot start any token": "Indent with blanks in place of tabs, and put text that begins with @, % or ` in quotes.",
    "mapping values are not allowed": "Put text that holds a colon in quotes, and begin each key on a line of its own.",
    "did not find expected key": "Do all keys of this mapping begin in the same column, and is every quote closed?",
    "did not find expected ',' or": "Is a bracket or a comma missing, here or in a line above?",
}

_Loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader


def parse(text: str, source: str) -> tuple[Any, dict[Key, int]]:
    """Returns the values of a text, and the line (1-based) of every key and list item by its path.

    Args:
        text: YAML.
        source: Name of the file, for messages.

    Raises:
        StudyError: It is not valid YAML, repeats a key, or is too long, too deep or without end.
    """
    if len(text) > MOST_CHARACTERS:
        raise StudyError(f"{source} is longer than {MOST_CHARACTERS:,} characters.", hint="Is it the right file?")
    try:
        _check_depth(text, source)
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None, {}
            walk = _Walk(loader, source)
            walk.visit(node, ())  # first: what `<<` merges in looks like the mapping's own keys afterwards
            return loader.construct_document(node), walk.lines
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        hint = next((hint for words, hint in _REMEDIES.items() if words in str(error)), "")
        raise StudyError(f"{_place(error, source)}not valid YAML: {_problem(error)}.", hint=hint) from error


@dataclass
class _Walk:
    """Goes once through the nodes of a document, aliases written out.

    Attributes:
        loader: Loader of the nodes.
        source: Name of the file.
        lines: Line of every key and list item.
        above: Nodes that the present one lies in.
        count: Nodes so far.
    """

    loader: Any
    source: str
    lines: dict[Key, int] = field(default_factory=dict)
    above: list[int] = field(default_factory=list)
    count: int = 0

    def visit(self, node: yaml.Node, path: Key) -> None:
        """Collects the lines below a node; refuses what has no end or no value."""
        self.count += 1
        if self.count > MOST_VALUES:
            raise self._error(node, f"more than {MOST_VALUES:,} values, once every alias (*) is written out")
        if id(node) in self.above:
            raise self._error(node, "an anchor (&) that holds itself")
        self.above.append(id(node))
        if isinstance(node, yaml.MappingNode):
            self._visit_mapping(node, path)
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self.lines[(*path, index)] = item.start_mark.line + 1
                self.visit(item, (*path, index))
        else:
            self._check_scalar(node)
        self.above.pop()

    def _visit_mapping(self, node: yaml.MappingNode, path: Key) -> None:
        merged = [value for key, value in node.value if key.tag == _MERGE]
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._error(key_node, "a key that is a list or a mapping")
            self._check_scalar(key_node)
            key, line = (*path, str(key_node.value)), key_node.start_mark.line + 1
            if key in self.lines:
                first = self.lines[key]
                raise self._error(key_node, f"key '{key_node.value}' is repeated (first in line {first})")
            self.lines[key] = line
            self.visit(value_node, key)
        for value_node in merged:
            self._visit_merged(value_node, path)

    def _visit_merged(self, node: yaml.Node, path: Key) -> None:
        """Collects what `<<` names: a mapping, or several, of which the first that has a key wins."""
        own = self.lines
        for one in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            self.lines = {}
            self.visit(one, path)
            own.update({key: line for key, line in self.lines.items() if key not in own})
        self.lines = own

    def _check_scalar(self, node: yaml.Node) -> None:
        """Refuses a value that is not what it looks like or claims to be: the 45th of a month, ``!!int foo``."""
        try:
            self.loader.construct_object(node)
        except yaml.YAMLError:
            raise
        except Exception as error:  # PyYAML passes on whatever int(), date() and its own tables raise
            kind = node.tag.rpartition(":")[2]
            raise self._error(node, f"'{node.value}' is not a valid {kind}", "Is it text? Put it in quotes.") from error

    def _error(self, node: yaml.Node, message: str, hint: str = "") -> StudyError:
        return StudyError(f"{_at(node, self.source)}: {one_line(message)}.", hint=hint)


def _check_depth(text: str, source: str) -> None:
    """Refuses brackets within brackets without end, before anything recurses into them."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_Loader)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST or count > 3 * MOST_VALUES:
            what = f"nested deeper than {DEEPEST} levels" if depth > DEEPEST else f"more than {MOST_VALUES:,} values"
            raise StudyError(f"{_at(event, source)}: {what}.")


def _at(node: yaml.Node | yaml.Event, source: str) -> str:
    return f"{source}:{node.start_mark.line + 1}" if node.start_mark is not None else source


def _place(error: yaml.YAMLError, source: str) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    return f"{source}:{mark.line + 1}: " if mark is not None else f"{source}: "


def _problem(error: yaml.YAMLError) -> str:
    said: Mapping[str, Any] = vars(error)
    parts = [said.get("context"), said.get("problem") or said.get("reason")]
    return " ".join(", ".join(str(part) for part in parts if part).split()) or " ".join(str(error).split())
