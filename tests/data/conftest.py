"""Generated trees, small and drawn once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

#: Patients and scale: a few seconds for all of them together.
PATIENTS, SEED, SCALE = 6, 0, 0.1


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Returns a function from a dataset's name to a generated tree of it, which nobody may change."""
    from harness.data import DATASETS
    from harness.data.generated import generate

    made: dict[str, Path] = {}

    def tree(name: str) -> Path:
        if name not in made:
            out = tmp_path_factory.mktemp("generated") / name
            generate(DATASETS.get(name), out, PATIENTS, SEED, SCALE)
            made[name] = out
        return made[name]

    return tree


@pytest.fixture
def copied(generated: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """Returns a function from a dataset's name to a copy of its generated tree, to be damaged."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(generated(name), tmp_path / name))

    return copy
