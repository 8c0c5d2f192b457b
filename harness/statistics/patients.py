"""From the long table of results to one value a patient and method.

Results are placed in a dense grid (methods x folds x seeds x cases x regions) by their names, never by row order, so
that every later sum has the same terms in the same order whatever the order of the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.errors import DataError

__all__ = ["MEAN_REGION", "Grid", "Patients", "build_grid", "method_names", "patient_table"]

#: The region that stands for the mean over the regions of a case, taken within the case.
MEAN_REGION = "Mean"

_PLACE = ("fold", "seed")


@dataclass(frozen=True)
class Grid:
    """All results of one dataset and metric.

    Attributes:
        dataset: Dataset name.
        metric: Metric name.
        methods: Names of the methods, sorted.
        seeds: Seeds, sorted.
        cases: Case names, sorted by patient and case.
        patients: Patients, sorted.
        patient_of: Index into ``patients`` for each case.
        regions: Region names, sorted.
        values: Results, methods x folds x seeds x cases x regions; NaN where there is none.
    """

    dataset: str
    metric: str
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    cases: tuple[str, ...]
    patients: tuple[str, ...]
    patient_of: NDArray[np.intp]
    regions: tuple[str, ...]
    values: NDArray[np.float64]


@dataclass(frozen=True)
class Patients:
    """One value a patient and method: cases of a patient and seeds averaged.

    Attributes:
        values: Patients x methods, both sorted by name.
        by_seed: Methods x seeds: mean over patients of each seed on its own.
        excluded: Why a method has no column, by method.
        caveats: What else a reader must know.
    """

    values: pd.DataFrame
    by_seed: pd.DataFrame
    excluded: dict[str, str]
    caveats: tuple[str, ...] = ()


def method_names(rows: pd.DataFrame) -> pd.Series[str]:
    """One name a row: column ``method`` if there is one, else the label, with the leading modality where it varies."""
    if "method" in rows:
        return rows["method"].astype(str)
    labels = rows["label"].astype(str)
    if "leading" not in rows or rows.empty:
        return labels
    pairs = rows[["label", "leading"]].astype(str).drop_duplicates()
    several = set(pairs.loc[pairs["label"].duplicated(), "label"])
    if not several:
        return labels
    return labels.where(~labels.isin(several), labels + " (" + rows["leading"].astype(str) + ")")


def build_grid(rows: pd.DataFrame, dataset: str, metric: str) -> Grid:
    """Places the results of one dataset and metric in a grid.

    Args:
        rows: Rows of that dataset and metric, with columns ``label`` (and ``leading``) or ``method``, ``fold``,
            ``seed``, ``patient``, ``case``, ``region``, ``value``.
        dataset: Dataset name, for messages.
        metric: Metric name, for messages.

    Raises:
        DataError: There is no row, a value is absent, a place is filled twice, or a region is called like the mean.
    """
    if rows.empty:
        raise DataError(f"Dataset '{dataset}' has no results for '{metric}'.", hint="Run the study first.")
    values = rows["value"].to_numpy(dtype=float)
    if np.isnan(values).any():
        raise DataError(
            f"Dataset '{dataset}': {int(np.isnan(values).sum())} results for '{metric}' have no value.",
            hint="Empty and missing cases carry the value their policy gives them. Score these cells again.",
        )
    methods, method = _codes(method_names(rows))
    places = [_codes(rows[name]) for name in _PLACE]
    regions, region = _codes(rows["region"])
    if MEAN_REGION in regions:
        raise DataError(f"Dataset '{dataset}' has a region '{MEAN_REGION}'.", hint="Rename the region.")
    patients, patient = _codes(rows["patient"])
    names, name = _codes(rows["case"])
    pairs, case = np.unique(patient * len(names) + name, return_inverse=True)
    shape = (len(methods), *(len(found) for found, _ in places), len(pairs), len(regions))
    flat = np.ravel_multi_index((method, *(code for _, code in places), case, region), shape)
    grid = np.full(int(np.prod(shape)), np.nan)
    grid[flat] = values
    filled = int((~np.isnan(grid)).sum())
    if filled != len(values):
        raise DataError(
            f"Dataset '{dataset}': {len(values) - filled} results for '{metric}' stand twice for the same method, "
            "fold, seed, case and region.",
            hint="Two variants of the study carry the same label: give each its own.",
        )
    return Grid(
        dataset,
        metric,
        tuple(str(each) for each in methods),
        tuple(int(each) for each in places[1][0]),
        tuple(str(names[pair % len(names)]) for pair in pairs),
        tuple(str(each) for each in patients),
        np.asarray(pairs // len(names), dtype=np.intp),
        tuple(str(each) for each in regions),
        grid.reshape(shape),
    )


def patient_table(
    grid: Grid, region: str = MEAN_REGION, *, regions: Sequence[str] | None = None, unfinished: Sequence[str] = ()
) -> Patients:
    """One value a patient and method.

    A method with fewer results than the others have between them gets no column: its mean would stand on other cases.

    Args:
        grid: Results.
        region: A region, or :data:`MEAN_REGION`.
        regions: Regions of the mean; all of the grid by default.
        unfinished: Methods with a cell that failed or has not finished.

    Raises:
        DataError: A region is not in the results.
    """
    wanted = list(regions or grid.regions) if region == MEAN_REGION else [region]
    if unknown := [each for each in wanted if each not in grid.regions]:
        raise DataError(
            f"Dataset '{grid.dataset}' has no region '{unknown[0]}'.", hint=f"Scored: {', '.join(grid.regions)}."
        )
    values = grid.values[..., [grid.regions.index(each) for each in wanted]]
    excluded: dict[str, str] = {}
    for name in unfinished:
        excluded[name] = f"{name}: a cell failed or has not finished"
    # What any method has, every ranked method must have: places by fold, seed, case and region.
    expected = ~np.isnan(values).all(axis=0)
    whole = expected.all(axis=-1)
    for number, name in enumerate(grid.methods):
        mine = values[number]
        lacking = expected & np.isnan(mine)
        if name not in excluded and lacking.any():
            example = grid.cases[int(np.argwhere(lacking)[0][2])]
            have = int(expected.sum() - lacking.sum())
            excluded[name] = f"{name}: {have} of {int(expected.sum())} results, e.g. none for case {example}"
        elif name not in excluded and np.isinf(mine).any():
            excluded[name] = f"{name}: {int(np.isinf(mine).sum())} results are infinite, so it has no mean"
    caveats = []
    if dropped := int((expected.any(axis=-1) & ~whole).sum()):
        caveats.append(f"{dropped} results lack a region for every method and are left out of the mean over regions")
    kept = [number for number, name in enumerate(grid.methods) if name not in excluded]
    names = [grid.methods[number] for number in kept]
    # Cases that no method has in full are left out; every other case has the same runs for every kept method.
    cases = whole.reshape(-1, whole.shape[-1]).any(axis=0)
    used = np.where(whole, values[kept].mean(axis=-1), np.nan)[..., cases]
    patients, patient_of = np.unique(grid.patient_of[cases], return_inverse=True)
    by_case = _mean(used.reshape(len(kept), -1, used.shape[-1]), axis=1)
    index = pd.Index([grid.patients[number] for number in patients], name="patient")
    table = pd.DataFrame(_per_patient(by_case, patient_of).T, index=index, columns=names)
    # The mean over patients of one seed; NaN where the seed was not run on every case.
    seeds = [_per_patient(_mean(used[:, :, number], axis=1), patient_of) for number in range(len(grid.seeds))]
    by_seed = pd.DataFrame({seed: found.mean(axis=1) for seed, found in zip(grid.seeds, seeds, strict=True)}, names)
    return Patients(table, by_seed, excluded, tuple(caveats))


def _per_patient(values: NDArray[np.float64], patient_of: NDArray[np.intp]) -> NDArray[np.float64]:
    """Methods x cases to methods x patients; NaN where a case of the patient has none."""
    counts = np.bincount(patient_of)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return np.asarray(np.add.reduceat(values, starts, axis=1) / counts)


def _mean(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Mean of what is there; NaN, without a warning, where nothing is."""
    there = ~np.isnan(values)
    count = there.sum(axis=axis)
    total = np.where(there, values, 0).sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _codes(column: pd.Series) -> tuple[list[Any], NDArray[np.intp]]:
    """Sorted distinct names and, for each row, its place among them."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.cat.remove_unused_categories()
        names = column.cat.categories.to_numpy()
        order = np.argsort(names, kind="stable")
        place = np.empty(len(names), dtype=np.intp)
        place[order] = np.arange(len(names))
        return list(names[order]), place[column.cat.codes.to_numpy()]
    codes, found = pd.factorize(column, sort=True)
    return list(found), np.asarray(codes, dtype=np.intp)
