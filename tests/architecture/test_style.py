"""How tests are written: they replace what a module offers, not what it keeps to itself."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parents[1]

#: Functions that put something else in the place of a name: pytest's and those of unittest.mock.
_REPLACING = {"setattr", "delattr", "patch", "object"}

#: A file that may hold such a call; parsing all of them takes a second.
_CANDIDATE = re.compile(r"\.(setattr|delattr|patch|object)\(.{0,200}?[\"'][\w.]*\b_", re.DOTALL)

#: Documented although it begins with an underscore.
_PUBLIC = {"_exit"}


def replaced_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yields line and name of everything that is replaced by the name of an attribute, or by a dotted path."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _REPLACING:
            for argument in node.args[:2]:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield node.lineno, argument.value.rpartition(".")[2]
                    break


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in _PUBLIC


def test_no_test_replaces_a_private_name() -> None:
    texts = {path.relative_to(TESTS): path.read_text(encoding="utf-8") for path in sorted(TESTS.rglob("*.py"))}
    found = [
        f"{path}:{line}: {name}"
        for path, text in texts.items()
        if _CANDIDATE.search(text)
        for line, name in replaced_names(ast.parse(text))
        if is_private(name)
    ]
    assert found == [], "pass a clock, a callable or a setting as an argument instead"


def test_a_private_name_would_be_found() -> None:
    code = "monkeypatch.setattr(module, '_POLL', 0)\nmock.patch('a.b._c')\nmock.patch.object(x, 'public')\n"
    assert [name for _, name in replaced_names(ast.parse(code)) if is_private(name)] == ["_POLL", "_c"]
    assert all(_CANDIDATE.search(line) for line in code.splitlines()[:2])
