"""Makes ``tests/guard/data/``: a results folder as the installed harness writes it, and what must come of it.

It holds finished, failed and interrupted cells, subsets of modalities, a tuned study and a race. The stored folder is
that of 0.2.0; write it again only where another format is meant::

    python scripts/guard/make_stored_results.py tests/guard/data
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import torch
import yaml

#: Stands in the archive for the folder that it is unpacked into.
PLACE = "@PROJECT@"

#: Files of text in which the folder is written.
_TEXT = {".json", ".csv", ".yaml", ".md", ".txt"}

#: What of a path in a traceback, and of progress, says where this was made.
_OUTSIDE, _HOST = re.compile(rb"/[\w./+-]+/(?=(?:harness|tests|site-packages)/)"), re.compile(rb'("host": ")[^"]*(")')

#: Where the toy networks of the tests are.
_TOYS = Path(__file__).resolve().parents[2] / "tests" / "support"

_PATIENTS = [f"P{number:02d}" for number in range(12)]
_FOLDS = {"folds": [{"train": _PATIENTS[:4], "val": _PATIENTS[4:6], "test": _PATIENTS[6:]}]}

#: Steps of an epoch.
_STEPS = 30

_PROTOCOL: dict[str, Any] = {
    "base": "demo",
    "patch_size": [16, 16],
    "preparation": {"plane": "native"},
    "sampling": {"batch_size": 4, "foreground": 0.6},
    # Identities of strict cells hold the versions of packages; these are to be found again with others as well.
    "training": {
        "determinism": "fast",
        "epochs": 3,
        "steps_per_epoch": _STEPS,
        "validate_every": 1,
        "refresh_batchnorm": 2,
        "optimiser": {"name": "adamw", "lr": 5.0e-2, "weight_decay": 0.01},
    },
}

_DATASET = [{"nnunet_raw": "Dataset501_Invented", "splits": "folds.json"}]

_STORED: dict[str, Any] = {
    "name": "stored",
    "question": "Is what was stored found again?",
    "protocol": _PROTOCOL,
    "matrix": {
        "dataset": _DATASET,
        "model": [
            {"name": "toy", "label": "Finished"},
            {"name": "toy_group", "label": "Second"},
            {"name": "toy_once", "width": 3, "label": "Failed"},
            {"name": "toy_slow", "width": 6, "label": "Interrupted"},
        ],
        "fold": [0],
        "seed": [0],
    },
    "report": {"reference": "Finished", "metrics": ["dice", "hd95", "nsd"]},
}

_DROPPED: dict[str, Any] = {
    **_STORED,
    "name": "dropped",
    "protocol": {**_PROTOCOL, "sampling": {**_PROTOCOL["sampling"], "modality_dropout": {"p": 0.3, "fill": "token"}}},
    "matrix": {**_STORED["matrix"], "model": [{"name": "toy", "label": "Dropped"}]},
    "report": {"metrics": ["dice"]},
}

_TUNED: dict[str, Any] = {
    **_STORED,
    "name": "tuned",
    "matrix": {**_STORED["matrix"], "model": ["toy"]},
    "tuning": {
        "trials": 2,
        "pruner": "none",
        "space": {
            "training.optimiser.lr": {"factor": [0.1, 10], "log": True},
            "sampling.foreground": {"between": [0.1, 0.9]},
        },
    },
    "report": {"metrics": ["dice"]},
}

#: What is typed; the tests type the same.
LEAD = [
    *("lead", "invented", "--nnunet-raw", "Dataset501_Invented", "--splits", "folds.json", "--model", "toy_leading"),
    *("--protocol", "micro", "--epochs", "3", "--seeds", "2", "--rungs", "2", "--finalists", "2", "--spare", "1"),
    *("--none", "--cpu", "--no-mlflow", "--workers", "1", "--threads", "1"),
]
ALONE = ["--cpu", "--no-mlflow", "--workers", "1", "--threads", "1"]


def main() -> None:
    """Makes everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    target = parser.parse_args().folder.resolve()
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        project = Path(name) / "project"
        whole = Path(name) / "whole"
        project.mkdir()
        _write_project(project)
        shutil.copytree(project, whole)
        (whole / "toy_once_was_tried").touch()
        _type(whole, ["run", "stored.yaml", *ALONE])
        _fill(project)
        expected = _expected(project, whole)
        _pack(project, target / "project.tar.xz", [*_chosen(project)])
        _pack(whole, target / "whole.tar.xz", [*_whole(whole)])
    (target / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    for file in sorted(target.iterdir()):
        print(f"{file.stat().st_size:>8}  {file.name}")


def _write_project(project: Path) -> None:
    """Writes invented images of two modalities, of which the second shows the lesion better, and the studies."""
    home = project / "Dataset501_Invented"
    for folder in ("imagesTr", "labelsTr"):
        (home / folder).mkdir(parents=True)
    facts = {"channel_names": {"0": "A", "1": "B"}, "labels": {"background": 0, "rim": 1, "core": 2}}
    listed = {"numTraining": len(_PATIENTS), "file_ending": ".nii"}
    (home / "dataset.json").write_text(json.dumps({**facts, **listed}))
    grid = np.stack(np.meshgrid(np.arange(22), np.arange(20), np.arange(5), indexing="ij"), axis=-1)
    for number, patient in enumerate(_PATIENTS):
        draw = np.random.default_rng(number)
        centre = draw.uniform([8, 7, 1.5], [14, 13, 3.5])
        distance = np.sqrt((((grid - centre) * [1, 1, 2]) ** 2).sum(axis=-1))
        label = np.where(distance < 3, 2, np.where(distance < 5.5, 1, 0)).astype(np.uint8)
        for channel, (rim, core, noise) in enumerate([(12, 18, 5), (14, 32, 3)]):
            image = 20 + rim * (label == 1) + core * (label == 2) + draw.normal(0, noise, label.shape)
            _save(image.clip(0, 63).round().astype(np.uint8), home / "imagesTr" / f"{patient}_{channel:04d}.nii")
        _save(label, home / "labelsTr" / f"{patient}.nii")
    (project / "folds.json").write_text(json.dumps(_FOLDS))
    (project / "protocols").mkdir()
    (project / "protocols" / "micro.yaml").write_text(yaml.safe_dump(_PROTOCOL, sort_keys=False))
    for study in (_STORED, _DROPPED, _TUNED):
        (project / f"{study['name']}.yaml").write_text(yaml.safe_dump(study, sort_keys=False))


def _save(values: np.ndarray, path: Path) -> None:
    nib.save(nib.Nifti1Image(values, np.diag([1.5, 1.5, 3, 1])), path)


def _fill(project: Path) -> None:
    """Lets the harness write every sort of result."""
    _interrupt(project)
    _type(project, ["run", "dropped.yaml", *ALONE])
    _type(project, ["missing", "stored", "--cpu", "--label", "Finished", "--workers", "1", "--threads", "1"])
    _type(project, ["missing", "dropped", "--cpu", "--workers", "1", "--threads", "1"])
    _type(project, ["tune", "tuned.yaml", *ALONE])
    _type(project, LEAD)


def _interrupt(project: Path) -> None:
    """Runs the study until the slow network is in its second epoch, then types Ctrl-C."""
    command = _command(["run", "stored.yaml", "--retries", "0", *ALONE])
    with subprocess.Popen(command, cwd=project, env=_variables()) as run:  # noqa: S603 - our own command line
        while run.poll() is None:
            for progress in project.glob("results/cells/*toy-slow*/work/progress.json"):
                if json.loads(progress.read_text()).get("history"):  # one epoch is over, its validation too
                    time.sleep(0.4)
                    run.send_signal(signal.SIGINT)
                    run.wait(60)
                    break
            time.sleep(0.02)
    (project / "toy_once_was_tried").touch()  # it is there already: what makes the next attempt succeed


def _type(project: Path, arguments: Sequence[str], status: int = 0) -> None:
    done = subprocess.run(  # noqa: S603 - our own command line
        _command(arguments), cwd=project, env=_variables(), capture_output=True, text=True
    )
    if done.returncode != status:
        raise SystemExit(f"harness {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}")


def _command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "harness", *arguments]


