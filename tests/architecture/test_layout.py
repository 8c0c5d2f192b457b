"""The layout of the code: no import circles, small folders, few imports inside functions."""

from __future__ import annotations

import ast
from pathlib import Path

import grimp
import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

ROOT = Path(__file__).parents[2]

MOST_MODULES = 12

#: Functions of harness/ at revision e605309 that import from harness in their body, the command line's included.
MOST_LAZY_FUNCTIONS = 66


def find_circles(*packages: str) -> set[frozenset[str]]:
    """Returns groups of modules that import each other; imports in functions count, those for type checkers do not."""
    graph = grimp.build_graph(*packages, exclude_type_checking_imports=True, cache_dir=None)
    modules = sorted(graph.modules)
    index = {module: number for number, module in enumerate(modules)}
    edges = [(index[a], index[b]) for a in modules for b in graph.find_modules_directly_imported_by(a)]
    rows, columns = zip(*edges, strict=True)
    matrix = coo_array((np.ones(len(edges)), (rows, columns)), shape=(len(modules),) * 2)
    _, groups = connected_components(matrix, connection="strong")
    together: dict[int, set[str]] = {}
    for module, group in zip(modules, groups, strict=True):
        together.setdefault(int(group), set()).add(module)
    return {frozenset(group) for group in together.values() if len(group) > 1}


def lazy_functions(folder: Path) -> list[str]:
    """Returns the functions whose body, without functions nested in it, imports from harness."""
    found = []
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and any(map(_imports_harness, _body(node))):
                found.append(f"{path.relative_to(folder)}:{node.name}")
    return found


def _body(node: ast.AST) -> list[ast.AST]:
    found: list[ast.AST] = []
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            found += [child, *_body(child)]
    return found


def _imports_harness(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        return (node.module or "").split(".")[0] == "harness"
    return isinstance(node, ast.Import) and any(name.name.split(".")[0] == "harness" for name in node.names)


def test_no_modules_import_each_other():
    assert find_circles("harness", "aahn", "baselines") == set()


def test_a_circle_through_an_import_in_a_function_is_found(tmp_path, monkeypatch):
    package = tmp_path / "circular_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "one.py").write_text("from circular_package import two\n")
    (package / "two.py").write_text("def late():\n    from circular_package.one import two\n    return two\n")
    (package / "three.py").write_text("import circular_package.one\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert find_circles("circular_package") == {frozenset({"circular_package.one", "circular_package.two"})}


@pytest.mark.parametrize("package", ["execution", "report", "data"])
def test_folders_are_small(package):
    root = ROOT / "harness" / package
    folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
    sizes = {
        str(folder.relative_to(ROOT)): sum(1 for path in folder.glob("*.py") if path.name != "__init__.py")
        for folder in folders
    }
    assert {folder: size for folder, size in sizes.items() if size > MOST_MODULES} == {}


def test_imports_inside_functions_do_not_spread():
    found = lazy_functions(ROOT / "harness")
    assert len(found) <= MOST_LAZY_FUNCTIONS, found


def test_an_import_inside_a_function_is_counted_once(tmp_path):
    (tmp_path / "module.py").write_text(
        "from harness import errors\n"
        "def outer():\n    def inner():\n        from harness.files import read_json\n    import harness.cores\n"
        "def other():\n    import json\n"
    )
    assert lazy_functions(tmp_path) == ["module.py:outer", "module.py:inner"]
