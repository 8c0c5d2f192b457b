"""Cells have the names that they had in 0.2.0, so that stored results are found again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from guarding import GUARD, prepare_plans, write_placeholder_trees

from harness.study.expansion import load_study

RECORD: dict[str, Any] = json.loads((GUARD / "identities.json").read_text())


@pytest.fixture(scope="module")
def hashes(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str | None], list[str]]:
    """Hashes of every cell of the recorded plans, in the order of the plan.

    The versions of the packages that compute are part of some identities, so they are set to those of the record.
    """
    folder = tmp_path_factory.mktemp("plans")
    with pytest.MonkeyPatch.context() as changed:
        for name, place in write_placeholder_trees(folder).items():
            changed.setenv(name, place)
        changed.setattr("harness.study.expansion.numeric_packages", lambda: RECORD["versions"])
        changed.chdir(folder)
        prepare_plans(folder)
        return {
            (plan["study"], plan["profile"]): [
                cell.spec.hash for cell in load_study(Path(f"{plan['study']}.yaml"), plan["profile"]).cells
            ]
            for plan in RECORD["plans"]
        }


def test_the_record_is_wide_enough():
    cells = [cell for plan in RECORD["plans"] for cell in plan["cells"]]
    assert len({cell["id"] for cell in cells}) == len(cells) >= 20
    assert all(cell["id"].endswith(f"_{cell['hash']}") for cell in cells)


@pytest.mark.parametrize("plan", RECORD["plans"], ids=lambda plan: f"{plan['study']}-{plan['profile'] or 'default'}")
def test_cells_keep_their_identities(plan: dict[str, Any], hashes: dict[tuple[str, str | None], list[str]]):
    found = hashes[plan["study"], plan["profile"]]
    assert len(found) == plan["count"]
    assert {cell["id"]: found[cell["place"]] for cell in plan["cells"]} == {
        cell["id"]: cell["hash"] for cell in plan["cells"]
    }


def test_the_trees_are_read_where_they_are(tmp_path: Path):
    """The test above would say nothing about trees that nobody reads."""
    places = write_placeholder_trees(tmp_path)
    assert all(Path(folder).is_dir() for folder in places.values())
