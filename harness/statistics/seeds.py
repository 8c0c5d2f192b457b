"""Spread between training seeds beside spread between patients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

__all__ = ["Spread", "seed_spread"]


@dataclass(frozen=True)
class Spread:
    """Two standard deviations of one method.

    Attributes:
        patients: SD between patients, seeds averaged; NaN for one patient.
        seeds: SD between the seeds' means over patients; NaN for one seed.
        n_seeds: Seeds that were run on every case.
    """

    patients: float
    seeds: float
    n_seeds: int

    def ties_with(self, other: Spread, gap: float) -> bool | None:
        """Whether a gap between two means is within the larger of their seed SDs; ``None`` where a SD is unknown."""
        if np.isnan(self.seeds) or np.isnan(other.seeds):
            return None
        return abs(gap) <= max(self.seeds, other.seeds)


def seed_spread(table: pd.DataFrame, by_seed: pd.DataFrame) -> dict[str, Spread]:
    """Spread of each method.

    Args:
        table: Patients x methods.
        by_seed: Methods x seeds: means over patients.
    """
    spreads = {}
    for name in table.columns:
        means = by_seed.loc[name].dropna().to_numpy(dtype=float)
        between = float(means.std(ddof=1)) if len(means) > 1 else np.nan
        spreads[str(name)] = Spread(float(table[name].std(ddof=1)), between, len(means))
    return spreads
