"""The statistics: each case first, then over cases.

Seeds are averaged within a case, folds are pooled (a case is tested in one fold), and only then are cases summarised.
A variant with a cell that failed or has not finished gets no mean, and one with fewer results than its neighbours is
marked, so that two unmarked means always stand on the same cases.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from harness.errors import HarnessError
from harness.report.metrics import metric_style
from harness.report.variants import Variant, datasets_of, reference_of, regions_of, variant_status, variants_of
from harness.results.schema import StudyResults

__all__ = ["MEAN_REGION", "differences", "floor_summary", "per_case", "summarise"]

#: Pseudo-region: the mean over the regions of a case, taken within the case.
MEAN_REGION = "Mean"

_VARIANT = ["dataset", "label", "leading"]
_CASE = ["patient", "case"]
_SCORE = ["region", "metric"]
_RUN = ["fold", "seed"]


def per_case(results: StudyResults) -> pd.DataFrame:
    """One row a dataset, variant, case, region and metric, seeds averaged, with the pseudo-region :data:`MEAN_REGION`.

    Returns:
        Columns ``dataset, label, leading, patient, case, region, metric, value, n_runs, n_missing, n_empty``.
        ``n_runs`` counts the results behind ``value``, ``n_missing`` and ``n_empty`` those set by policy. Variants that
        are not complete are included; rows come in a fixed order whatever the order of the input.

    Raises:
        HarnessError: A value is absent, a row is there twice, or it belongs to no cell of the study.
    """
    return _average(_results(results), [*_VARIANT, *_CASE, *_SCORE])


def summarise(results: StudyResults) -> pd.DataFrame:
    """One row a dataset, variant, metric and region: what the tables print.

    Returns:
        Columns ``dataset, label, leading, metric, region, status, mean, sd, median, q1, q3, iqr, n, n_patients,
        n_runs, n_expected, comparable, n_missing, n_empty, mark``. ``n`` counts cases, ``n_runs`` results (cases times
        seeds) and ``n_expected`` the results that the complete variants have between them in any column; a row with
        fewer is not ``comparable`` and never ranked. ``mark`` is ``best``, ``second`` or ``''``. Variants that are not
        complete have NaN statistics and ``n`` 0.
    """
    runs = _results(results)
    cases = _grouped(_average(runs, [*_VARIANT, *_CASE, *_SCORE]), [*_VARIANT, *_SCORE])
    rows: list[dict[str, object]] = []
    for dataset in datasets_of(results):
        variants = variants_of(results, dataset)
        status = {variant: variant_status(results, dataset, variant) for variant in variants}
        complete = [variant for variant in variants if status[variant] == "complete"]
        expected = len(_tested(runs, dataset, complete, [*_RUN, *_CASE]))
        columns = []
        for metric, region in _scores(results, dataset):
            column = [
                {"dataset": dataset, **variant._asdict(), "metric": metric, "region": region, "status": status[variant]}
                | _statistics(cases.get((dataset, *variant, region, metric)) if variant in complete else None)
                | {"n_expected": expected}
                for variant in variants
            ]
            columns.append(_ranked(column, metric))
        rows.extend(row for variant in zip(*columns, strict=True) for row in variant)
    return pd.DataFrame(rows, columns=_SUMMARY_COLUMNS)


def differences(results: StudyResults) -> pd.DataFrame:
    """Mean paired difference to the reference, variant minus reference, over the cases both have.

    Returns:
        Columns ``dataset, label, leading, reference, reference_leading, metric, region, status, comparable, n, mean,
        sd``. ``status`` is that of the variant, or of the reference where the variant is complete; only ``complete``
        has a mean. ``comparable`` holds where it holds for both in :func:`summarise`. Empty without a reference.
    """
    cases = _grouped(per_case(results), [*_VARIANT, *_SCORE])
    table = summarise(results)
    states = dict(
        zip(_keys(table, [*_VARIANT, "metric", "region"]), _keys(table, ["status", "comparable"]), strict=True)
    )
    rows = []
    for dataset in datasets_of(results):
        pairs = [(variant, reference_of(results, dataset, variant)) for variant in variants_of(results, dataset)]
        for (variant, reference), (metric, region) in itertools.product(pairs, _scores(results, dataset)):
            if reference is None:
                continue
            both = [states[dataset, *each, metric, region] for each in (variant, reference)]
            status = next((state for state, _ in both if state != "complete"), "complete")
            ours, theirs = (cases.get((dataset, *each, region, metric)) for each in (variant, reference))
            delta = _paired(ours, theirs) if status == "complete" else pd.Series(dtype=float)
            rows.append(
                {
                    "dataset": dataset,
                    **variant._asdict(),
                    "reference": reference.label,
                    "reference_leading": reference.leading,
                    "metric": metric,
                    "region": region,
                    "status": status,
                    "comparable": all(comparable for _, comparable in both),
                    "n": len(delta),
                    "mean": float(delta.mean()),
                    "sd": float(delta.std(ddof=1)),
                }
            )
    return pd.DataFrame(rows, columns=_DIFFERENCE_COLUMNS)


def floor_summary(results: StudyResults) -> pd.DataFrame:
    """What the trivial methods score on the cases the variants were tested on; never ranked.

    Returns:
        Columns ``dataset, floor, metric, region, mean, sd, median, q1, q3, iqr, n, n_patients, n_runs, n_missing,
        n_empty, n_expected, comparable``.
    """
    floors = _with_mean(_checked(results.floors, results), ["dataset", "floor", "fold", *_CASE], results)
    tested = _results(results)
    rows = []
    for dataset in datasets_of(results):
        cases = set(_keys(tested[tested["dataset"] == dataset], ["fold", *_CASE]))
        here = floors[floors["dataset"] == dataset]
        if cases:
            here = here[pd.Series([key in cases for key in _keys(here, ["fold", *_CASE])], here.index, dtype=bool)]
        groups = _grouped(_average(here, ["floor", *_CASE, *_SCORE]), ["floor", *_SCORE])
        for name, (metric, region) in itertools.product(sorted(set(here["floor"])), _scores(results, dataset)):
            found = _statistics(groups.get((name, region, metric)))
            expected = len(cases) or found["n_runs"]
            row = {"dataset": dataset, "floor": name, "metric": metric, "region": region} | found
            rows.append(row | {"n_expected": expected, "comparable": found["n_runs"] == expected})
    return pd.DataFrame(rows, columns=_FLOOR_COLUMNS)


_STATISTICS = ["mean", "sd", "median", "q1", "q3", "iqr", "n", "n_patients", "n_runs"]
_POLICY = ["n_missing", "n_empty"]
_SUMMARY_COLUMNS = [
    *_VARIANT,
    "metric",
    "region",
    "status",
    *_STATISTICS,
    "n_expected",
    "comparable",
    *_POLICY,
    "mark",
]
_DIFFERENCE_COLUMNS = [
    *_VARIANT,
    "reference",
    "reference_leading",
    "metric",
    "region",
    "status",
    "comparable",
    "n",
    "mean",
    "sd",
]
_FLOOR_COLUMNS = ["dataset", "floor", "metric", "region", *_STATISTICS, *_POLICY, "n_expected", "comparable"]


def _scores(results: StudyResults, dataset: str) -> list[tuple[str, str]]:
    regions = [*regions_of(results, dataset), MEAN_REGION]
    return [(metric, region) for metric in results.metrics for region in regions]


def _keys(frame: pd.DataFrame, columns: Sequence[str]) -> list[tuple[object, ...]]:
    return list(zip(*(frame[column].tolist() for column in columns), strict=True))


def _tested(
    runs: pd.DataFrame, dataset: str, variants: Sequence[Variant], columns: Sequence[str]
) -> set[tuple[object, ...]]:
    """What the variants were tested on between them, in any region or metric."""
    here = runs[runs["dataset"] == dataset]
    return {key for variant in variants for key in _keys(_of_variant(here, variant), columns)}


def _of_variant(frame: pd.DataFrame, variant: Variant) -> pd.DataFrame:
    return frame[(frame["label"] == variant.label) & (frame["leading"] == variant.leading)]


def _results(results: StudyResults) -> pd.DataFrame:
    """Single results (one a fold, seed, case, region and metric), checked, with the mean region."""
    strangers = sorted(set(results.cases["cell"]) - set(results.cells["cell"]))
    if strangers:
        raise HarnessError(
            f"{len(strangers)} cells have results but do not belong to the study, e.g. '{strangers[0]}'.",
            hint="Load the results of this study again; a store is never edited by hand.",
        )
    return _with_mean(_checked(results.cases, results), [*_VARIANT, *_RUN, *_CASE], results)


def _checked(rows: pd.DataFrame, results: StudyResults) -> pd.DataFrame:
    """The rows of the study's metrics, with statuses as counts."""
    rows = rows[rows["metric"].isin(results.metrics)]
    if rows["value"].isna().any():
        first = rows[rows["value"].isna()].iloc[0]
        raise HarnessError(
            f"A result has no value: dataset '{first['dataset']}', case '{first['case']}', "
            f"region '{first['region']}', metric '{first['metric']}'.",
            hint="Empty and missing cases carry the value their policy gives them. Score this cell again.",
        )
    if (rows["region"] == MEAN_REGION).any():
        raise HarnessError(
            f"A region is called '{MEAN_REGION}', which the report uses for the mean over regions.",
            hint="Rename the region in the dataset.",
        )
    return rows.assign(
        value=rows["value"].astype(float),
        n_missing=(rows["status"] == "missing").astype(int),
        n_empty=rows["status"].isin(["empty_both", "empty_one"]).astype(int),
    )


