"""Writes ``docs/fidelity.md`` from the facts about the released code: ``python scripts/docs/fidelity.py``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FACTS = ROOT / "harness" / "study" / "released_facts.yaml"
PAGE = ROOT / "docs" / "fidelity.md"

_HEAD = """\
# The paper, its released code, and this harness

<!-- Made by `python scripts/docs/fidelity.py` from harness/study/released_facts.yaml: change that file. -->

Point by point: what our sources say, what the command line of the released code does (joker-527/AAHN at 0316ebc, built
on nnU-Net v1), and what the protocols `paper` and `paper_released` do. Our sources for the paper are its abstract, its
tables and a public summary. We have not read its full text: *not said* means that our notes of these sources hold
nothing on it, not that the paper is silent. `paper_patch` is `paper` with patches of slices at each case's own voxel
size.

A test compares both protocols with the facts behind this page (`tests/study/test_released_facts.py`), another their
transforms and sampling with batchgenerators 0.25.5 (`tests/data/test_released_pipeline.py`). What stands here as *the
same* was found equal by reading both codes line by line. How to run either reading:
[Reproduce the paper's tables](reproduce.md).
"""


def page() -> str:
    """Returns the whole page."""
    facts = yaml.safe_load(FACTS.read_text(encoding="utf-8"))
    parts = [_HEAD.rstrip()]
    for group in facts["groups"]:
        rows = [_row(fact) for fact in group["facts"]]
        head = ["| | our sources | released code | `paper` | `paper_released` | where |", "|-|-|-|-|-|-|"]
        parts += [f"## {group['name']}", "\n".join([*head, *rows])]
    files = [f"| {name} | `{path}` |" for name, path in facts["files"].items()]
    parts += [
        "## Where it stands",
        "Lines are those of the released file.",
        "\n".join(["| name | file |", "|-|-|", *files]),
    ]
    return "\n\n".join(parts) + "\n"


def _row(fact: dict[str, Any]) -> str:
    cells = [fact["what"], fact["sources"], fact["released"], fact["paper"], fact["paper_released"]]
    return f"| {' | '.join(cells)} | {', '.join(fact['where'])} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
