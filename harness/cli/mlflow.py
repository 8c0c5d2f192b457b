"""``harness mlflow``: rebuilds the MLflow view from the store."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.shared.console import PlainConsole
from harness.cli.shared.options import ProfileOption, ResultsOption

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
    from harness.tracking.mlflow_view import MlflowView, tracking_place

    store = Store(results)
    chosen = [store.find_study(study, profile)] if study or profile else store.studies() or [store.find_study()]
    for one in chosen:
        view = MlflowView(store, one)
        view.sync()
        report = store.root / "reports" / one.study / one.profile
        if report.is_dir():
            view.log_report(report)
        PlainConsole().print(f"{one.study} ({one.profile}) is in step with {tracking_place()}")
