"""One self-contained HTML page: it opens from a file and loads nothing; its one script sorts tables."""

import base64
import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.figures.figure import MOST_NAMED, Drawing
from harness.report.tables.table import Table
from harness.report.text.provenance import cell_differences, provenance_of
from harness.report.writers.case_gallery import CaseGallery, case_gallery
from harness.report.writers.repeats import legends, said_once

#: Characters of two lines of a caption on a page that is 1,200 pixels wide.
TWO_LINES = 260


def html_page(
    study: StudyAnalysis,
    answers: Sequence[str],
    tables: Sequence[Table],
    drawings: Sequence[Drawing],
    png: Mapping[str, bytes],
    remark: str = "",
    viewed: Collection[str] = (),
) -> str:
    """Writes the page.

    Args:
        study: Analysis of the study.
        answers: Answers, one or more per dataset.
        tables: Tables in the order of the page.
        drawings: Figures in the order of the page.
        png: PNG file of each figure, by its name.
        remark: Reason why there are no figures.
        viewed: Cases that `harness view` wrote a page of, in `cases/` beside this one.
    """
    results = study.results
    leading = [_lead(study, view, tables, drawings) for view in study.views.values()]
    first = [lead.table.name for lead in leading if lead.table is not None]
    # In the order of the page: a note stands where it is read first.
    shown = said_once(sorted(tables, key=lambda table: table.name not in first), TWO_LINES)
    drawn = sorted(drawings, key=lambda drawing: drawing not in [lead.drawing for lead in leading])
    galleries = list(filter(None, (case_gallery(results, view) for view in study.views.values())))
    leads = [_lead(study, view, shown, drawings) for view in study.views.values()]
    script = (files("harness.report.writers") / "templates" / "sort.js").read_text(encoding="utf-8")
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            results=results,
            data=[view.title for view in study.views.values()],
            answers=answers,
            failures=_failures(study),
            leads=leads,
            tables=[table for table in shown if table not in [lead.table for lead in leads]],
            drawings=[drawing for drawing in drawings if drawing not in [lead.drawing for lead in leads]],
            legends=legends(drawn, TWO_LINES),
            spots={drawing.name: _spots(study, drawing, galleries) for drawing in drawings},
            png={name: base64.b64encode(content).decode("ascii") for name, content in png.items()},
            remark=remark,
            provenance=provenance_of(study),
            differences=cell_differences(study),
            mixed=[text for name in study.views if (text := study.comparability.sentence(name))],
            galleries=galleries,
            viewed=viewed,
            script=script,
            # The page's policy admits this script and no other.
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
            cells={"headings": [heading for heading, _ in _CELLS], "rows": _cell_rows(study)},
        )
    )


@dataclass(frozen=True)
class _Lead:
    """What a dataset opens with.

    Attributes:
        drawing: The differences to the reference, or the boxes; None without figures.
        table: The means; None where there are none.
    """

    drawing: Drawing | None
    table: Table | None


@dataclass(frozen=True)
class _Spot:
    """A dot of a figure that the page names.

    Attributes:
        left: Per cent from the left.
        top: Per cent from the top.
        text: What is said of it.
        target: Identity of the part of the page with its images; empty for none.
    """

    left: float
    top: float
    text: str
    target: str


def _spots(study: StudyAnalysis, drawing: Drawing, galleries: Sequence[CaseGallery]) -> list[_Spot]:
    """Returns the dots of a figure, each with the images of its case, or of its patient's, where the page has some."""
    if len(drawing.points) > MOST_NAMED:
        return []
    pictured = {case.name: case.anchor for gallery in galleries for case in gallery.cases if case.images}
    pairs = study.results.cases[["patient", "case"]].drop_duplicates().astype(str)
    targets = {
        patient: pictured[case]
        for patient, case in zip(pairs["patient"], pairs["case"], strict=True)
        if case in pictured
    }
    places = [point.place() for point in drawing.points]
    return [
        _Spot(
            round(100 * left, 2),
            round(100 * top, 2),
            point.text,
            pictured.get(point.case) or targets.get(point.patient, ""),
        )
        for point, (left, top) in zip(drawing.points, places, strict=True)
    ]


def _lead(study: StudyAnalysis, view: DatasetView, tables: Sequence[Table], drawings: Sequence[Drawing]) -> _Lead:
    named = {drawing.name: drawing for drawing in drawings}
    wanted = (f"paired_differences_{view.name}_{study.results.metrics[0]}", f"boxes_{view.name}")
    means = (table for table in tables if table.kind == "means" and table.dataset == view.name)
    return _Lead(next((named[name] for name in wanted if name in named), None), next(means, None))


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("harness.report.writers"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _failures(study: StudyAnalysis) -> list[str]:
    views = list(study.views.values())
    return [
        f"{view.title}: {failure}" if len(views) > 1 else failure for view in views for failure in view.data.failures
    ]


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


def _cell_rows(study: StudyAnalysis) -> list[list[str]]:
    rows = []
    for view in study.views.values():
        order = {name: place for place, name in enumerate(view.names.values())}
        cells = view.cells.assign(order=view.cells["method"].map(order)).sort_values(["order", "fold", "seed"])
        rows += [[_cell_text(column, row[column]) for _, column in _CELLS] for row in cells.to_dict("records")]
    return rows


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
