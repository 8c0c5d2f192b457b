"""Scores of empty regions by another policy than that of the test, from the stored rows alone.

``result/masks.parquet`` says of each case and region that a cell was tested on what a policy goes by: which masks are
empty, and the shape and voxel size of the case. Cells tested before version 0.3.0 have no such file, nor have results
of others. What follows from their rows all the same is computed; for the rest the error says how to have it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.errors import HarnessError
from harness.evaluation import METRICS
from harness.evaluation.contract import Metric
from harness.evaluation.policy import POLICIES, EmptyPolicy, empty_policy, image_diagonal
from harness.results.schema import StudyResults
from harness.results.store import CellFolder

#: File of a cell's result.
MASKS_FILE = "masks.parquet"

_MASKS = ["cell", "dataset", "case", "region", "masks", "truth_is_empty", "diagonal"]

#: What one region of one test is told apart by, as far as a table has it.
_TEST = ("label", "floor", "cell", "present", "fill", "dataset", "fold", "case", "region")

#: The policy in an implementation, as :func:`harness.evaluation.scoring.score_case` writes it.
_POLICY = re.compile(rf"(?<=; empty: )({'|'.join(POLICIES)}|[\d.]+mm)(?=;|$)")


def masks_of(cells: Iterable[CellFolder]) -> pd.DataFrame:
    """Returns what is stored of the masks of finished cells: one row per cell, case and region.

    Args:
        cells: The cells; those that store nothing, and those whose tables are damaged, have no row.
    """
    parts = []
    for cell in {cell.id: cell for cell in cells}.values():
        if cell.status() != "done" or not (path := cell.result / MASKS_FILE).is_file():
            continue
        rows = pd.read_parquet(path).rename(columns={"status": "masks"})
        sizes = zip(rows["shape"], rows["spacing"], strict=True)
        diagonals = [image_diagonal(shape, spacing) for shape, spacing in sizes]
        parts.append(rows.assign(cell=cell.id, dataset=cell.record().dataset, diagonal=diagonals)[_MASKS])
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=_MASKS)


def under_policy(results: StudyResults, name: str, masks: pd.DataFrame) -> StudyResults:
    """Returns results whose empty regions follow one policy; measured values stay as they are.

    So do metrics with rules of their own, and those with a policy in their name, such as ``hd95_brats``.

    Args:
        results: Results of a study, with those of others.
        name: Name of the policy.
        masks: Rows of :func:`masks_of`.

    Raises:
        HarnessError: There is no such policy, or a value follows neither from the rows nor from the masks.
    """
    policy = empty_policy(name)
    return replace(
        results,
        empty=policy.name,
        cases=_under_policy(results.cases, policy, masks),
        subsets=_under_policy(results.subsets, policy, masks),
        floors=_under_policy(results.floors, policy, masks),
    )


def _under_policy(rows: pd.DataFrame, policy: EmptyPolicy, masks: pd.DataFrame) -> pd.DataFrame:
    known = {name: METRICS.get(name) for name in rows["metric"].unique() if METRICS.knows(name)}
    metrics = {name: metric for name, metric in known.items() if not metric.own_rules and not metric.policy}
    follows = rows["metric"].isin(list(metrics))
    unmeasured = _with_masks(rows, follows & (rows["status"] != "scored"), masks)
    values, states = rows["value"].to_numpy(copy=True), rows["status"].to_numpy(dtype=object, copy=True)
    for name, group in unmeasured.groupby("metric", observed=True):
        metric, place = metrics[str(name)], group["place"].to_numpy()
        skipped = _skipped(group, metric, policy)
        computed = _distances(group, policy) if metric.is_penalised else group["value"].to_numpy()
        _require(group[np.isnan(computed) & ~skipped], metric, policy, "the shape and voxel size")
        values[place] = np.where(np.isnan(computed), group["value"], computed)
        states[place] = np.where(skipped, "skipped", group["masks"])
    kind = rows["status"].dtype
    status = pd.Series(states, rows.index).astype("category" if isinstance(kind, pd.CategoricalDtype) else kind)
    changed = rows.assign(value=values, status=status)
    if "implementation" in rows:
        changed["implementation"] = _renamed(rows["implementation"], follows, policy)
    return changed


def _with_masks(rows: pd.DataFrame, chosen: pd.Series[bool], masks: pd.DataFrame) -> pd.DataFrame:
    """Returns rows with ``place``, their position, with the policy they were ``stored`` by, and with their masks.

    Shape and truth belong to the case, whichever cell was tested on it.
    """
    part = rows[chosen].assign(place=np.flatnonzero(chosen))
    for name in part:
        if isinstance(part[name].dtype, pd.CategoricalDtype):
            part[name] = part[name].astype("object")
    implementation = part["implementation"] if "implementation" in part else pd.Series("", part.index, dtype=object)
    part["stored"] = implementation.str.extract(_POLICY, expand=False)
    region, case = ["dataset", "case", "region"], ["dataset", "case"]
    part = part.merge(masks[[*region, "truth_is_empty"]].drop_duplicates(region), "left", region)
    part = part.merge(masks[[*case, "diagonal"]].drop_duplicates(case), "left", case)
    return part.assign(diagonal=part["diagonal"].astype(float), masks=_emptiness(part, masks))


def _emptiness(part: pd.DataFrame, masks: pd.DataFrame) -> pd.Series[Any]:
    """Returns which masks are empty, also where a row was skipped.

    By the file, or by the Dice of the same test, which is never skipped where one mask is empty.
    """
    key = [name for name in _TEST if name in part]
    dice = part.loc[part["metric"] == "dice", [*key, "status"]].drop_duplicates(key)
    found = part[key].merge(dice, "left", key)["status"]
    hidden = found.where(found == "empty_one", "empty_both")
    if {"cell", "present"} & set(key) == {"cell"}:
        own = ["cell", "case", "region"]
        hidden = part[own].merge(masks[[*own, "masks"]], "left", own)["masks"].fillna(hidden)
    return part["status"].where(part["status"] != "skipped", hidden)


def _skipped(rows: pd.DataFrame, metric: Metric, policy: EmptyPolicy) -> NDArray[np.bool_]:
    """Returns which rows the policy leaves out of every mean."""
    if not policy.skips:
        return np.zeros(len(rows), dtype=bool)
    undefined = [
        metric.is_undefined(status, None if pd.isna(empty) else bool(empty))
        for status, empty in zip(rows["masks"], rows["truth_is_empty"], strict=True)
    ]
    _require(rows[[one is None for one in undefined]], metric, policy, "whether the true mask is empty")
    return np.array(undefined, dtype=bool)


def _distances(rows: pd.DataFrame, policy: EmptyPolicy) -> NDArray[np.float64]:
    """Returns the distances of unmeasured regions; NaN where the diagonal of the image would have to be known."""
    diagonal = rows["diagonal"].to_numpy().copy()
    for place, (stored, masks, value) in enumerate(zip(rows["stored"], rows["masks"], rows["value"], strict=True)):
        before = empty_policy(stored) if isinstance(stored, str) else None
        if before is None or masks == "empty_both" or not np.isnan(diagonal[place]):
            continue
        if before.penalty_mm is None or (masks == "missing" and value > before.penalty_mm):
            diagonal[place] = value  # the policy of the test set the diagonal itself
        elif masks == "missing" and policy.penalty_mm is not None and policy.penalty_mm >= value:
            diagonal[place] = value  # no more than that, so that the larger penalty counts
        elif masks == "missing" and policy.skips:
            diagonal[place] = value  # no less than any distance, which is what counts
    one = diagonal if policy.penalty_mm is None else np.full(len(rows), policy.penalty_mm)
    without = np.maximum(one, diagonal)
    return np.select([rows["masks"] == "empty_both", rows["masks"] == "empty_one"], [np.zeros(len(rows)), one], without)


def _require(lacking: pd.DataFrame, metric: Metric, policy: EmptyPolicy, what: str) -> None:
    if lacking.empty:
        return
    cases = lacking[["dataset", "case"]].drop_duplicates()
    dataset, case = cases.iloc[0]
    hint = "Test these cells anew, or take the policy worst, brats or nan_skip."
    if policy.name in POLICIES:
        hint = (
            f"`harness evaluate STUDY --metric {metric.name}_{policy.name}` scores the predictions that cells kept; a "
            "cell that kept none must be tested anew."
        )
    raise HarnessError(
        f"'{metric.name}' by the policy '{policy.name}' needs {what} of {len(cases)} cases, e.g. '{case}' of "
        f"{dataset}: they were tested by a version of the harness that did not store it, or come from a file.",
        hint=hint,
    )


def _renamed(implementations: pd.Series[Any], chosen: pd.Series[bool], policy: EmptyPolicy) -> pd.Series[Any]:
    """Returns implementations with the policy's name in place of another's, each distinct one rewritten once."""
    kept = implementations.astype(str).astype("category")
    new = kept.map({name: _POLICY.sub(policy.name, name) for name in kept.cat.categories}).astype(str)
    return new.where(chosen, kept.astype(str)).astype("category")
