"""``harness mlflow``: rebuilds the MLflow view from the store."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.shared.console import PlainConsole, styled
from harness.cli.shared.options import ProfileOption, ResultsOption
from harness.errors import HarnessError
from harness.report import PERSONAL

mlflow_app = typer.Typer(help="Copy results into MLflow.", no_args_is_help=True)


@mlflow_app.callback(epilog="Example: harness mlflow sync")
def _group() -> None:
    """Copy results into MLflow."""


@mlflow_app.command(epilog="Example: harness mlflow sync ablation_tcfaf")
def sync(
    study: Annotated[
        str | None, typer.Argument(help="Name of a study; default: every study.", show_default=False)
    ] = None,
    profile: ProfileOption = None,
    results: ResultsOption = Path("results"),
) -> None:
    """Write a study's results and reports into MLflow; without a name, those of every study."""
    from harness.results.store import Store
    from harness.tracking.mlflow_view import MlflowView
    from harness.tracking.server import TrackingError, tracking_place

    console = PlainConsole()
    store = Store(results)
    chosen = [store.find_study(study, profile)] if study or profile else store.studies() or [store.find_study()]
    failed = 0
    for one in chosen:
        try:
            view = MlflowView(store, one)
            view.sync()
            report = store.root / "reports" / one.study / one.profile
            if (report / PERSONAL).is_file():
                console.print(f"{report} shows columns of patients, so it is not logged.", soft_wrap=True, markup=False)
            elif report.is_dir():
                view.log_report(report)
        except TrackingError:
            raise
        except HarnessError as error:  # of this study: the others are mirrored all the same
            failed += 1
            console.print(styled("red", f"{one.study} ({one.profile}):", f" {error.message} {error.hint}"))
            continue
        console.print(f"{one.study} ({one.profile}) is in step with {tracking_place()}", soft_wrap=True)
    if failed:
        raise typer.Exit(1)
