"""Cells have the names that they had in 0.2.0, so that stored results are found again."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from guarding import GUARD, prepare_plans, type_commands, write_placeholder_trees

RECORD: dict[str, Any] = json.loads((GUARD / "identities.json").read_text())

#: `harness plan` ends each row of its list with the hash of the cell.
_HASH = re.compile(r"\b([0-9a-f]{12})\s*$", re.MULTILINE)


@pytest.fixture(scope="module")
def hashes(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str | None], list[str]]:
    """Hashes of every cell of the recorded plans, in the order of the plan; made by one process."""
    folder = tmp_path_factory.mktemp("plans")
    places = write_placeholder_trees(folder)
    prepare_plans(folder)
    plans = RECORD["plans"]
    commands = [
        ["plan", f"{plan['study']}.yaml", *(["--profile", plan["profile"]] if plan["profile"] else [])]
        for plan in plans
    ]
    answers = type_commands(commands, RECORD["versions"], folder, **places)
    for answer in answers:
        assert answer["status"] == 0, answer["output"]
    return {
        (plan["study"], plan["profile"]): _HASH.findall(answer["output"])
        for plan, answer in zip(plans, answers, strict=True)
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
