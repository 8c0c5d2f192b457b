"""Tables of patients and methods, and long tables of results, made of known numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pytest


def long_rows(scores: Mapping[str, Sequence[float]], *, seeds: int = 1, metric: str = "dice") -> pd.DataFrame:
    """One row a method, patient and seed, in one region; the seeds agree."""
    rows = [
        {"method": method, "fold": 0, "seed": seed, "patient": f"p{number}", "case": f"c{number}", "region": "WT",
         "metric": metric, "value": value, "status": "scored"}
        for method, values in scores.items()
        for number, value in enumerate(values)
        for seed in range(seeds)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture
def scores() -> pd.DataFrame:
    """Sixty patients x five methods, unlike enough that tests differ; some patients are hard for all of them."""
    random = np.random.default_rng(1)
    hard = random.normal(0.8, 0.08, (60, 1))
    values = np.clip(hard + np.array([0.03, 0.02, 0.018, 0.0, -0.02]) + random.normal(0, 0.03, (60, 5)), 0, 1)
    return pd.DataFrame(values, index=[f"p{number:02d}" for number in range(60)], columns=list("ABCDE"))
