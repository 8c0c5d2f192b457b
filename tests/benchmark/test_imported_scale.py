"""How long a million rows of others' results take to be read and reported, and how much memory, beside the same rows
from a store of our own: 20 methods x 5,000 patients x 5 regions x 2 metrics.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

METHODS, PATIENTS, REGIONS = 20, 5000, 5

#: Writes the rows three times: one csv file, nnU-Net's summaries (Dice alone), and a store of finished cells.
_WRITE = """
import json, sys
from pathlib import Path
import numpy as np
import pandas as pd
from harness.files import write_json
from harness.results.manifest import Manifest
from harness.results.store import Store

root = Path(sys.argv[1])
methods, patients, regions = map(int, sys.argv[2:])
store = Store(root / "results")
store.create()
random = np.random.default_rng(0)
hard = random.normal(0, 0.08, (patients, regions))
names = [f"p{n:04d}" for n in range(patients)]
place = np.indices((2, patients, regions)).reshape(3, -1)
cells = []
for m in range(methods):
    label = f"Model {m:02d}"
    dice = np.clip(0.8 + 0.003 * m + hard + random.normal(0, 0.03, hard.shape), 0, 1)
    rows = pd.DataFrame({
        "dataset": "data", "model": f"model{m:02d}", "leading": "-", "fold": 0, "seed": 0,
        "patient": np.array(names)[place[1]], "case": np.array(names)[place[1]],
        "region": np.array([f"region{n}" for n in range(regions)])[place[2]],
        "metric": np.array(["dice", "hd95"])[place[0]], "value": np.stack([dice, 60 * (1 - dice)]).ravel(),
        "status": "scored", "implementation": np.array(["dice 1", "hd95 1"])[place[0]],
    })
    csv = rows.rename(columns={"model": "method"}).assign(label=label)
    csv[["method", "label", "dataset", "patient", "case", "region", "metric", "value"]].to_csv(
        root / "all.csv", mode="a", header=m == 0, index=False)
    entries = [
        {"metrics": {str(r + 1): {"Dice": float(dice[n, r]), "n_pred": 9, "n_ref": 9} for r in range(regions)},
         "prediction_file": f"{name}.nii.gz", "reference_file": f"{name}.nii.gz"}
        for n, name in enumerate(names)
    ]
    (root / f"m{m:02d}.json").write_text(json.dumps({"metric_per_case": entries, "mean": {}}))
    cell = store.cell(f"data_model{m:02d}_f0_s0")
    cell.write_spec({"dataset": "data", "model": f"model{m:02d}", "leading": "-", "fold": 0, "seed": 0, "split": "s",
                     "data": "d", "protocol": {"name": "paper"}, "options": {}})
    with cell.writing_result() as result:
        rows.to_parquet(result / "cases.parquet")
        pd.DataFrame({"epoch": [1], "step": [1], "loss": [1.0], "val_dice": [0.5], "lr": [0.1], "seconds": [1.0]}
                     ).to_parquet(result / "history.parquet")
        pd.DataFrame().to_parquet(result / "floors.parquet")
        write_json(result / "summary.json", {
            "parameters": 1e6, "gflops": 1.0, "train_seconds": 60.0, "steps": 1, "device": "none", "commit": "c",
            "packages": {}, "started": "2026-01-01T00:00:00+00:00", "finished": "2026-01-01T00:01:00+00:00"})
    cells.append({"cell": cell.id, "label": label})
facts = {"name": "data", "title": "Data", "kind": "generated", "unit": "patient", "modalities": ["a"],
         "regions": [f"region{n}" for n in range(regions)], "notes": []}
store.study("scale", "default").write_manifest(Manifest.model_validate({
    "name": "scale", "profile": "default", "question": "Which is best?", "datasets": [facts], "cells": cells,
    "labels": [f"Model {m:02d}" for m in range(methods)],
    "report": {"reference": "Model 00", "metrics": ["dice", "hd95"]},
}))
"""

#: Runs in a process of its own, so that its peak memory is its own.
_REPORT = """
import json, resource, sys, time
from pathlib import Path
start = time.perf_counter()
from harness.report.inputs.gather import Choice, gather_others, gather_studies
from harness.report.inputs.requests import parse_requests
from harness.report.write import write_report
from harness.results.store import Store
kind, root = sys.argv[1], Path(sys.argv[2])
if kind == "store":
    study = gather_studies(Store(root / "results"), ["scale"], None, [], Choice()).study
elif kind == "csv":
    study = gather_others(parse_requests([str(root / "all.csv")]), Choice(reference="Model 00")).study
else:
    texts = [f"{path.stem}={path}" for path in sorted(root.glob("m*.json"))]
    study = gather_others(parse_requests(texts), Choice(reference="m00")).study
loaded = time.perf_counter()
write_report(study, root / kind)
print(json.dumps({
    "rows": len(study.cases), "reading": loaded - start, "seconds": time.perf_counter() - start,
    "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
}))
"""


@pytest.mark.benchmark
def test_a_million_rows_of_others_are_reported_in_four_gigabytes(tmp_path: Path) -> None:
    sizes = [str(size) for size in (METHODS, PATIENTS, REGIONS)]
    subprocess.run([sys.executable, "-c", _WRITE, str(tmp_path), *sizes], check=True)
    found = {}
    for kind in ("store", "csv", "nnunet"):
        command = [sys.executable, "-c", _REPORT, kind, str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[kind] = json.loads(done.stdout)
        print(
            f"{kind:>6}: {found[kind]['rows']:>9,} rows, {found[kind]['seconds']:6.1f} s, reading "
            f"{found[kind]['reading']:5.1f} s, peak {found[kind]['peak_gib']:.2f} GiB"
        )
    assert found["store"]["rows"] == found["csv"]["rows"] == 2 * METHODS * PATIENTS * REGIONS
    assert found["nnunet"]["rows"] == METHODS * PATIENTS * REGIONS
    assert max(one["peak_gib"] for one in found.values()) < 4
    # The same report from the same rows: what differs is that text is read in place of columns.
    assert found["csv"]["seconds"] < 3 * found["store"]["seconds"]
