"""From the long table of results to one value per patient and method.

Results are placed in a dense grid (methods x folds x seeds x cases x regions) by their names, never by row order, so
that every later sum has the same terms in the same order whatever the order of the rows.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.errors import DataError

#: The region that stands for the mean over the regions of a case, taken within the case.
MEAN_REGION = "Mean"

_PLACE = ("fold", "seed")
_ABSENT, _SCORED, _EMPTY, _MISSING, _SKIPPED = range(5)


class NothingCounts(DataError):
    """The policy left out every test there is: the metric has no mean here, and the others are not touched by that."""


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
        origin: How each result came about: 0 absent, 1 scored, 2 set by the empty-region policy, 3 no prediction,
            4 skipped by the policy ``nan_skip``.
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
    origin: NDArray[np.uint8]


@dataclass(frozen=True)
class Counts:
    """Results of one method: tests of a case by one trained network, in all regions asked for.

    Attributes:
        results: What there is.
        expected: What the finished methods have between them.
        missing: Results without a prediction.
        empty: Results whose value the policy for empty regions set.
        mean_scored: Mean over patients of results in which truth and prediction both show the region; NaN where there
            are none. It leaves out the 0 that Dice has where one of them is empty.
    """

    results: int
    expected: int
    missing: int
    empty: int
    mean_scored: float


@dataclass(frozen=True)
class Patients:
    """One value per patient and method: cases of a patient and seeds averaged.

    Attributes:
        values: Patients x methods that have every result, both sorted by name.
        partial: Patients x methods that lack results, NaN where a patient has none; shown, never compared.
        by_case: Cases x all of these methods, seeds averaged; the index is patient and case.
        by_seed: Methods x seeds: mean over patients of each seed on its own; NaN where a seed lacks a case.
        counts: How many results stand behind each of these methods.
        excluded: Why a method is not in ``values``, by method.
        caveats: What else a reader must know.
    """

    values: pd.DataFrame
    partial: pd.DataFrame
    by_case: pd.DataFrame
    by_seed: pd.DataFrame
    counts: dict[str, Counts]
    excluded: dict[str, str]
    caveats: tuple[str, ...] = ()


def build_grid(rows: pd.DataFrame, dataset: str, metric: str) -> Grid:
    """Places the results of one dataset and metric in a grid.

    Args:
        rows: Rows of that dataset and metric, with columns ``method``, ``fold``, ``seed``, ``patient``, ``case``,
            ``region``, ``value`` and, optionally, ``status``.
        dataset: Dataset name, for messages.
        metric: Metric name, for messages.

    Raises:
        DataError: There is no row, a value is absent, a place is filled twice, or a region is called like the mean.
    """
    if rows.empty:
        raise DataError(f"Dataset '{dataset}' has no results for '{metric}'.", hint="Run the study first.")
    values = rows["value"].to_numpy(dtype=float)
    if np.isnan(values).any():
        first = rows.iloc[int(np.isnan(values).argmax())]
        raise DataError(
            f"Dataset '{dataset}': {int(np.isnan(values).sum())} results for '{metric}' have no value, "
            f"e.g. case '{first['case']}', region '{first['region']}'.",
            hint="Empty and missing cases carry the value their policy gives them. Score these cells again.",
        )
    methods, method = _codes(rows["method"])
    places = [_codes(rows[name]) for name in _PLACE]
    regions, region = _codes(rows["region"])
    if MEAN_REGION in regions:
        raise DataError(
            f"Dataset '{dataset}' has a region '{MEAN_REGION}', the name of the mean over regions.",
            hint="Rename the region in the dataset.",
        )
    patients, patient = _codes(rows["patient"])
    names, name = _codes(rows["case"])
    pairs, case = np.unique(patient * len(names) + name, return_inverse=True)
    shape = (len(methods), *(len(found) for found, _ in places), len(pairs), len(regions))
    flat = np.ravel_multi_index((method, *(code for _, code in places), case, region), shape)
    origin = np.full(int(np.prod(shape)), _ABSENT, dtype=np.uint8)
    origin[flat] = _origins(rows)
    if (filled := int((origin != _ABSENT).sum())) != len(values):
        raise DataError(
            f"Dataset '{dataset}': {len(values) - filled} results for '{metric}' are repeated: the same method, "
            "fold, seed, case and region.",
            hint="Two variants of the study carry the same label: give each its own.",
        )
    grid = np.full(origin.shape, np.nan)
    grid[flat] = values
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
        origin.reshape(shape),
    )


def patient_table(
    grid: Grid,
    region: str = MEAN_REGION,
    *,
    regions: Sequence[str] | None = None,
    unfinished: Collection[str] = (),
) -> Patients:
    """One value per patient and method.

    A method with fewer results than the finished ones have between them is not compared: its mean would stand on other
    cases than theirs.

    Args:
        grid: Results.
        region: A region, or :data:`MEAN_REGION`.
        regions: Regions of the mean; all of the grid by default. One without any result is left out, with a caveat.
        unfinished: Methods with a cell that failed or has not finished: they get no value at all.

    Raises:
        DataError: The region is not in the results.
        NothingCounts: No test has a value that counts in it.
    """
    wanted, caveats = _wanted(grid, region, regions)
    places = [grid.regions.index(each) for each in wanted]
    values, origin = grid.values[..., places], grid.origin[..., places]
    finished = [number for number, name in enumerate(grid.methods) if name not in unfinished]
    # A test that is skipped for one finished method is left out for all: means over different cases are not compared.
    skipped = (origin[finished] == _SKIPPED).any(axis=(0, -1))
    if count := int(skipped.sum()):
        values, origin = values.copy(), origin.copy()
        values[:, skipped], origin[:, skipped] = np.nan, _ABSENT
        tests = "1 test of a case" if count == 1 else f"{count} tests of cases"
        caveats.append(f"left out for every method, because one cannot be computed (policy nan_skip): {tests}")
    # What any finished method has, every ranked method must have: places by fold, seed, case and region.
    expected = (origin[finished] != _ABSENT).any(axis=0)
    whole = expected.all(axis=-1)
    excluded = {name: f"{name}: a cell failed or has not finished" for name in unfinished}
    excluded |= _incomplete(grid, values, expected, finished)
    if dropped := int((expected.any(axis=-1) & ~whole).sum()):
        caveats.append(f"{dropped} results lack a region for every method and are left out of the mean over regions")
    if finished and not whole.any():
        raise NothingCounts(
            f"Dataset '{grid.dataset}': no test has a value of '{grid.metric}' that counts in {', '.join(wanted)}.",
            hint="Score with a policy that gives empty regions a value, e.g. 'worst'.",
        )
    # Cases that no method has in full are left out; every other case has the same runs for every complete method.
    cases = whole.reshape(-1, whole.shape[-1]).any(axis=0)
    runs = values[finished].mean(axis=-1)[..., cases]
    names = [grid.methods[number] for number in finished]
    index = pd.MultiIndex.from_arrays(
        [
            [grid.patients[grid.patient_of[case]] for case in np.flatnonzero(cases)],
            [grid.cases[case] for case in np.flatnonzero(cases)],
        ],
        names=["patient", "case"],
    )
    by_case = _mean(runs.reshape(len(finished), -1, runs.shape[-1]), axis=1)
    patients, patient_of = np.unique(grid.patient_of[cases], return_inverse=True)
    table = pd.DataFrame(
        _per_patient(by_case, patient_of).T,
        index=pd.Index([grid.patients[number] for number in patients], name="patient"),
        columns=names,
    )
    seeds = [_per_patient(_mean(runs[:, :, number], axis=1), patient_of, whole=True) for number in range(runs.shape[2])]
    by_seed = pd.DataFrame({seed: each.mean(axis=1) for seed, each in zip(grid.seeds, seeds, strict=True)}, names)
    return Patients(
        values=table[[name for name in names if name not in excluded]],
        partial=table[[name for name in names if name in excluded]],
        by_case=pd.DataFrame(by_case.T, index=index, columns=names),
        by_seed=by_seed,
        counts=_counts(grid, finished, values, origin, int(whole.sum())),
        excluded=excluded,
        caveats=tuple(caveats),
    )


def _wanted(grid: Grid, region: str, regions: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """Regions to average, and what to say where one of them has no result."""
    if region != MEAN_REGION:
        if region not in grid.regions:
            raise DataError(
                f"Dataset '{grid.dataset}' has no region '{region}'.", hint=f"Scored: {', '.join(grid.regions)}."
            )
        return [region], []
    declared = list(regions or grid.regions)
    present = [each for each in declared if each in grid.regions]
    if not present:
        raise DataError(
            f"Dataset '{grid.dataset}' has no result for '{grid.metric}' in any of {', '.join(declared)}.",
            hint=f"Scored: {', '.join(grid.regions)}.",
        )
    absent = [each for each in declared if each not in present]
    said = f"no method has results for {', '.join(absent)}: the mean is over {', '.join(present)}"
    return present, [said] if absent else []


def _incomplete(
    grid: Grid, values: NDArray[np.float64], expected: NDArray[np.bool_], finished: Sequence[int]
) -> dict[str, str]:
    """Methods with fewer results than expected or with one that no mean can hold, each with the reason."""
    reasons = {}
    for number in finished:
        name, mine = grid.methods[number], values[number]
        lacking = expected & np.isnan(mine)
        if lacking.any():
            example = grid.cases[int(np.argwhere(lacking)[0][2])]
            have, needed = int(expected.sum() - lacking.sum()), int(expected.sum())
            reasons[name] = f"{name}: {have} of {needed} results, e.g. none for case {example}"
        elif np.isinf(mine).any():
            reasons[name] = f"{name}: {int(np.isinf(mine).sum())} results are infinite, so it has no mean"
    return reasons


def _counts(
    grid: Grid, finished: Sequence[int], values: NDArray[np.float64], origin: NDArray[np.uint8], expected: int
) -> dict[str, Counts]:
    """How many results stand behind each method, and its mean without those that a policy set."""
    found = {}
    for number in finished:
        mine = origin[number]
        measured = np.where((mine == _SCORED).all(axis=-1), values[number].mean(axis=-1), np.nan)
        by_case = _mean(measured.reshape(-1, measured.shape[-1]), axis=0)
        by_patient = _by_patient(by_case, grid.patient_of)
        found[grid.methods[number]] = Counts(
            results=int((mine != _ABSENT).all(axis=-1).sum()),
            expected=expected,
            missing=int((mine == _MISSING).any(axis=-1).sum()),
            empty=int((mine == _EMPTY).any(axis=-1).sum()),
            mean_scored=float(by_patient.mean()),
        )
    return found


def _by_patient(by_case: NDArray[np.float64], patient_of: NDArray[np.intp]) -> "pd.Series[float]":
    """Mean of the cases there are of each patient."""
    if len(np.unique(patient_of)) == len(by_case):  # each case is a patient, mostly
        return pd.Series(by_case[np.argsort(patient_of)])
    return pd.Series(by_case).groupby(patient_of).mean()


def _origins(rows: pd.DataFrame) -> NDArray[np.uint8] | int:
    if "status" not in rows:
        return _SCORED
    names, codes = _codes(rows["status"])
    known = {"scored": _SCORED, "missing": _MISSING, "skipped": _SKIPPED}
    return np.array([known.get(str(name), _EMPTY) for name in names], dtype=np.uint8)[codes]


def _per_patient(
    values: NDArray[np.float64], patient_of: NDArray[np.intp], *, whole: bool = False
) -> NDArray[np.float64]:
    """Methods x cases to methods x patients: the mean of the cases there are; with ``whole`` NaN where one has none."""
    starts = np.concatenate([[0], np.cumsum(np.bincount(patient_of))[:-1]])
    there = ~np.isnan(values)
    totals = np.add.reduceat(values if whole else np.where(there, values, 0), starts, axis=1)
    counts = np.add.reduceat(np.ones_like(values) if whole else there.astype(float), starts, axis=1)
    return np.asarray(np.where(counts > 0, totals / np.maximum(counts, 1), np.nan))


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
        column = column.cat.reorder_categories(sorted(column.cat.categories))
        return list(column.cat.categories), np.asarray(column.cat.codes, dtype=np.intp)
    codes, found = pd.factorize(column, sort=True)
    return list(found), np.asarray(codes, dtype=np.intp)