def _with_mean(rows: pd.DataFrame, keys: Sequence[str], results: StudyResults) -> pd.DataFrame:
    """Appends the mean over regions of each case, where the case has them all, and sorts.

    Sorting comes before every sum: floating-point sums depend on the order of their terms, and a report must not
    depend on the order in which cells finished.
    """
    if rows.duplicated([*keys, *_SCORE]).any():
        first = rows[rows.duplicated([*keys, *_SCORE])].iloc[0]
        raise HarnessError(
            f"Case '{first['case']}' of dataset '{first['dataset']}' has two results for region '{first['region']}', "
            f"metric '{first['metric']}' where there can be one.",
            hint="Two variants of the study carry the same label: give each its own.",
        )
    columns = [*keys, *_SCORE, "value", *_POLICY]
    rows = rows[columns].sort_values([*keys, *_SCORE], ignore_index=True)
    declared = {name: facts.regions for name, facts in results.datasets.items()}
    wanted = {name: len(regions) for name, regions in declared.items()}
    pairs = zip(rows["dataset"], rows["region"], strict=True)
    averaged = pd.Series([region in declared[name] for name, region in pairs], rows.index, dtype=bool)
    grouped = rows[averaged].groupby([*keys, "metric"], sort=True)
    means = grouped.agg(
        value=("value", "mean"), n_missing=("n_missing", "max"), n_empty=("n_empty", "max"), n=("value", "size")
    ).reset_index()
    whole = means[means["n"] == means["dataset"].map(wanted)].assign(region=MEAN_REGION)
    return pd.concat([rows, whole[columns]], ignore_index=True)


