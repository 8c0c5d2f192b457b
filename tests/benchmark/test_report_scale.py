"""How long the statistics of a large benchmark take, and how much memory, on generated rows."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

#: Runs in a process of its own, so that its peak memory is its own.
_SCRIPT = """
import json, resource, sys, time
import numpy as np
import pandas as pd
from harness.statistics.analysis import across_datasets, analyse_all

patients = int(sys.argv[1])
methods, datasets, regions, folds, seeds, metrics = 11, 6, 6, 5, 3, 2
shape = (metrics, datasets, methods, seeds, patients, regions)
random = np.random.default_rng(0)
difficulty = random.normal(0, 0.08, (1, datasets, 1, 1, patients, regions))
skill = np.linspace(0.0, 0.05, methods).reshape(1, 1, methods, 1, 1, 1)
dice = np.clip(0.8 + skill + difficulty[0] + random.normal(0, 0.03, shape), 0, 1)
dice[1] = 60 * (1 - dice[1])
place = np.indices(shape, dtype=np.int16).reshape(len(shape), -1)
named = lambda codes, prefix, number: pd.Categorical.from_codes(codes, [f"{prefix}{n:04d}" for n in range(number)])
cases = pd.DataFrame({
    "dataset": named(place[1], "data", datasets),
    "label": named(place[2], "method", methods),
    "leading": pd.Categorical.from_codes(np.zeros(place.shape[1], dtype=np.int8), ["-"]),
    "fold": (place[4] % folds).astype(np.int8),
    "seed": place[3].astype(np.int8),
    "patient": named(place[4], "p", patients),
    "case": named(place[4], "c", patients),
    "region": named(place[5], "r", regions),
    "metric": pd.Categorical.from_codes(place[0], ["dice", "hd95"]),
    "value": dice.ravel().astype(np.float32),
})
del place, dice
cells = pd.MultiIndex.from_product(
    [cases["dataset"].cat.categories, cases["label"].cat.categories, range(folds), range(seeds)],
    names=["dataset", "label", "fold", "seed"],
).to_frame(index=False).assign(leading="-", status="done", protocol="p", split="s", data="d", options="{}")
cases = cases.sample(frac=1, random_state=0, ignore_index=True)
made = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
start = time.perf_counter()
found = list(analyse_all(cases, cells, "method0010", {"dice": True, "hd95": False}))
for metric in ("dice", "hd95"):
    across_datasets([each for each in found if each.metric == metric and each.region == "Mean"])
print(json.dumps({
    "rows": len(cases), "analyses": len(found), "seconds": time.perf_counter() - start, "rows_gib": made,
    "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    "tested": sum(each.pairwise is not None for each in found),
}))
"""


@pytest.mark.benchmark
def test_the_largest_benchmark_is_analysed_in_two_minutes_and_four_gigabytes() -> None:
    measured = []
    for patients in (156, 312, 625, 1251):
        done = subprocess.run(
            [sys.executable, "-c", _SCRIPT, str(patients)], capture_output=True, text=True, check=True
        )
        measured.append(json.loads(done.stdout))
        row = measured[-1]
        print(
            f"{row['rows']:>9,} rows, {patients:>4} patients: {row['seconds']:6.1f} s, "
            f"peak {row['peak_gib']:.2f} GiB ({row['rows_gib']:.2f} to make the rows)"
        )
    last = measured[-1]
    assert last["rows"] == 2 * 11 * 6 * 1251 * 6 * 3
    assert last["tested"] == last["analyses"] == 2 * 6 * 7
    assert last["seconds"] < 120
    assert last["peak_gib"] < 4
    # Eight times the rows may take at most twelve times the time: no step grows with their square.
    assert last["seconds"] < 12 * measured[0]["seconds"] * last["rows"] / (8 * measured[0]["rows"])
