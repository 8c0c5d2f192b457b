"""Lays the statistics out as tables, once for every form: what stands in which cell, how marked, with what under it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

import pandas as pd

from harness.report.evidence import Evidence, count, evidence_for, row_name
from harness.report.metrics import metric_style
from harness.report.summary import MEAN_REGION, differences, floor_summary, summarise
from harness.report.variants import Variant, datasets_of, regions_of, variants_of
from harness.results.schema import StudyResults

__all__ = ["DAGGER", "Column", "Entry", "Row", "Table", "build_tables"]

#: Marks a mean over fewer results than its neighbours.
DAGGER = "†"


@dataclass(frozen=True)
class Column:
    """One column of numbers.

    Attributes:
        metric: Metric name.
        region: Region, or the mean over regions.
        group: Heading over a run of columns.
        title: Heading of the column itself.
    """

    metric: str
    region: str
    group: str
    title: str

    @property
    def name(self) -> str:
        """Heading for forms that have one row of headings."""
        return f"Mean {self.title}" if self.region == MEAN_REGION else f"{self.group} {self.title}"


@dataclass(frozen=True)
class Entry:
    """One cell of a table.

    Attributes:
        main: The mean at printed precision, or a word such as ``failed``.
        spread: The standard deviation, ``''`` for none.
        mark: ``best``, ``second`` or ``''``.
        dagger: The mean stands on fewer results than its neighbours.
        is_word: ``main`` is a word, not a number.
    """

    main: str
    spread: str = ""
    mark: str = ""
    dagger: bool = False
    is_word: bool = False

    @property
    def text(self) -> str:
        """The cell without emphasis, for forms that have none."""
        spread = f" ± {self.spread}" if self.spread else ""
        return f"{self.main}{spread}{DAGGER if self.dagger else ''}"


@dataclass(frozen=True)
class Row:
    """One row: its headings (label and, where it varies, leading modality) and entries."""

    heads: tuple[str, ...]
    entries: tuple[Entry, ...]
    is_floor: bool = False


@dataclass(frozen=True)
class Table:
    """A table of one dataset, ready for any form.

    Attributes:
        kind: ``means`` or ``differences``.
        dataset: Registered dataset name.
        title: Short title, always with the kind of data.
        caption: Sentences above the table.
        heads: Headings of the row-name columns.
        columns: Columns of numbers.
        rows: Variants in study order, then floors.
        notes: Sentences under the table.
    """

    kind: Literal["means", "differences"]
    dataset: str
    title: str
    caption: tuple[str, ...]
    heads: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Group headings with the number of columns under each."""
        return [(name, len(list(members))) for name, members in groupby(column.group for column in self.columns)]


def build_tables(results: StudyResults) -> list[Table]:
    """Means of every dataset, each followed by the differences to the reference where there is one."""
    summary, floors, deltas = summarise(results), floor_summary(results), differences(results)
    tables = []
    for dataset in datasets_of(results):
        evidence = evidence_for(results, dataset)
        tables.append(_means(results, dataset, evidence, summary, floors))
        mine = deltas[deltas["dataset"] == dataset]
        if not mine.empty:
            tables.append(_differences(results, dataset, evidence, mine))
    return tables


def _means(
    results: StudyResults, dataset: str, evidence: Evidence, summary: pd.DataFrame, floors: pd.DataFrame
) -> Table:
    columns = _columns(results, dataset)
    heads, names = _row_heads(results, dataset)
    found = _lookup(summary[summary["dataset"] == dataset], ["label", "leading"])
    rows = [
        Row(names[variant], tuple(_entry(found[(*variant, column.metric, column.region)]) for column in columns))
        for variant in names
    ]
    trivial = floors[floors["dataset"] == dataset]
    found_floors = _lookup(trivial, ["floor"])
    floor_names = sorted(set(trivial["floor"]))
    blank = ("",) * (len(heads) - 1)
    for name in floor_names:
        entries = tuple(_entry(found_floors[name, column.metric, column.region]) for column in columns)
        rows.append(Row((f"{name} (floor)", *blank), entries, is_floor=True))
    caption = (
        f"{_sentence(results.question)} {evidence.name}.",
        f"Mean ± SD over {evidence.base}.",
        f"{evidence.scales}.",
        *_refused(evidence),
    )
    notes = [*_fewer(results, dataset, summary), *_fewer_floors(trivial)]
    if len({column.region for column in columns}) > 1:
        notes.append("Mean over regions: taken within each case, then over cases.")
    if floor_names:
        notes.append("Floors are trivial methods on the same test cases; they are not ranked.")
    return Table(
        kind="means",
        dataset=dataset,
        title=evidence.name,
        caption=caption,
        heads=heads,
        columns=columns,
        rows=tuple(rows),
        notes=(*notes, *_provenance(evidence)),
    )


