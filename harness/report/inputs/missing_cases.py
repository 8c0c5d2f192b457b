"""Which cases a method lacks that others have, and what they and empty regions count."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from harness.alike import name_some
from harness.evaluation import METRICS
from harness.evaluation.policy import EmptyPolicy
from harness.report.inputs.readers.source import Source

_PLACE = ["dataset", "fold", "case"]


def align_folds(sources: Sequence[Source], tested: pd.DataFrame) -> tuple[list[Source], tuple[str, ...]]:
    """Gives a case the same fold in all sources, so that every method is compared on every case.

    Args:
        sources: What was read.
        tested: Cases of a study, with columns ``dataset``, ``case`` and ``fold``; empty for none.

    Returns:
        The sources, and what was changed. A file without folds takes them from the others. Where two say different
        folds of a case, folds are dropped: pooled over them, each case counts once all the same.
    """
    stated = [source.rows[[*_PLACE]] for source in sources if source.has_folds] + [tested[[*_PLACE]]]
    known = pd.concat(stated).astype({"dataset": str, "case": str}).drop_duplicates()
    doubtful = known.loc[known.duplicated(["dataset", "case"]), "dataset"].unique()
    if len(tested):
        known = known[~known["dataset"].isin(doubtful)]
        return [one if one.has_folds or one.lists_missing else _in_folds(one, known) for one in sources], ()
    aligned = [source if source.has_folds else _in_folds(source, known) for source in sources]
    notes = tuple(
        f"{dataset}: methods were tested in different folds, so the folds are not told apart. Each case counts once."
        for dataset in doubtful
    )
    return [_pooled(source, set(doubtful)) for source in aligned], notes


def _in_folds(source: Source, known: pd.DataFrame) -> Source:
    folds = known.drop_duplicates(["dataset", "case"])
    keys = source.rows[["dataset", "case"]].astype(str)
    found = keys.merge(folds, on=["dataset", "case"], how="left")["fold"].to_numpy(dtype=float)
    return replace(source, rows=source.rows.assign(fold=np.where(np.isnan(found), source.rows["fold"], found)))


def _pooled(source: Source, datasets: set[str]) -> Source:
    mine = source.rows["dataset"].isin(datasets)
    return replace(source, rows=source.rows.assign(fold=source.rows["fold"].where(~mine, 0))) if mine.any() else source


def add_missing(sources: Sequence[Source], tested: pd.DataFrame) -> tuple[list[Source], tuple[str, ...]]:
    """Adds rows for the cases that a method lacks and others have; they count as worst.

    In a fold of which a method has no case at all nothing is missing: it was not tested there.

    Args:
        sources: What was read.
        tested: Cases of a study, with columns ``dataset``, ``fold``, ``patient`` and ``case``; empty for none.

    Returns:
        The sources, and the cases that each method lacks.
    """
    place = [*_PLACE, "patient"]
    every = pd.concat([tested[place], *(source.rows[place] for source in sources)]).drop_duplicates(_PLACE)
    made, notes = [], []
    for source in sources:
        if source.lists_missing and len(tested):
            made.append(source)
            continue
        added = list(_lacking(source, every))
        rows = pd.concat([source.rows, *added]) if added else source.rows
        made.append(replace(source, rows=rows, where=_named(source)))
        for part in added:
            names = list(dict.fromkeys(part["case"]))
            label, dataset = part["label"].iloc[0], part["dataset"].iloc[0]
            counted = f"{len(names)} cases have" if len(names) > 1 else "1 case has"
            notes.append(
                f"{label} on {dataset}: {counted} no result and "
                f"{'count' if len(names) > 1 else 'counts'} as worst: {name_some(sorted(names), 20)}."
            )
    return made, tuple(notes)


def _lacking(source: Source, every: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yields the missing rows of each method, dataset and seed."""
    for (label, dataset, seed), mine in source.rows.groupby(["label", "dataset", "seed"], sort=False):
        expected = every[(every["dataset"] == dataset) & every["fold"].isin(mine["fold"].unique())]
        absent = expected[~expected["case"].isin(mine["case"].unique())]
        if absent.empty:
            continue
        scores = pd.MultiIndex.from_product([source.regions[str(dataset)], mine["metric"].unique()])
        rows = absent.merge(scores.to_frame(index=False, name=["region", "metric"]), how="cross")
        fixed = {"label": label, "method": mine["method"].iloc[0], "leading": mine["leading"].iloc[0], "seed": seed}
        rows = rows.assign(**fixed, value=math.nan, status="missing")
        yield rows.set_axis(np.full(len(rows), -1), axis=0)


def _named(source: Source) -> Callable[[int], str]:
    return lambda row: source.where(row) if row >= 0 else "a missing case"


def settle(rows: pd.DataFrame, policy: EmptyPolicy) -> pd.DataFrame:
    """Returns rows whose values without masks are those of a policy.

    A distance without a prediction, or with one empty mask under a policy without a penalty, is at most the diagonal of
    an image that the files do not describe: it is infinite.

    Args:
        rows: Rows of a source; values to be set are NaN.
        policy: The policy.
    """
    values = rows["value"].to_numpy(dtype=float, copy=True)
    open_ones = np.isnan(values) & (rows["status"] != "scored").to_numpy()
    if not open_ones.any():
        return rows
    parts = rows.loc[open_ones, ["metric", "status"]].drop_duplicates()
    for metric, status in parts.itertuples(index=False):
        mine = open_ones & ((rows["metric"] == metric) & (rows["status"] == status)).to_numpy()
        values[mine] = _value(str(metric), str(status), policy)
    return rows.assign(value=values)


def _value(name: str, status: str, policy: EmptyPolicy) -> float:
    if not METRICS.knows(name):
        return math.nan  # refused by its name
    metric = METRICS.get(name)
    best, worst = (metric.highest, metric.lowest) if metric.higher_is_better else (metric.lowest, metric.highest)
    if status == "empty_both":
        return best
    return policy.penalty_mm if metric.is_penalised and policy.penalty_mm is not None else worst