def _average(runs: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Averages results that share the keys: seeds within a case."""
    return (
        runs.groupby(list(keys), sort=True)
        .agg(
            value=("value", "mean"),
            n_runs=("value", "size"),
            n_missing=("n_missing", "sum"),
            n_empty=("n_empty", "sum"),
        )
        .reset_index()
    )


def _grouped(cases: pd.DataFrame, keys: Sequence[str]) -> dict[tuple[object, ...], pd.DataFrame]:
    places: dict[tuple[object, ...], list[int]] = {}
    for place, key in enumerate(_keys(cases, keys)):
        places.setdefault(key, []).append(place)
    return {key: cases.iloc[rows] for key, rows in places.items()}


def _statistics(cases: pd.DataFrame | None) -> dict[str, object]:
    """Statistics over the cases of one variant, region and metric; NaN where there are too few cases."""
    values = cases["value"].to_numpy(dtype=float) if cases is not None else np.empty(0)
    n = len(values)
    q1, median, q3 = (float(each) for each in np.quantile(values, [0.25, 0.5, 0.75])) if n else (math.nan,) * 3
    return {
        "mean": float(values.mean()) if n else math.nan,
        "sd": float(values.std(ddof=1)) if n > 1 else math.nan,
        "median": median,
        "q1": q1,
        "q3": q3,
        "iqr": q3 - q1,
        "n": n,
        "n_patients": int(cases["patient"].nunique()) if cases is not None else 0,
        **{name: int(cases[name].sum()) if cases is not None else 0 for name in ("n_runs", *_POLICY)},
    }


def _ranked(column: list[dict[str, object]], metric: str) -> list[dict[str, object]]:
    """Adds ``comparable`` and ``mark`` to the rows of one column of a table.

    Means equal at printed precision share a mark; a column with one ranked variant has no best.
    """
    style = metric_style(metric)
    ranked: dict[int, float] = {}
    for index, row in enumerate(column):
        row["comparable"] = row["status"] == "complete" and row["n_runs"] == row["n_expected"]
        mean = row["mean"]
        if row["comparable"] and isinstance(mean, float) and not math.isnan(mean):
            ranked[index] = style.rounded(mean)
    places = sorted(set(ranked.values()), reverse=style.higher_is_better)
    names = dict(zip(places, ("best", "second"), strict=False)) if len(ranked) > 1 else {}
    for index, row in enumerate(column):
        row["mark"] = names.get(ranked[index], "") if index in ranked else ""
    return column


def _paired(ours: pd.DataFrame | None, theirs: pd.DataFrame | None) -> pd.Series[float]:
    """Per-case differences, matched by patient and case and never by row order."""
    if ours is None or theirs is None:
        return pd.Series(dtype=float)
    pairs = ours.merge(theirs, on=_CASE, suffixes=("", "_reference"), validate="one_to_one")
    return pairs["value"] - pairs["value_reference"]
