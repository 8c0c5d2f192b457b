"""Generated trees that a test may damage."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def copied(generated: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """Returns a function from a dataset's name to a copy of its generated tree, to be damaged."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(generated(name), tmp_path / name))

    return copy
