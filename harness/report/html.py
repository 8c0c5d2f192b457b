"""One self-contained HTML page: it opens from a file and loads nothing; its one script sorts tables."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from harness.report.computed import Computed
from harness.report.drawing import Drawing
from harness.report.drilldown import drill_down
from harness.report.evidence import data_name, failures_of
from harness.report.layout import Table
from harness.report.provenance import cell_differences, provenance_of
from harness.report.variants import datasets_of, variants_of
from harness.results.schema import StudyResults

__all__ = ["html_page", "html_tables"]


@dataclass(frozen=True)
class _Picture:
    title: str
    caption: str
    png: str
    width: int


def html_page(
    computed: Computed,
    answers: Sequence[str],
    tables: Sequence[Table],
    drawings: Sequence[Drawing],
    pictures: Mapping[str, bytes],
) -> str:
    """Writes the page.

    Args:
        computed: The study.
        answers: One answer a dataset.
        tables: Tables in order.
        drawings: Figures in order.
        pictures: PNG of each figure by its name.
    """
    figures = [
        _Picture(
            title=drawing.title,
            caption=drawing.caption,
            png=base64.b64encode(pictures[drawing.name]).decode("ascii"),
            width=round(drawing.figure.get_figwidth() * 130),
        )
        for drawing in drawings
    ]
    results = computed.results
    datasets = datasets_of(results)
    script = (files("harness.report") / "templates" / "sort.js").read_text(encoding="utf-8")
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            results=results,
            data=[data_name(results.datasets[dataset]) for dataset in datasets],
            answers=answers,
            failures=[failure for dataset in datasets for failure in _failures(results, dataset)],
            tables=tables,
            figures=figures,
            provenance=provenance_of(results),
            differences=cell_differences(results),
            mixed=[text for dataset in datasets if (text := computed.mixing.sentence(dataset))],
            drilldowns=[drilldown for dataset in datasets if (drilldown := drill_down(computed, dataset))],
            script=script,
            # The page's policy admits this script and no other.
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
            cells={"heads": [head for head, _ in _CELLS], "rows": _cell_rows(results)},
        )
    )


def html_tables(tables: Sequence[Table]) -> str:
    """The tables alone, as a fragment without a style of its own."""
    macros = _environment().get_template("table.html.j2").make_module()
    return "\n".join(str(macros.grid(table)) for table in tables)  # type: ignore[attr-defined]


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("harness.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _failures(results: StudyResults, dataset: str) -> list[str]:
    prefix = f"{results.datasets[dataset].title}: " if len(datasets_of(results)) > 1 else ""
    return [f"{prefix}{failure}" for failure in failures_of(results, dataset)]


_CELLS = (
    ("Variant", "label"),
    ("Dataset", "dataset"),
    ("Leading", "leading"),
    ("Fold", "fold"),
    ("Seed", "seed"),
    ("Status", "status"),
    ("Reason", "reason"),
    ("Parameters", "parameters"),
    ("GFLOPs", "gflops"),
    ("Training", "train_seconds"),
    ("Steps", "steps"),
    ("Device", "device"),
    ("Commit", "commit"),
    ("Cell", "cell"),
)


def _cell_rows(results: StudyResults) -> list[list[str]]:
    order = {
        (dataset, *variant): (place, row)
        for place, dataset in enumerate(datasets_of(results))
        for row, variant in enumerate(variants_of(results, dataset))
    }
    records = sorted(
        results.cells.to_dict("records"),
        key=lambda row: (order[row["dataset"], row["label"], row["leading"]], row["fold"], row["seed"]),
    )
    return [[_cell_text(column, row[column]) for _, column in _CELLS] for row in records]


def _cell_text(column: str, value: object) -> str:
    if pd.isna(value) or value in ("", "-"):  # type: ignore[call-overload]
        return "–"
    if column in ("parameters", "steps", "fold", "seed"):
        return f"{int(float(str(value))):,}"
    if column == "gflops":
        return f"{float(str(value)):.2f}"
    if column == "train_seconds":
        return f"{float(str(value)):.0f} s"
    return str(value)
