"""How long the whole report of a large benchmark takes, from the store to the last figure, and how much memory.

11 models x 6 datasets x 6 regions x 5 folds x 3 seeds x 2 metrics on generated results, each patient tested in one fold
a seed. The rows are generated; reading, statistics, tables, figures, csv and the page are those of ``harness report``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

#: Writes a store of finished cells.
_STORE = """
import sys
from pathlib import Path
import numpy as np
import pandas as pd
from harness.files import write_json
from harness.results.manifest import Manifest
from harness.results.store import Store

root, patients = Path(sys.argv[1]), int(sys.argv[2])
models, datasets, regions, folds, seeds = 11, 6, 6, 5, 3
store = Store(root)
store.create()
random = np.random.default_rng(0)
cells = []
for d in range(datasets):
    hard = random.normal(0, 0.08, (patients, regions))
    for m in range(models):
        for seed in range(seeds):
            for fold in range(folds):
                cell = store.cell(f"data{d}_model{m:02d}_f{fold}_s{seed}")
                spec = {"dataset": f"data{d}", "model": f"model{m:02d}", "leading": "-", "fold": fold, "seed": seed,
                        "split": f"split{fold}", "data": "data", "protocol": {"name": "paper"}, "options": {}}
                cell.write_spec(spec)
                mine = np.arange(fold, patients, folds)
                dice = np.clip(0.8 + 0.005 * m + hard[mine] + random.normal(0, 0.03, (len(mine), regions)), 0, 1)
                place = np.indices((2, len(mine), regions)).reshape(3, -1)
                rows = pd.DataFrame({
                    **{key: spec[key] for key in ("dataset", "model", "leading", "fold", "seed")},
                    "patient": [f"p{mine[n]:04d}" for n in place[1]], "case": [f"c{mine[n]:04d}" for n in place[1]],
                    "region": [f"region{n}" for n in place[2]], "metric": np.array(["dice", "hd95"])[place[0]],
                    "value": np.stack([dice, 60 * (1 - dice)]).ravel(), "status": "scored",
                    "implementation": np.array(["dice 1", "hd95 1"])[place[0]],
                })
                with cell.writing_result() as result:
                    rows.to_parquet(result / "cases.parquet")
                    pd.DataFrame({"epoch": range(1, 101), "step": range(1, 101), "loss": 0.97 ** np.arange(100),
                                  "val_dice": 0.8, "lr": 0.01, "seconds": 1.0}).to_parquet(result / "history.parquet")
                    pd.DataFrame().to_parquet(result / "floors.parquet")
                    write_json(result / "summary.json", {
                        "parameters": 1e6 * (m + 1), "gflops": 3.0 * (m + 1), "train_seconds": 60.0, "steps": 100,
                        "device": "none", "commit": "c", "packages": {}, "peak_memory_mb": 100.0,
                        "started": "2026-01-01T00:00:00+00:00", "finished": "2026-01-01T00:01:00+00:00"})
                cells.append({"cell": cell.id, "label": f"Model {m:02d}"})
facts = [{"name": f"data{d}", "title": f"Data {d}", "kind": "generated", "unit": "patient", "modalities": ["a", "b"],
          "regions": [f"region{n}" for n in range(regions)], "notes": []} for d in range(datasets)]
store.study("scale", "default").write_manifest(Manifest.model_validate({
    "name": "scale", "profile": "default", "question": "Which is best?", "datasets": facts, "cells": cells,
    "labels": [f"Model {m:02d}" for m in range(models)],
    "report": {"reference": "Model 10", "metrics": ["dice", "hd95"]},
}))
"""

#: Runs in a process of its own, so that its peak memory is its own.
_REPORT = """
import json, resource, sys, time
from pathlib import Path
start = time.perf_counter()
from harness.report.write import write_report
from harness.results.reading import load_results
from harness.results.store import Store
store = Store(Path(sys.argv[1]))
study = load_results(store.find_study("scale"), store)
loaded = time.perf_counter()
out, figures = Path(sys.argv[2]), sys.argv[3] == "figures"
written = write_report(study, out, figures=figures).files
print(json.dumps({
    "rows": len(study.cases), "seconds": time.perf_counter() - start, "loading": loaded - start, "files": len(written),
    "megabytes": sum(path.stat().st_size for path in written) / 1e6,
    "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
}))
"""


#: A quarter of the largest benchmark, the largest, and twice it.
_PATIENTS = (313, 1251, 2502)


def measured(store: Path, figures: str) -> dict[str, float]:
    command = [sys.executable, "-c", _REPORT, str(store), str(store / figures), figures]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


@pytest.mark.benchmark
def test_the_largest_benchmark_is_reported_in_two_minutes_and_four_gigabytes(tmp_path: Path) -> None:
    """Figures cost the same however many rows there are, so growth is looked at without them."""
    tables, whole = {}, {}
    for patients in _PATIENTS:
        folder = tmp_path / str(patients)
        subprocess.run([sys.executable, "-c", _STORE, str(folder), str(patients)], check=True)
        tables[patients] = measured(folder, "no-figures")
        whole[patients] = measured(folder, "figures")
        row = whole[patients]
        print(
            f"{row['rows']:>9,} rows, {patients:>4} patients: {row['seconds']:6.1f} s, without figures "
            f"{tables[patients]['seconds']:5.1f} s, reading {row['loading']:.1f} s, peak {row['peak_gib']:.2f} GiB, "
            f"{row['files']} files of {row['megabytes']:.0f} MB"
        )
    largest = whole[1251]
    assert largest["rows"] == 2 * 11 * 6 * 1251 * 6 * 3
    assert largest["seconds"] < 120
    assert largest["peak_gib"] < 4
    # Eight times the rows may take at most eight times the time: no step grows with their square.
    assert tables[2502]["seconds"] < 8 * tables[313]["seconds"]
