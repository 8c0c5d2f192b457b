"""What stands behind a table, in words: data, cases, protocol, metrics, failures and code."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from harness.report.metrics import metric_style
from harness.report.refusal import refusal_for
from harness.report.variants import Variant, variants_of
from harness.results.schema import DatasetFacts, StudyResults

__all__ = [
    "Evidence",
    "count",
    "data_name",
    "evidence_for",
    "failures_of",
    "kind_words",
    "listed",
    "packages_of",
    "row_name",
]

#: What the reader must be told about data that no clinic recorded for this purpose.
_KINDS: Mapping[str, str] = {"real": "", "embedded": "embedded data", "generated": "generated data"}


@dataclass(frozen=True)
class Evidence:
    """The facts under one dataset's tables.

    Attributes:
        name: Dataset title with its kind, e.g. ``Cortex, embedded data``.
        base: What the numbers stand on: cases, patients, seeds, folds and protocol.
        scales: Scale and direction of each metric.
        policies: How many results were set by policy rather than measured.
        implementations: What computed each metric.
        notes: The dataset's own caveats.
        failures: Cells without a result, each with its reason.
        refusal: Why no significance test is made, else ``None``.
        commits: Code the cells ran on.
    """

    name: str
    base: str
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
    """``embedded data`` or ``generated data``; ``''`` for real data."""
    return _KINDS.get(facts.kind, f"{facts.kind} data")


def data_name(facts: DatasetFacts) -> str:
    """Title of a dataset, never without its kind where it is not real data."""
    kind = kind_words(facts)
    return f"{facts.title}, {kind}" if kind else facts.title


def row_name(variant: Variant, variants: Iterable[Variant]) -> str:
    """Name of a variant in one string; the leading modality is named where the study varies it."""
    if len({other.leading for other in variants}) > 1 and variant.leading != "-":
        return f"{variant.label}, {variant.leading} leading"
    return variant.label


def failures_of(results: StudyResults, dataset: str) -> tuple[str, ...]:
    """Cells of a dataset that are not done, each with what is known about it, in table order."""
    variants = variants_of(results, dataset)
    cells = results.cells[(results.cells["dataset"] == dataset) & (results.cells["status"] != "done")]
    rows = []
    for row in cells.to_dict("records"):
        variant = Variant(str(row["label"]), str(row["leading"]))
        reason = f": {row['reason']}" if row["reason"] and not pd.isna(row["reason"]) else ""
        name = f"{row_name(variant, variants)}, fold {row['fold']}, seed {row['seed']}"
        rows.append((variants.index(variant), row["fold"], row["seed"], f"{name} – {_state(row['status'])}{reason}"))
    return tuple(text for *_, text in sorted(rows))


def packages_of(cells: pd.DataFrame) -> dict[str, str]:
    """Package versions of all cells; a package that differs between cells lists each version."""
    versions: dict[str, set[str]] = {}
    for text in set(cells["packages"].dropna()) - {""}:
        for name, version in json.loads(text).items():
            versions.setdefault(str(name), set()).add(str(version))
    return {name: ", ".join(sorted(versions[name])) for name in sorted(versions, key=str.lower)}


def evidence_for(results: StudyResults, dataset: str) -> Evidence:
    """Collects what a dataset's tables must say under them."""
    facts = results.datasets[dataset]
    cells = results.cells[results.cells["dataset"] == dataset]
    cases = results.cases[(results.cases["dataset"] == dataset) & results.cases["metric"].isin(results.metrics)]
    return Evidence(
        name=data_name(facts),
        base=_base(facts, cases, cells),
        scales="; ".join(
            f"{style.title} {style.scale}, {style.direction}" for style in map(metric_style, results.metrics)
        ),
        policies=_policies(cases),
        implementations=_implementations(results, cases),
        notes=facts.notes,
        failures=failures_of(results, dataset),
        refusal=refusal_for(results, dataset),
        commits=listed(str(commit) for commit in cells["commit"].dropna()) or "unknown",
    )


def _state(status: object) -> str:
    return {"failed": "failed", "new": "not started", "running": "still running"}.get(str(status), str(status))


def _base(facts: DatasetFacts, cases: pd.DataFrame, cells: pd.DataFrame) -> str:
    number = len(cases[["patient", "case"]].drop_duplicates())
    seeds, folds = cells["seed"].nunique(), cells["fold"].nunique()
    parts = [
        f"{count(number, 'case')} of {count(cases['patient'].nunique(), 'patient')}",
        "" if facts.unit == "patient" else f"one case: {facts.unit}",
        f"{count(seeds, 'seed')}{' averaged within each case' if seeds > 1 else ''}",
        f"{count(folds, 'fold')}{' pooled' if folds > 1 else ''}",
        f"protocol {listed(cells['protocol'].dropna()) or 'unknown'}",
    ]
    return "; ".join(part for part in parts if part)


def _policies(cases: pd.DataFrame) -> str:
    missing = int((cases["status"] == "missing").sum())
    empty = int(cases["status"].isin(["empty_both", "empty_one"]).sum())
    return (
        f"Of {len(cases)} results {missing} had no prediction and count as worst, "
        f"{empty} had an empty region and follow the empty-case policy"
    )


def _implementations(results: StudyResults, cases: pd.DataFrame) -> str:
    named = (
        (metric_style(metric).title, listed(cases.loc[cases["metric"] == metric, "implementation"]))
        for metric in results.metrics
    )
    return "; ".join(f"{title} by {names or 'unknown'}" for title, names in named)
