"""``harness report``: tables and figures from the results; no model is touched."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.shared.console import PlainConsole
from harness.cli.shared.options import AlphaOption, CostsOption, MarginOption, ProfileOption, ResultsOption
from harness.cli.shared.untracked import saying_untracked
from harness.errors import HarnessError
from harness.report import Format
from harness.statistics.sample_size import ALPHA

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
        list[str] | None,
        typer.Option(
            "--with",
            metavar="[LABEL=]PATH",
            help="Results of others: nnU-Net's summary.json (a file, a fold, a model with its folds), MIST's csv, "
            "panoptica's tsv, a csv of `harness evaluate`, or any csv with --column. May be repeated. Where every one "
            "has a LABEL, no study is needed.",
            show_default=False,
        ),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            help="Column of a csv of others, MEANING=HEADING: case=ID and dice/WT=Dice_WT, or region=, metric=, "
            "value=, patient=, fold=, seed=. May be repeated.",
            show_default=False,
        ),
    ] = None,
    dataset_json: Annotated[
        Path | None,
        typer.Option(help="dataset.json that names the labels of --with; default: the one beside or above the files."),
    ] = None,
    dataset_name: Annotated[
        str | None, typer.Option(help="Dataset of the results of --with, where they name none.", show_default=False)
    ] = None,
    patient: Annotated[
        str | None,
        typer.Option(
            help="Regular expression; its group matches the patient in a case's name of --with. Default: each case is "
            "a patient.",
            show_default=False,
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(help="Label that the others are compared with. Default: the study's, or the first --with."),
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
    by: Annotated[
        list[str] | None,
        typer.Option(
            help="Column of the patients to show scores by, e.g. site; may be repeated. Personal data: it stands "
            "on the page then. Default: those of the study.",
            show_default=False,
        ),
    ] = None,
    allow_mixed: Annotated[
        bool,
        typer.Option(
            "--allow-mixed", help="Also rank methods trained with different budgets or splits; every table says so."
        ),
    ] = False,
    margin: MarginOption = None,
    alpha: AlphaOption = ALPHA,
    costs: CostsOption = None,
    rank_unproven: Annotated[
        bool,
        typer.Option(
            "--rank-unproven",
            help="Also rank networks that are written from their papers alone, with no code to compare with.",
        ),
    ] = False,
    budget: Annotated[
        bool,
        typer.Option("--budget", help="Show parameters, GFLOPs, memory and GPU hours of every network in every table."),
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
    from harness.report.inputs.acquisition import read_acquisition
    from harness.report.inputs.gather import Choice, gather_others, gather_studies
    from harness.report.inputs.requests import parse_requests
    from harness.report.write import write_report
    from harness.results.store import Store

    requests = parse_requests(
        imported or [], columns=column or [], dataset_json=dataset_json, dataset=dataset_name or "", patient=patient
    )
    question = read_acquisition(margin, alpha, costs)
    alone = bool(requests) and not studies and all(request.label for request in requests)
    if alone and by:
        raise HarnessError("--by needs a study: results of others come without columns.", hint="Name a study.")
    chosen = Choice(tuple(metric or ()), empty, reference, tuple(by or ()))
    store = Store(results)
    gathered = gather_others(requests, chosen) if alone else gather_studies(store, studies, profile, requests, chosen)
    target = out or results / "reports" / gathered.name
    made = write_report(
        gathered.study,
        target,
        format or [Format.all],
        allow_mixed=allow_mixed,
        rank_unproven=rank_unproven,
        budget=budget,
        figures=figures,
        question=question,
    )
    console = PlainConsole(highlight=False)
    console.print(f"{gathered.study.study} ({gathered.study.profile}):", style="bold", markup=False)
    for path in made.files:
        console.print(f"  {path}", soft_wrap=True, markup=False)
    unscored = [text for found in gathered.loaded for text in _unscored(found, results)]
    for text in (*gathered.notes, *unscored, *made.warnings):
        console.print(text, style="yellow", markup=False)
    tracked = gathered.folder is not None and not imported and _is_tracked()
    if mlflow is None and tracked and gathered.study.columns:
        console.print(
            "The report shows columns of patients, so it is not logged in MLflow; --mlflow would log it.",
            style="yellow",
        )
    elif gathered.folder is not None and not imported and (mlflow or (mlflow is None and tracked)):
        with saying_untracked(console):
            _log(store, gathered.folder, target)
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