def _variables() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", "PYTHONPATH": str(_TOYS)}


def _expected(project: Path, whole: Path) -> dict[str, Any]:
    """Returns the numbers that the tests ask for."""
    packages = ("torch", "numpy", "scipy", "monai", "batchgeneratorsv2", "optuna", "aahn-harness")
    cells = {
        entry["label"]: entry["cell"] for entry in _read(whole / "results/studies/stored/default/study.json")["cells"]
    }
    dropped = _read(project / "results/studies/dropped/default/study.json")["cells"][0]["cell"]
    (race,) = (path for path in (project / "results/lead/invented").iterdir() if path.name != "cells")
    longer = project.parent / "longer"  # the same search with one more trial
    shutil.copytree(project, longer)
    _type(longer, ["tune", "tuned.yaml", "--trials", "3", *ALONE])
    return {
        "versions": {package: version(package) for package in packages},
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "cells": cells,
        "dropped": dropped,
        "states": {"Finished": "done", "Second": "done", "Failed": "failed", "Interrupted": "interrupted"},
        "interrupted_step": _step(project / "results/cells" / cells["Interrupted"]),
        "rows": {
            label: _rows(whole / "results/cells" / cell / "result/cases.parquet") for label, cell in cells.items()
        },
        "val_dice": {label: _val_dice(whole / "results/cells" / cell) for label, cell in cells.items()},
        "subsets": {
            label: _subsets(project / "results/cells" / cell)
            for label, cell in {"Finished": cells["Finished"], "Dropped": dropped}.items()
        },
        "trials": _records(project / "results/tuning/tuned/default/trials.csv"),
        "trials_longer": _records(longer / "results/tuning/tuned/default/trials.csv"),
        "race": {
            "name": race.name,
            "command": LEAD,
            "ranking": _records(race / "ranking.csv"),
            "cells": sorted(path.name for path in (project / "results/lead/invented/cells").iterdir()),
        },
    }


