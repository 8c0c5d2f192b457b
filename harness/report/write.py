"""Writes a report into a folder: the forms asked for, and the figures."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from harness.errors import HarnessError, did_you_mean
from harness.report.analysis.analysis import DatasetView, StudyAnalysis, analyse_study
from harness.report.figures.box_plots import box_plot
from harness.report.figures.costs import cost_plot
from harness.report.figures.critical_difference import critical_difference
from harness.report.figures.figure import Drawing, render
from harness.report.figures.images.overlays import overlay_figure
from harness.report.figures.images.qualitative import qualitative_grid
from harness.report.figures.images.surfaces import surface_view
from harness.report.figures.leading_modality import leading_map
from harness.report.figures.learning_curves import training_curves
from harness.report.figures.missing_modalities import missing_map
from harness.report.figures.paired_differences import paired_differences
from harness.report.figures.rank_stability import rank_stability
from harness.report.figures.significance_map import significance_map
from harness.report.tables.build import build_tables
from harness.report.text.answer import answers
from harness.report.writers.csv import csv_files
from harness.report.writers.html import html_page
from harness.report.writers.latex import latex_document
from harness.report.writers.markdown import markdown_document
from harness.results.schema import StudyResults
from harness.statistics.analysis import Analysis

__all__ = ["FORMATS", "NO_FIGURES", "Format", "Report", "write_report"]

Format: TypeAlias = Literal["latex", "markdown", "csv", "html", "all"]

#: The forms themselves, ``all`` left out.
FORMATS: tuple[Format, ...] = ("latex", "markdown", "csv", "html")

#: What a report without figures says in their place.
NO_FIGURES = "Figures were left out on request (--no-figures)."

#: Drawn once a dataset, and once a dataset and metric.
_OF_DATASET: tuple[Callable[[StudyAnalysis, DatasetView], Drawing | None], ...] = (
    box_plot,
    cost_plot,
    leading_map,
    missing_map,
)
_OF_METRIC: tuple[Callable[[Analysis, str], Drawing | None], ...] = (
    paired_differences,
    critical_difference,
    significance_map,
    rank_stability,
)
_OF_CASES: tuple[Callable[[StudyAnalysis, DatasetView], Drawing | None], ...] = (
    qualitative_grid,
    overlay_figure,
    surface_view,
    training_curves,
)


@dataclass(frozen=True)
class Report:
    """What was written.

    Attributes:
        files: The files.
        warnings: Why methods are not ranked, what was mixed on request, and figures that are older than the tables.
    """

    files: tuple[Path, ...]
    warnings: tuple[str, ...]


def write_report(
    results: StudyResults,
    out: Path,
    formats: Sequence[Format] = ("all",),
    *,
    allow_mixed: bool = False,
    figures: bool = True,
) -> Report:
    """Writes tables, figures and page.

    Args:
        results: Results of one study.
        out: Folder; made if it does not exist. Files of an earlier report in it are replaced.
        formats: Forms to write; ``all`` for every one.
        allow_mixed: Rank methods even where they were trained under different conditions; every table then says so.
        figures: Draw figures too, which takes most of the time; page and tables say where there are none.

    Returns:
        The files written, with what they say in short.

    Raises:
        HarnessError: No cell has finished, or a form is not known.
    """
    wanted = _wanted(formats)
    _require_results(results)
    study = analyse_study(results, allow_mixed=allow_mixed)
    drawings = list(_drawings(study)) if figures else []
    rendered = {drawing.name: render(drawing.figure) for drawing in drawings}
    written: list[Path] = []
    said = answers(study)
    for name, files in rendered.items():
        written += [_write(out / "figures" / f"{name}.{suffix}", content) for suffix, content in files.items()]
    pictures = {name: files["png"] for name, files in rendered.items()}
    for name, content in _forms(study, said, wanted, drawings, pictures, "" if figures else NO_FIGURES):
        written.append(_write(out / name, content))
    warnings = [text for name in study.views if (text := study.comparability.sentence(name))]
    if not figures and (out / "figures").is_dir():
        warnings.append(f"The figures in {out / 'figures'} are those of an earlier report.")
    return Report(tuple(written), tuple(warnings))


def _drawings(study: StudyAnalysis) -> Iterator[Drawing]:
    for view in study.views.values():
        found = [draw(study, view) for draw in _OF_DATASET]
        for metric in study.results.metrics:
            analysis = view.analyses.get((metric, view.main))
            found += [draw(analysis, view.title) for draw in _OF_METRIC] if analysis else []
        found += [draw(study, view) for draw in _OF_CASES]
        yield from (drawing for drawing in found if drawing is not None)


def _wanted(formats: Sequence[Format]) -> set[str]:
    for name in formats:
        if name not in get_args(Format):
            raise HarnessError(f"There is no report form '{name}'.", hint=did_you_mean(name, get_args(Format)))
    return set(FORMATS) if "all" in formats else set(formats)


def _require_results(results: StudyResults) -> None:
    if results.cases.empty:
        states = results.cells["status"].value_counts().sort_index()
        counted = ", ".join(f"{number} {state}" for state, number in states.items()) or "none"
        raise HarnessError(
            f"Study '{results.study}' (profile '{results.profile}') has no results to report. Its cells: {counted}.",
            hint="Run it with `harness run`; where cells failed, `harness status` says why.",
        )


def _forms(
    study: StudyAnalysis,
    said: Sequence[str],
    wanted: set[str],
    drawings: Sequence[Drawing],
    pictures: Mapping[str, bytes],
    remark: str,
) -> Iterator[tuple[str, bytes]]:
    results, tables = study.results, build_tables(study)
    yield "answer.txt", ("\n\n".join(said) + "\n").encode()
    if "latex" in wanted:
        yield "tables.tex", latex_document(tables, remark).encode()
        yield from ((f"latex/{table.name}.tex", latex_document([table], remark).encode()) for table in tables)
    if "markdown" in wanted:
        yield "tables.md", markdown_document(results, said, tables, remark).encode()
    if "csv" in wanted:
        yield from ((f"csv/{name}", content) for name, content in csv_files(study))
    if "html" in wanted:
        yield "report.html", html_page(study, said, tables, drawings, pictures, remark).encode()


def _write(path: Path, content: bytes) -> Path:
    """Writes beside the target and renames: a reader sees the old file or the new one, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path
