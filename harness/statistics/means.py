"""Means over patients as every table, MLflow and ``harness status`` show them: one function for one number."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress

import pandas as pd

from harness.statistics.bootstrap import Interval, mean_intervals
from harness.statistics.patients import MEAN_REGION, NothingCounts, build_grid, patient_table


def means_over_patients(
    rows: pd.DataFrame, regions: Sequence[str] | None = None, unfinished: Collection[str] = ()
) -> Iterator[tuple[str, str, str, float]]:
    """Yields the means of one dataset: folds and seeds of a case first, then cases of a patient, then patients.

    What the policy for empty regions skips is left out, for every method alike.

    Args:
        rows: Rows of one dataset with columns ``method``, ``metric``, ``fold``, ``seed``, ``patient``, ``case``,
            ``region``, ``value`` and, optionally, ``status``.
        regions: Regions of the mean over regions; default: all that have results.
        unfinished: Methods with a cell that has no result: they get no mean.

    Yields:
        Method, metric, region (or :data:`~harness.statistics.patients.MEAN_REGION`) and mean. A metric of which no
        test counts in a region, and a method that lacks results of others, have none there.
    """
    for metric, part in rows.groupby("metric", observed=True):
        grid = build_grid(part, "", str(metric))
        for region in (MEAN_REGION, *grid.regions):
            try:
                found = patient_table(grid, region, regions=regions, unfinished=unfinished).values
            except NothingCounts:
                continue
            for method, mean in found.mean().items():
                yield str(method), str(metric), region, float(mean)


def cell_means(rows: pd.DataFrame) -> dict[tuple[str, str], float]:
    """Returns the means of one cell by metric and region.

    Args:
        rows: The cell's rows, as :func:`means_over_patients` takes them; ``method`` is not needed.
    """
    found = means_over_patients(rows.assign(method="cell"))
    return {(metric, region): mean for _, metric, region, mean in found}


def cell_intervals(rows: pd.DataFrame) -> dict[tuple[str, str], Interval | None]:
    """Returns the 95 % intervals of the means of one cell over patients by metric and region; none for few patients.

    Args:
        rows: The cell's rows, as for :func:`cell_means`.
    """
    found: dict[tuple[str, str], Interval | None] = {}
    for metric, part in rows.assign(method="cell").groupby("metric", observed=True):
        grid = build_grid(part, "", str(metric))
        for region in (MEAN_REGION, *grid.regions):
            with suppress(NothingCounts):
                values = patient_table(grid, region).values.to_numpy(dtype=float)
                (found[str(metric), region],) = mean_intervals(values)
    return found
