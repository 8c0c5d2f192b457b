"""What the numbers of a table stand on, in words: data, cases, protocol, metrics, failures and code."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from harness.evaluation import METRICS
from harness.report.analysis.variants import Variant
from harness.results.schema import DatasetFacts, StudyResults
from harness.statistics.patients import MEAN_REGION


@dataclass(frozen=True)
class DataSummary:
    """The facts under one dataset's tables.

    Attributes:
        name: Dataset title with its kind, e.g. ``Cortex, embedded data``.
        sample: The sample: cases, patients, seeds, folds and protocol.
        scales: Scale and direction of each metric.
        policies: How many results were set by policy rather than measured.
        implementations: Implementation of each metric.
        notes: The dataset's own caveats.
        failures: Cells without a result, each with its reason.
        refusal: Why no significance test is made, else ``None``.
        commits: Code the cells ran on.
    """

    name: str
    sample: str
    scales: str
    policies: str
    implementations: str
    notes: tuple[str, ...]
    failures: tuple[str, ...]
    refusal: str | None
    commits: str


def count(number: int, noun: str, plural: str = "") -> str:
    """``1 case``, ``2 cases``."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def listed(values: Iterable[object]) -> str:
    """Distinct non-empty values, sorted and joined by commas."""
    return ", ".join(sorted({str(value) for value in values if str(value) not in ("", "nan", "None")}))


def kind_words(facts: DatasetFacts) -> str:
    """``real data``, ``embedded data`` or ``generated data``, and why its numbers are no result where they are none."""
    return "; ".join(filter(None, (f"{facts.kind} data", facts.caveat)))


def data_name(facts: DatasetFacts) -> str:
    """Title of a dataset, never without its kind where it is not real data, nor without its caveat."""
    kind = "" if facts.kind == "real" else f", {facts.kind} data"
    return "; ".join(filter(None, (facts.title + kind, facts.caveat)))


def packages_of(cells: pd.DataFrame) -> dict[str, str]:
    """Package versions of all cells; a package that differs between cells lists each version."""
    versions: dict[str, set[str]] = {}
    for text in set(cells["packages"].dropna()) - {""}:
        for name, version in json.loads(text).items():
            versions.setdefault(str(name), set()).add(str(version))
    return {name: ", ".join(sorted(versions[name])) for name in sorted(versions, key=str.lower)}


def summarise_data(
    results: StudyResults,
    dataset: str,
    names: Mapping[Variant, str],
    groups: Mapping[str, pd.DataFrame],
    refusal: str | None,
    uncounted: Sequence[tuple[str, str]] = (),
) -> DataSummary:
    """Summarises the data under a dataset's tables.

    Args:
        results: Results of the study.
        dataset: Registered name of the dataset.
        names: Name of each variant.
        groups: Per-case rows of the dataset by metric.
        refusal: Why no significance test is made.
        uncounted: Metrics and regions for which the empty-case policy leaves out every result.
    """
    facts = results.datasets[dataset]
    cells = results.cells[results.cells["dataset"] == dataset]
    return DataSummary(
        name=data_name(facts),
        sample=_sample(facts, groups, cells, results.empty),
        scales=_scales(results.metrics),
        policies=_policies(groups, uncounted),
        implementations=_implementations(results, groups),
        notes=facts.notes,
        failures=_failures(cells, names),
        refusal=refusal,
        commits=listed(cells["commit"].dropna().unique()) or "unknown",
    )


#: States that are told in other words.
_STATES = {"new": "not started", "running": "still running"}


def _failures(cells: pd.DataFrame, names: Mapping[Variant, str]) -> tuple[str, ...]:
    """Cells that are not done, each with what is known about it, in table order."""
    variants, rows = list(names), []
    for row in cells[cells["status"] != "done"].to_dict("records"):
        variant = Variant(str(row["label"]), str(row["leading"]))
        reason = f": {row['reason']}" if row["reason"] and not pd.isna(row["reason"]) else ""
        state = _STATES.get(row["status"], row["status"])
        name = f"{names[variant]}, fold {row['fold']}, seed {row['seed']}"
        rows.append((variants.index(variant), row["fold"], row["seed"], f"{name} – {state}{reason}"))
    return tuple(text for *_, text in sorted(rows))


def _sample(facts: DatasetFacts, groups: Mapping[str, pd.DataFrame], cells: pd.DataFrame, policy: str) -> str:
    pairs = pd.concat([rows[["patient", "case"]].drop_duplicates() for rows in groups.values()]) if groups else None
    cases = 0 if pairs is None else len(pairs.drop_duplicates())
    patients = 0 if pairs is None else pairs["patient"].nunique()
    seeds, folds = cells["seed"].nunique(), cells["fold"].nunique()
    how = "averaged within each patient" if patients > 1 else "no spread between patients, SD is between cases"
    parts = [
        count(patients, "patient") if cases == patients else f"{count(cases, 'case')} of {count(patients, 'patient')}",
        "" if facts.unit == "patient" else f"one case: {facts.unit}",
        how if cases > patients else "",
        f"{count(seeds, 'seed')}{' averaged within each case' if seeds > 1 else ''}",
        f"{count(folds, 'fold')}{' pooled' if folds > 1 else ''}",
        f"protocol {listed(cells['protocol'].dropna().unique()) or 'unknown'}",
        f"empty regions by policy {policy}, as this report was asked for" if policy else "",
    ]
    return "; ".join(part for part in parts if part)


def _scales(metrics: Sequence[str]) -> str:
    """Scale and direction of the metrics, those that share both named together."""
    alike: dict[str, list[str]] = {}
    for metric in map(METRICS.get, metrics):
        alike.setdefault(f"{metric.scale}, {metric.direction}", []).append(metric.title)
    return "; ".join(f"{', '.join(titles)} {scale}" for scale, titles in alike.items())


def _policies(groups: Mapping[str, pd.DataFrame], uncounted: Sequence[tuple[str, str]]) -> str:
    states = [rows["status"].astype(str) if rows.empty else rows["status"] for rows in groups.values()]
    total = sum(len(each) for each in states)
    missing = sum(int((each == "missing").sum()) for each in states)
    empty = sum(int(each.isin(["empty_both", "empty_one"]).sum()) for each in states)
    skipped = sum(int((each == "skipped").sum()) for each in states)
    left_out = f", {skipped:,} cannot be computed and are left out (policy nan_skip)" if skipped else ""
    return (
        f"Of {total:,} results {missing:,} had no prediction and count as worst, "
        f"{empty:,} had an empty region and follow the empty-case policy{left_out}{_nothing_counts(uncounted)}"
    )


def _nothing_counts(uncounted: Sequence[tuple[str, str]]) -> str:
    regions: dict[str, list[str]] = {}
    for metric, region in uncounted:
        place = "the mean over regions" if region == MEAN_REGION else region
        regions.setdefault(METRICS.get(metric).title, []).append(place)
    regions_of_titles = "; ".join(f"{title} in {', '.join(places)}" for title, places in regions.items())
    return f". No result at all counts, so there is no mean: {regions_of_titles}" if regions_of_titles else ""


def _implementations(results: StudyResults, groups: Mapping[str, pd.DataFrame]) -> str:
    named = (
        (METRICS.get(metric).title, listed(groups[metric]["implementation"].unique()) if metric in groups else "")
        for metric in results.metrics
    )
    return "; ".join(f"{title} by {names or 'unknown'}" for title, names in named)
