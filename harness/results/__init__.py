"""The results store and its schema.

In a notebook::

    import harness.results
    rows = harness.results.load("ablation_tcfaf")     # a pandas DataFrame, one row per case, region and metric
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from harness.study.profiles import Profiles

__all__ = ["load"]


def load(study: str | None = None, profile: Profiles = None, results: Path | str = "results") -> pd.DataFrame:
    """Returns the per-case rows of a study's finished cells; see :func:`harness.results.reading.load`."""
    from harness.results.reading import load as read  # pandas is imported only when rows are wanted

    return read(study, profile, results)
