"""Writes ``constraints.txt``, which pip reads, from ``uv.lock``: ``python scripts/constraints.py``."""

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "uv.lock"
CONSTRAINTS = ROOT / "constraints.txt"

_HEAD = """\
# Made from uv.lock by `make lock`: change that file. For Linux, macOS and Windows and Python 3.11 to 3.13.
# torch==2.x also allows PyTorch's own builds 2.x+cpu, 2.x+cu126 and so on.
"""


def locked_packages() -> list[dict[str, Any]]:
    """Returns what ``uv.lock`` says of each package that comes from an index."""
    lock = tomllib.loads(LOCK.read_text(encoding="utf-8"))
    return [package for package in lock["package"] if "registry" in package["source"]]


def constraints(packages: Iterable[dict[str, Any]]) -> str:
    """Returns the whole file.

    Args:
        packages: As the lock has them. One with several versions gets a line per version, with its condition.
    """
    ordered = sorted(packages, key=lambda package: (package["name"], package["version"]))
    return _HEAD + "".join(f"{_line(package)}\n" for package in ordered)


def _line(package: dict[str, Any]) -> str:
    conditions = " or ".join(f"({marker})" for marker in package.get("resolution-markers", ()))
    return f"{package['name']}=={package['version']}{' ; ' if conditions else ''}{conditions}"


if __name__ == "__main__":
    CONSTRAINTS.write_text(constraints(locked_packages()), encoding="utf-8")