def _read(path: Path) -> Any:
    return json.loads(path.read_text())


def _cells(project: Path, study: str) -> dict[str, str]:
    """Returns the cells of a study by label."""
    manifest = _read(project / "results/studies" / study / "default/study.json")
    return {entry["label"]: entry["cell"] for entry in manifest["cells"]}


def _step(cell: Path) -> int:
    state = torch.load(cell / "work/last.pt", map_location="cpu", weights_only=True)["state"]
    if state["step"] % _STEPS == 0:
        raise SystemExit("the cell was interrupted between two epochs: run this again")
    return int(state["step"])


def _rows(path: Path) -> list[list[Any]]:
    """Returns case, region, metric, value and status of the metrics that every report shows."""
    table = pd.read_parquet(path)
    table = table[table["metric"].isin(["dice", "hd95", "nsd"])]
    return [list(row) for row in table[["case", "region", "metric", "value", "status"]].itertuples(index=False)]


def _val_dice(cell: Path) -> list[float]:
    return [float(value) for value in pd.read_parquet(cell / "result/history.parquet")["val_dice"]]


def _subsets(cell: Path) -> list[dict[str, Any]]:
    found = []
    for facts in sorted((cell / "subsets").glob("*/subset.json")):
        values = _read(facts)
        rows = _rows(facts.parent / "cases.parquet")
        found.append({"folder": facts.parent.name, "present": values["present"], "fill": values["fill"], "rows": rows})
    return found


def _records(path: Path) -> list[dict[str, Any]]:
    return json.loads(pd.read_csv(path).to_json(orient="records", double_precision=15))


def _chosen(project: Path) -> list[Path]:
    """Returns the files of the project without what is only of the moment, or made again at once."""
    left_out = {"cache", "leases", "pictures", "slurm"}
    files = [path for path in sorted(project.rglob("*")) if path.is_file()]
    kept = []
    for path in files:
        parts = path.relative_to(project).parts
        if left_out & set(parts) or path.suffix in (".png", ".pdf") or path.name in ("room", "previous.pt"):
            continue
        kept.append(path)
    return kept


def _whole(whole: Path) -> list[Path]:
    """Returns the tables and weights of the undisturbed run."""
    names = {"cases.parquet", "history.parquet", "floors.parquet", "weights.safetensors"}
    return [path for path in sorted(whole.glob("results/cells/*/result/*")) if path.name in names]


def _pack(project: Path, archive: Path, files: Sequence[Path]) -> None:
    with tarfile.open(archive, "w:xz", preset=9) as packed:
        for path in files:
            content = path.read_bytes()
            if path.suffix in _TEXT:
                content = content.replace(str(project).encode(), PLACE.encode())
                content = _OUTSIDE.sub(b"", _HOST.sub(rb"\1somewhere\2", content))
            if str(project.parent).encode() in content:
                raise SystemExit(f"{path} holds the name of the folder in which it was made")
            facts = tarfile.TarInfo(path.relative_to(project).as_posix())
            facts.size, facts.mtime = len(content), int(path.stat().st_mtime)
            packed.addfile(facts, io.BytesIO(content))


if __name__ == "__main__":
    main()
