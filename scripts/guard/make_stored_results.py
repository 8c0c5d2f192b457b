"""Writes ``tests/guard/stored_results.tar.xz``: a results folder as the installed harness writes it, and its numbers.

The archive is a record of release 0.2.0; later code must go on from it. It holds finished, interrupted, failed, tuned,
raced and subset-tested cells of toy networks (``tests/support``) on the embedded images::

    OMP_NUM_THREADS=1 python scripts/guard/make_stored_results.py tests/guard/stored_results.tar.xz
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]

_PROTOCOL = {
    "base": "demo",
    "patch_size": [64, 64],
    "sampling": {"batch_size": 2},
    "training": {"epochs": 2, "steps_per_epoch": 2, "validate_every": 1, "refresh_batchnorm": 2},
}
_LONGER = {"epochs": 6, "steps_per_epoch": 4, "validate_every": 2, "refresh_batchnorm": 2}

#: Step at which the slow cell is interrupted, and at which it has a checkpoint to go on from.
_INTERRUPT_AT = 9

STUDIES: dict[str, dict[str, Any]] = {
    "finished": {"matrix": {"dataset": ["cortex"], "model": ["toy", {"name": "toy", "width": 8, "label": "wide"}]}},
    "interrupted": {
        "protocol": {**_PROTOCOL, "training": _LONGER},
        "matrix": {"dataset": ["cortex"], "model": ["toy_slow"]},
    },
    "failed": {"matrix": {"dataset": ["cortex"], "model": ["toy", "toy_once"]}},
    "tuned": {
        "matrix": {"dataset": ["cortex"], "model": ["toy"]},
        "tuning": {
            "trials": 2,
            "pruner": "none",
            "space": {"training.optimiser.lr": {"factor": [0.1, 10], "log": True}},
        },
    },
}

#: The race of leading modalities.
LEAD = ["lead", "cortex", "--model", "toy_leading", "--protocol", "micro", "--cpu", "--no-mlflow"]
LEAD += ["--epochs", "4", "--seeds", "2"]

_HERE = ["--workers", "1", "--no-mlflow"]


def write_inputs(folder: Path) -> None:
    """Writes the study files and the protocol that the commands name."""
    (folder / "protocols").mkdir(parents=True, exist_ok=True)
    (folder / "protocols" / "micro.yaml").write_text(yaml.safe_dump(_PROTOCOL, sort_keys=False))
    for name, changes in STUDIES.items():
        study = {"name": name, "question": "Does it run?", "protocol": _PROTOCOL, **changes}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(study, sort_keys=False))


def environment() -> dict[str, str]:
    """Returns variables under which the toys are found and nothing steers the harness."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HARNESS_", "MLFLOW_"))}
    return {**kept, "OMP_NUM_THREADS": "1", "COLUMNS": "250", "PYTHONPATH": str(ROOT / "tests" / "support")}


def main() -> None:
    """Makes the folder, takes its numbers, and packs both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path)
    target = parser.parse_args().archive.resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_inputs(folder)
        _type(folder, "run", "finished.yaml", *_HERE)
        _type(folder, "run", "interrupted.yaml", *_HERE, "--results", "whole")
        _interrupt(folder, "interrupted.yaml")
        _type(folder, "run", "failed.yaml", *_HERE, expected=1)
        _type(folder, "tune", "tuned.yaml", "--cpu", "--no-mlflow")
        _type(folder, *LEAD)
        _type(folder, "missing", "finished", "--label", "wide", "--workers", "1")
        (folder / "expected.json").write_text(json.dumps(_expected(folder), indent=1) + "\n")
        _move_installation(folder / "results")
        with tarfile.open(target, "w:xz", preset=9) as archive:
            for entry in ("results", "protocols", "expected.json"):
                archive.add(folder / entry, entry, filter=_plain)
    print(f"{target}: {target.stat().st_size / 1024:.0f} KB")


def _type(folder: Path, *arguments: str, expected: int = 0) -> None:
    command = [sys.executable, "-m", "harness", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment(), text=True, capture_output=True)  # noqa: S603 - our own module
    assert done.returncode == expected, f"{' '.join(arguments)}\n{done.stdout}{done.stderr}"


def _interrupt(folder: Path, study: str) -> None:
    """Stops a run with Ctrl-C in the middle of its only cell."""
    command = [sys.executable, "-m", "harness", "run", study, *_HERE]
    process = subprocess.Popen(  # noqa: S603 - our own module
        command, cwd=folder, env=environment(), stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while _step(folder) < _INTERRUPT_AT:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130


def _step(folder: Path) -> int:
    for file in folder.glob("results/cells/cortex_toy-slow_*/work/progress.json"):
        return int(json.loads(file.read_text()).get("step", 0))
    return 0


def _expected(folder: Path) -> dict[str, Any]:
    """Returns the numbers of every cell, read from the files themselves."""
    import pandas as pd

    keys = ["case", "region", "metric"]

    def rows(file: Path) -> list[list[Any]]:
        table = pd.read_parquet(file).sort_values(keys)
        return [list(row) for row in table[[*keys, "value"]].itertuples(index=False)]

    cells = sorted((folder / "results" / "cells").glob("*/result/cases.parquet"))
    (whole,) = (folder / "whole" / "cells").glob("*/result/cases.parquet")
    subsets = sorted((folder / "results" / "cells").glob("*/subsets/*/cases.parquet"))
    trials = sorted((folder / "results" / "tuning").rglob("cells/*/result/summary.json"))
    answers = sorted((folder / "results").rglob("answer.json"))
    return {
        "cases": {file.parents[1].name: rows(file) for file in cells},
        "interrupted": {whole.parents[1].name: rows(whole)},
        "subsets": {f"{file.parents[2].name}/{file.parent.name}": rows(file) for file in subsets},
        "trials": {file.parents[1].name: json.loads(file.read_text())["val_dice"] for file in trials},
        "answers": {str(file.relative_to(folder)): json.loads(file.read_text()) for file in answers},
    }


def _move_installation(results: Path) -> None:
    """Replaces where the harness is installed by a folder that is not there, as after an upgrade or a move."""
    for file in (*results.rglob("*.json"), *results.rglob("log.txt")):
        text = file.read_text()
        for place in (ROOT, Path(sys.prefix)):
            text = text.replace(f"{place}/", "/opt/aahn-harness/")
        file.write_text(text)


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leaves out what is large and can be drawn again, and who packed it."""
    if member.name.endswith((".npz", ".png", "/log.txt", "/room")) or "/leases/" in member.name:
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    main()
