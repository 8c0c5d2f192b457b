"""``harness report``: tables and figures from the results; no model is touched."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.shared.console import PlainConsole
from harness.cli.shared.options import ProfileOption, ResultsOption
from harness.cli.shared.untracked import saying_untracked
from harness.report import Format

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.results.schema import StudyResults
    from harness.results.store import Store, StudyFolder


def report(
    studies: Annotated[
        list[str] | None,
        typer.Argument(help="Names of studies, reported together; default: the study run last.", show_default=False),
    ] = None,
    format: Annotated[
        list[Format] | None,
        typer.Option("--format", "-f", help="Format to write; may be repeated. Default: all.", show_default=False),
    ] = None,
    profile: ProfileOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Folder to write to; default: RESULTS/reports/STUDY/PROFILE.", show_default=False
        ),
    ] = None,
    imported: Annotated[
        list[Path] | None,
        typer.Option(
            "--with",
            help="CSV file of another group's results, one row per case, region and metric; may be repeated.",
            show_default=False,
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(help="Metric to show; may be repeated. Default: those of the study.", show_default=False),
    ] = None,
    empty: Annotated[
        str | None,
        typer.Option(
            help="Policy for empty regions: worst, brats, nan_skip, or a constant penalty like 100mm; computed from "
            "the stored scores. Default: the study's, or each dataset's own.",
            show_default=False,
        ),
    ] = None,
    allow_mixed: Annotated[
        bool,
        typer.Option(
            "--allow-mixed", help="Also rank methods trained with different budgets or splits; every table says so."
        ),
    ] = False,
    figures: Annotated[
        bool, typer.Option("--figures/--no-figures", help="Draw figures, which take most of the time of a report.")
    ] = True,
    mlflow: Annotated[
        bool | None,
        typer.Option(
            "--mlflow/--no-mlflow",
            help="Log the report in MLflow as artifacts of the study's run; default: if a tracking database exists "
            "(mlflow.db here, or MLFLOW_TRACKING_URI).",
            show_default=False,
        ),
    ] = None,
    results: ResultsOption = Path("results"),
) -> None:
    """Write tables and figures of one study, or of several studies together; default: the study run last."""
    from harness.evaluation import METRICS
    from harness.report.inputs.imported_results import add_imported
    from harness.report.inputs.several_studies import combine
    from harness.report.write import write_report
    from harness.results.empty_cases import masks_of, under_policy
    from harness.results.reading import load_results
    from harness.results.store import Store

    store = Store(results)
    names: list[str | None] = [*dict.fromkeys(studies)] if studies else [None]
    folders = [store.find_study(name, profile) for name in names]
    loaded = [load_results(folder, store) for folder in folders]
    if metric:
        metrics = tuple(METRICS.get(name).name for name in dict.fromkeys(metric))
        loaded = [replace(found, metrics=metrics) for found in loaded]
    if empty is not None:
        loaded = [replace(found, empty=empty) for found in loaded]
    study, notes = add_imported(combine(loaded), imported or [])
    if study.empty:
        cells = [cell for folder in folders for _, cell in store.study_cells(folder)]
        study = under_policy(study, study.empty, masks_of(cells))
    name = "+".join(dict.fromkeys(folder.study for folder in folders))
    target = out or results / "reports" / name / folders[0].profile
    made = write_report(study, target, format or [Format.all], allow_mixed=allow_mixed, figures=figures)
    console = PlainConsole(highlight=False)
    console.print(f"{study.study} ({study.profile}):", style="bold", markup=False)
    for path in made.files:
        console.print(f"  {path}", soft_wrap=True, markup=False)
    for found in loaded:
        notes += tuple(_unscored(found, results))
    for text in (*notes, *made.warnings):
        console.print(text, style="yellow", markup=False)
    if len(folders) == 1 and not imported and (mlflow or (mlflow is None and _is_tracked())):
        with saying_untracked(console):
            _log(store, folders[0], target)
            console.print("Logged in MLflow, as artifacts of the study's run.")
    elif mlflow:
        console.print(
            "Only a report of one study and nothing else has a run in MLflow; this one is not logged.", style="yellow"
        )


def _unscored(found: StudyResults, results: Path) -> Iterator[str]:
    """Says which metrics finished cells were not scored by, and the command that does it."""
    from harness.cli.shared.unscored import name_unscored

    done = set(found.cells.loc[found.cells["status"] == "done", "cell"])
    lacking = {
        metric: len(done - set(found.cases.loc[found.cases["metric"] == metric, "cell"])) for metric in found.metrics
    }
    yield from name_unscored(found.study, found.profile, results, lacking, len(done))


def _is_tracked() -> bool:
    """Whether there is a tracking database already: a report never makes one unasked."""
    return bool(os.environ.get("MLFLOW_TRACKING_URI")) or Path("mlflow.db").is_file()


def _log(store: Store, study: StudyFolder, report: Path) -> None:
    from harness.tracking.mlflow_view import MlflowView

    view = MlflowView(store, study)
    view.sync()
    view.log_report(report)
