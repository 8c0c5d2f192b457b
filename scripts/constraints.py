"""Writes ``constraints.txt``, which pip reads, from ``uv.lock``: ``python scripts/constraints.py``."""

import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "uv.lock"
CONSTRAINTS = ROOT / "constraints.txt"

_HEAD = """\
# Made from uv.lock by `make lock`: change that file. One version per package, for Linux, macOS and Windows and
# Python 3.11 to 3.13. torch==2.x also allows PyTorch's own builds 2.x+cpu, 2.x+cu126 and so on.
"""


def locked_packages() -> list[dict[str, Any]]:
    """Returns what ``uv.lock`` says of each package that comes from an index."""
    lock = tomllib.loads(LOCK.read_text(encoding="utf-8"))
    return [package for package in lock["package"] if "registry" in package["source"]]


def constraints() -> str:
    """Returns the whole file.

    Raises:
        ValueError: The lock holds two versions of a package, which constraints without conditions cannot say.
    """
    versions: dict[str, str] = {}
    for package in locked_packages():
        name, version = package["name"], package["version"]
        if versions.setdefault(name, version) != version:
            raise ValueError(f"uv.lock holds two versions of {name}. Raise its lower bound in pyproject.toml.")
    return _HEAD + "".join(f"{name}=={version}\n" for name, version in sorted(versions.items()))


if __name__ == "__main__":
    CONSTRAINTS.write_text(constraints(), encoding="utf-8")
