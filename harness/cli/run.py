"""``harness run``: trains and scores every cell of a study that is not done."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import CacheOption, ProfileOption, ResultsOption, StudyFile

if TYPE_CHECKING:
    from rich.console import Console

    from harness.results.store import Store, StudyFolder
    from harness.tracking.mlflow_view import MlflowView

__all__ = ["run"]


def run(
    study: StudyFile,
    profile: ProfileOption = None,
    workers: Annotated[
        int | None, typer.Option("--workers", "-w", min=1, help="Cells at a time; default: one a GPU, or one a core.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads a cell; default: one, or an equal share beside GPUs.")
    ] = None,
    cpu: Annotated[bool, typer.Option("--cpu", help="Use no GPU.")] = False,
    mlflow: Annotated[bool, typer.Option("--mlflow/--no-mlflow", help="Show the runs in MLflow.")] = True,
    results: ResultsOption = Path("results"),
    cache: CacheOption = Path("cache"),
) -> None:
    """Train and score every cell of a study that is not done yet.

    Run it again after an interruption: finished cells are skipped, others continue from their last checkpoint.
    """
    from rich.console import Console

    from harness.cli.progress import ProgressDisplay
    from harness.execution.local import LocalEngine, cores, detect_gpus, plan_slots
    from harness.execution.run import Observer, measure_variants, register, run_study
    from harness.results.store import Store
    from harness.study.expansion import load_study

    console = Console()
    loaded = load_study(study, profile)
    store = Store(results)
    measure_variants(loaded)  # builds every network once: what cannot be built is refused before anything runs
    store.create()
    folder = register(loaded, store, study)

    gpus = [] if cpu else detect_gpus()
    if not gpus:
        console.print("No CUDA device is used." if cpu else "No CUDA device was found: running on the CPU.")
    slots = plan_slots(gpus, workers, threads)
    if (wanted := sum(slot.threads for slot in slots)) > cores():
        console.print(f"[yellow]{wanted} threads on {cores()} cores:[/] they will slow each other down.")
    engine = LocalEngine(slots)
    console.print(f"[bold]{loaded.study.name}[/] ({loaded.profile}): {loaded.study.question}")
    console.print(f"{len(loaded.cells)} cells, protocol {loaded.protocol.name}, {engine.describe()}.")

    display = ProgressDisplay(console, folder, store, parallel=len(slots))
    observers: list[Observer] = [display]
    view = _open_view(store, folder) if mlflow else None
    if view is not None:
        observers.append(view)
    try:
        with display:
            outcome = run_study(loaded, store, folder, engine, cache, observers)
    except KeyboardInterrupt:
        display.print_summary()
        console.print("Stopped. Nothing is lost: the same command continues from the last checkpoints.")
        raise typer.Exit(130) from None
    display.print_summary()
    _say_what_next(console, loaded.study.name, loaded.profile, results, view)
    if outcome.failed:
        console.print(f"[bold red]{len(outcome.failed)} of {len(loaded.cells)} cells failed.[/]")
        raise typer.Exit(1)


def _open_view(store: Store, folder: StudyFolder) -> MlflowView:
    from harness.tracking.mlflow_view import MlflowView

    return MlflowView(store, folder)


def _say_what_next(console: Console, name: str, profile: str, results: Path, view: MlflowView | None) -> None:
    chosen = "" if profile == "default" else f" --profile {profile}"
    where = "" if results == Path("results") else f" --results {results}"
    console.print(f"Tables and figures:  harness report {name}{chosen}{where} --format latex")
    if view is None:
        return
    from harness.tracking.mlflow_view import tracking_place

    place = tracking_place()
    command = "mlflow ui" if place.startswith("sqlite") else "open it in a browser"
    console.print(f"Compare the runs:    {command}   (tracking at {place}, experiment {name})")
    if view.trouble:
        console.print(f"[yellow]MLflow is out of step:[/] {view.trouble}")
        console.print(f"The results are safe; mirror them later: harness mlflow sync {name}{chosen}{where}")
