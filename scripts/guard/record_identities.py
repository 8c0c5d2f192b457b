"""Writes ``tests/guard/identities.json``: the names that chosen cells have with the installed harness.

The file is a record of 0.2.0. Write it again only where a change of identities is meant::

    python scripts/guard/record_identities.py tests/guard/identities.json
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "helpers"))

from guarding import prepare_plans, write_placeholder_trees

#: Study, profile, and the places in the plan's list of the cells that are kept.
CHOSEN: list[tuple[str, str | None, list[int]]] = [
    ("ablation_tcfaf", "demo", [1, 3]),
    ("leading_cortex", None, [0, 10, 17]),
    ("leading_modality", "demo", [0, 2, 5]),
    ("missing_modality", "demo", [1, 3, 5]),
    ("native_recipes", "demo", [3, 4]),
    ("aahn_lite", None, [0, 5]),
    ("compare_prostate158", "demo", [0]),
    ("own_folder", None, [0, 3, 4]),
    ("volumes", None, [0, 3, 4, 7]),
]


def main() -> None:
    """Records the chosen cells."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    target = parser.parse_args().file.resolve()
    from harness.study.expansion import load_study

    plans: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ.update(write_placeholder_trees(folder))
        prepare_plans(folder)
        os.chdir(folder)
        for study, profile, places in CHOSEN:
            cells = load_study(Path(f"{study}.yaml"), profile).cells
            kept = [
                {
                    "place": place,
                    "label": cells[place].label,
                    "id": cells[place].spec.id,
                    "hash": cells[place].spec.hash,
                }
                for place in places
            ]
            plans.append({"study": study, "profile": profile, "count": len(cells), "cells": kept})
    packages = ("torch", "numpy", "scipy", "monai", "batchgeneratorsv2")
    record = {
        "about": "Cells of 0.2.0 by their place in the list of `harness plan`, over the trees of the tests.",
        "versions": {package: version(package) for package in packages},
        "plans": plans,
    }
    target.write_text(json.dumps(record, indent=1) + "\n")
    print(f"{sum(len(plan['cells']) for plan in plans)} cells")


if __name__ == "__main__":
    main()