def _differences(results: StudyResults, dataset: str, evidence: Evidence, deltas: pd.DataFrame) -> Table:
    columns = _columns(results, dataset)
    heads, names = _row_heads(results, dataset)
    found = _lookup(deltas, ["label", "leading"])
    compared = [variant for variant in names if any(key[:2] == variant for key in found)]
    rows = [
        Row(
            names[variant],
            tuple(_entry(found[(*variant, column.metric, column.region)], signed=True) for column in columns),
        )
        for variant in compared
    ]
    better = ", ".join(
        f"{style.title}: {'positive' if style.higher_is_better else 'negative'} is better"
        for style in map(metric_style, results.metrics)
    )
    caption = (
        f"Difference to {results.reference}: {evidence.name}.",
        f"Variant minus reference, mean ± SD of the paired differences over {evidence.base}.",
        f"{better}.",
        *_refused(evidence),
    )
    flagged = [variant for variant in compared if not _comparable(found, variant)]
    dagger = [f"{DAGGER} Not on the same results: {_names(flagged, names)}."] if flagged else []
    if (deltas["status"] != "complete").any():
        dagger.append("No difference is taken where the variant or its reference is not complete.")
    return Table(
        kind="differences",
        dataset=dataset,
        title=f"{evidence.name}: difference to {results.reference}",
        caption=caption,
        heads=heads,
        columns=columns,
        rows=tuple(rows),
        notes=(*dagger, *_provenance(evidence)),
    )


def _columns(results: StudyResults, dataset: str) -> tuple[Column, ...]:
    """Regions of each metric, then the means; a dataset with one region has nothing to average."""
    regions = regions_of(results, dataset)
    styles = [metric_style(metric) for metric in results.metrics]
    columns = [Column(style.name, region, style.heading, region) for style in styles for region in regions]
    if len(regions) > 1:
        columns += [Column(style.name, MEAN_REGION, "Mean over regions", style.heading) for style in styles]
    return tuple(columns)


def _row_heads(results: StudyResults, dataset: str) -> tuple[tuple[str, ...], dict[Variant, tuple[str, ...]]]:
    variants = variants_of(results, dataset)
    if len({variant.leading for variant in variants}) > 1:
        return ("Variant", "Leading"), {each: (each.label, each.leading.replace("-", "–")) for each in variants}
    return ("Variant",), {each: (each.label,) for each in variants}


def _lookup(table: pd.DataFrame, keys: Sequence[str]) -> dict[tuple[str, ...], Mapping[str, Any]]:
    records = [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
    return {tuple(str(row[key]) for key in (*keys, "metric", "region")): row for row in records}


def _entry(row: Mapping[str, Any], *, signed: bool = False) -> Entry:
    status = row.get("status", "complete")
    if status != "complete":
        return Entry(str(status), is_word=True)
    style, mean, sd = metric_style(row["metric"]), float(row["mean"]), float(row["sd"])
    return Entry(
        main=style.signed(mean) if signed else style.text(mean),
        spread="" if math.isnan(sd) else style.text(sd),
        mark=row.get("mark", ""),
        dagger=not row["comparable"],
    )


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _refused(evidence: Evidence) -> tuple[str, ...]:
    return (f"{evidence.refusal}.",) if evidence.refusal else ()


def _names(variants: Sequence[Variant], order: Mapping[Variant, object]) -> str:
    return ", ".join(row_name(variant, list(order)) for variant in variants)


def _comparable(found: Mapping[tuple[str, ...], Mapping[str, Any]], variant: Variant) -> bool:
    return all(row["comparable"] or row["status"] != "complete" for key, row in found.items() if key[:2] == variant)


def _fewer(results: StudyResults, dataset: str, summary: pd.DataFrame) -> list[str]:
    """Which variants stand on fewer results than the others, and on how many."""
    variants = variants_of(results, dataset)
    notes = []
    for variant in variants:
        mine = summary[(summary["label"] == variant.label) & (summary["leading"] == variant.leading)]
        short = mine[(mine["dataset"] == dataset) & (mine["status"] == "complete") & ~mine["comparable"].astype(bool)]
        if not short.empty:
            least = int(short["n_runs"].min())
            notes.append(
                f"{DAGGER} {row_name(variant, variants)}: {least} of {int(short['n_expected'].max())} results "
                f"({count(int(short['n'].min()), 'case')}); not ranked."
            )
    return notes


def _fewer_floors(floors: pd.DataFrame) -> list[str]:
    notes = []
    for name in sorted(set(floors["floor"])):
        short = floors[(floors["floor"] == name) & ~floors["comparable"].astype(bool)]
        if not short.empty:
            notes.append(f"{DAGGER} {name}: {int(short['n_runs'].min())} of {int(short['n_expected'].max())} cases.")
    return notes


def _provenance(evidence: Evidence) -> tuple[str, ...]:
    failures = f"Without a result: {'; '.join(evidence.failures)}." if evidence.failures else "Every cell finished."
    return (
        *(_sentence(note) for note in evidence.notes),
        f"{evidence.policies}.",
        f"{evidence.implementations}.",
        failures,
        f"Commit {evidence.commits}.",
    )
