"""Every registered metric through a whole report, with values that no clinic would believe."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from analysed import analysed

from harness.evaluation import METRICS, Metric, builtin_metrics
from harness.report.analysis.analysis import analyse_study
from harness.report.figures.box_plots import box_plot
from harness.report.figures.costs import cost_plot
from harness.report.tables.build import build_tables
from harness.report.write import write_report
from harness.results.schema import StudyResults

METRIC_NAMES = [metric.name for metric in vars(builtin_metrics).values() if isinstance(metric, Metric)]
SCALES = {"from 0 to 1": 1, "in mm": 40, "from 0 to 100": 100, "as a ratio": 1}
#: Results that are not simply scored: metric, region and patient (``*``: any), with value and status.
ODD = {
    ("ravd", "ET", "p0"): (8_928_000.0, "empty_one"),
    ("hd95", "WT", "p1"): (373.1, "skipped"),
    ("hd", "ET", "*"): (373.1, "skipped"),
    ("hd95_medpy", "*", "*"): (373.1, "skipped"),
    ("nsd", "ET", "p2"): (0.0, "missing"),
}


def result(metric: str, region: str, patient: str, value: float) -> tuple[float, str]:
    keys = ((metric, where, who) for where in (region, "*") for who in (patient, "*"))
    return next((ODD[key] for key in keys if key in ODD), (value, "scored"))


@pytest.fixture(scope="module")
def results(new_study) -> StudyResults:
    """Eight patients, two regions, all metrics: three finished networks and one that failed."""
    random, builder = np.random.default_rng(0), new_study(metrics=METRIC_NAMES)
    builder.dataset("invented", kind="real", unit="patient", regions=("WT", "ET"), title="Invented", notes=())
    for label in ("AAHN", "B", "infinite"):
        builder.cell(label, dataset="invented", leading="-")
    builder.cell("broken", dataset="invented", leading="-", status="failed", reason="the loss is not finite")
    study, rows = builder.build(), []
    place = ["study", "profile", "cell", "dataset", "model", "label", "leading", "fold", "seed"]
    for cell in study.cells.loc[study.cells["status"] == "done", place].to_dict("records"):
        for patient in (f"p{number}" for number in range(8)):
            for metric in METRIC_NAMES:
                for region in ("WT", "ET"):
                    usual = SCALES[METRICS.get(metric).scale] * random.uniform(0.5, 0.9)
                    value, status = result(metric, region, patient, usual)
                    if (cell["label"], metric, patient) == ("infinite", "assd", "p3"):
                        value = np.inf
                    row = {"patient": patient, "case": patient, "region": region, "metric": metric, "value": value}
                    rows.append(cell | row | {"status": status, "implementation": f"{metric} 1"})
    return replace(study, cases=pd.DataFrame(rows))


@pytest.fixture(scope="module")
def texts(results: StudyResults, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the report writes, by the name of the file."""
    folder = tmp_path_factory.mktemp("every") / "report"
    written = write_report(results, folder, figures=False).files
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in written}


@pytest.mark.parametrize("name", METRIC_NAMES)
def test_every_format_names_the_metric_with_its_unit_and_direction(texts: dict[str, str], name: str) -> None:
    metric = METRICS.get(name)
    assert f"{metric.heading} WT {metric.arrow}" in texts["tables.md"]
    assert f'<th scope="colgroup" colspan="2">{metric.heading_with_arrow}</th>' in texts["report.html"]
    arrow = r"$\uparrow$" if metric.higher_is_better else r"$\downarrow$"
    assert f"{metric.heading} {arrow}" in texts["latex/means-invented.tex"]
    means = pd.read_csv(pd.io.common.StringIO(texts["csv/means.csv"])).query(f"metric == '{name}'")
    if name == "hd95_medpy":
        assert means.empty, "nothing of it counts"
        return
    assert set(means["unit"]) == {metric.unit or metric.scale}
    assert set(means["better"]) == {"higher" if metric.higher_is_better else "lower"}


def test_values_are_printed_readably(results: StudyResults) -> None:
    means = build_tables(analysed(results))[0]
    shown = {
        row.header[0]: {
            (column.metric, column.region): entry for column, entry in zip(means.columns, row.cells, strict=True)
        }
        for row in means.rows
    }
    mine = shown["AAHN"]
    assert mine["ravd", "ET"].text == "1.12×10⁶ ± 3.16×10⁶"
    assert mine["ravd", "ET"].sort == pytest.approx(1_116_000, rel=1e-3)
    for metric, digits in (("dice", 3), ("assd", 2), ("chaos_score", 1)):
        assert len(mine[metric, "WT"].main.partition(".")[2]) == digits
    assert mine["hd95_medpy", "WT"].text == mine["hd", "Mean"].text == "no result"
    assert mine["hd", "WT"].sort == pytest.approx(28, rel=0.3)
    assert shown["infinite"]["assd", "WT"].text == "∞†"
    assert shown["infinite"]["assd", "WT"].mark == ""
    assert {entry.text for entry in shown["broken"].values()} == {"failed"}


def test_what_is_odd_is_said_in_every_format(texts: dict[str, str]) -> None:
    for name in ("tables.md", "report.html", "latex/means-invented.tex"):
        said = texts[name].replace("\\", "").replace("textsuperscript{dag}", "†")
        assert re.search(r"864 results 3 had no prediction .*, 3 had an empty region", said)
        assert re.search(r"75 cannot be computed .*nan_skip", said)
        assert re.search(r"no mean: HD95 by medpy in ET, WT, .*; HD in ET, ", said)
        assert re.search(r"† infinite: .*not ranked", said)
        assert "nan ±" not in said.lower()


def test_an_infinite_result_leaves_the_figures_whole(results: StudyResults) -> None:
    study = analyse_study(replace(results, metrics=("dice", "assd", "ravd")))
    view = study.views["invented"]
    for draw in (box_plot, cost_plot):
        drawing = draw(study, view)
        assert drawing is not None
        drawing.figure.draw_without_rendering()
        for axes in drawing.figure.axes:
            assert np.isfinite(axes.get_ylim()).all()
    assert "Infinite results are not drawn." in box_plot(study, view).caption


def test_a_wide_table_is_set_in_parts_that_can_be_read(texts: dict[str, str]) -> None:
    means = texts["latex/means-invented.tex"]
    assert means.count(r"\begin{tabular}") > 3
    assert means.count(r"\label{tab:means-invented}") == 1
    assert f"Part 2 of {means.count(chr(92) + 'begin{tabular}')}." in means
    assert "\ufffd" not in means
    assert "[U+" not in means


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_the_whole_report_compiles(texts: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "tables.tex").write_text(texts["tables.tex"], encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "tables.tex"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=120)
    assert run.returncode == 0, run.stdout[-2000:]
    assert "Overfull" not in run.stdout
