"""``harness run``: trains and scores every cell of a study that is not done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from harness.cli.shared.console import PlainConsole, styled
from harness.cli.shared.engines import (
    EngineChoice,
    FailFastOption,
    MlflowOption,
    RetriesOption,
    TimeoutOption,
    engine_options,
    make_policy,
)
from harness.cli.shared.graceful_shutdown import graceful_shutdown
from harness.cli.shared.options import CacheOption, ProfileOption, ResultsOption, StudyFile, study_arguments
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.execution.engines.engine import Engine
    from harness.execution.schedule import Policy
    from harness.execution.study import Outcome
    from harness.results.store import Store, StudyFolder
    from harness.tracking.shared import SharedView


@engine_options()
def run(
    study: StudyFile,
    profile: ProfileOption = None,
    *,
    engine: EngineChoice,
    retries: RetriesOption = 0,
    timeout: TimeoutOption = None,
    fail_fast: FailFastOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With Slurm: only print the batch script.")] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="With Slurm: submit the cells and do not wait for them.")
    ] = False,
    mlflow: MlflowOption = True,
    results: ResultsOption = Path("results"),
    cache: CacheOption = Path("cache"),
) -> None:
    """Train and score every cell of a study that is not done yet.

    Run the same command again after an interruption: finished cells are skipped, others continue from their last
    checkpoint. If it runs several times at once, on one machine or several, the runs share the cells.
    """
    policy = make_policy(retries, timeout, fail_fast)
    if detach and not engine.kind.detaches:
        raise HarnessError("--detach belongs to --engine slurm.", hint="Elsewhere start it in `tmux`, or with `nohup`.")
    run_file(PlainConsole(), study, profile, engine, results, cache, policy, mlflow, detach, dry_run)


def run_file(
    console: Console,
    study: Path,
    profile: list[str] | None,
    engine: EngineChoice,
    results: Path,
    cache: Path,
    policy: Policy,
    mlflow: bool,
    detach: bool = False,
    dry_run: bool = False,
) -> StudyFolder:
    """Runs a study from its file: what `harness run` does once its options are read.

    Raises:
        HarnessError: The study cannot be run as it is written.
        typer.Exit: As in :func:`run_registered`.
    """
    from harness.execution.study import measure_variants, register
    from harness.results.store import Store
    from harness.study.expansion import load_study

    store, loaded = Store(results), load_study(study, profile)
    if dry_run:
        typer.echo(engine.batch_script(results, cache, loaded.study.name, len(loaded.cells)))
        return store.study(loaded.study.name, loaded.profile)
    measure_variants(loaded)  # builds every network once: what cannot be built is refused before anything runs
    store.create()
    folder = register(loaded, store, study)
    opened = engine.open(console, results, cache, loaded.study.name)
    console.print(styled("bold", loaded.study.name, f" ({loaded.profile}): {loaded.study.question}"))
    console.print(f"{len(loaded.cells)} cells, protocol {loaded.protocol.name}, {opened.describe()}.")
    if loaded.protocol.caveat:
        console.print(styled("yellow", loaded.protocol.caveat))
    if detach:
        _submit(console, folder, store, opened, cache, policy, engine.arguments)
    else:
        run_registered(console, folder, store, opened, cache, policy, mlflow)
    return folder


def run_registered(
    console: Console,
    folder: StudyFolder,
    store: Store,
    engine: Engine,
    cache: Path,
    policy: Policy,
    mlflow: bool,
    only: Collection[str] | None = None,
) -> None:
    """Runs a study of the store, or some of its cells, with everything a person wants to see.

    Raises:
        typer.Exit: With 1 where cells failed, 130 where the user stopped.
    """
    from harness.cli.shared.progress import ProgressDisplay
    from harness.execution.study import Observer, run_study

    display = ProgressDisplay(console, folder, store, parallel=engine.parallel)
    observers: list[Observer] = [display]
    shared = _share_view(console, folder, store) if mlflow else None
    if shared is not None:
        observers.append(shared)
        if shared.is_shown_elsewhere:
            console.print("Another run works on this study too and shows it in MLflow; the cells are shared.")
    with graceful_shutdown(console, display.print_summary), display:
        outcome = run_study(folder, store, engine, cache, observers, policy, only)
    display.print_summary()
    _say_unscored(console, folder, store, outcome.done)
    _say_what_next(console, folder.study, folder.profile, store.root, shared)
    for cell, text in outcome.unwritten.items():
        console.print(styled("red", cell, f": {text}"), highlight=False)
    if outcome.failed:
        console.print(styled("bold red", _count_failed(folder, store, outcome)))
        raise typer.Exit(1)


def _count_failed(folder: StudyFolder, store: Store, outcome: Outcome) -> str:
    """Returns how many cells have no result, and what to do about those whose result is damaged."""
    everything = len(outcome.failed) + len(outcome.done)
    damaged = sum(bool(store.cell(cell).result_damages()) for cell in outcome.failed)
    said = [f"{len(outcome.failed) - damaged} of {everything} cells failed."] if len(outcome.failed) > damaged else []
    if damaged:
        again = study_arguments(folder.study, folder.profile, store.root)
        said.append(f"{damaged} of {everything} cells are damaged: `harness retry {again} --damaged` makes them new.")
    return " ".join(said)


def _say_unscored(console: Console, folder: StudyFolder, store: Store, done: Collection[str]) -> None:
    """Says which metrics the study asks for and cells lack that were finished before, or in which a metric failed."""
    from harness.cli.shared.unscored import name_unscored
    from harness.results.scores import unscored_metrics

    wanted = folder.manifest().report.metrics
    lacking = Counter(metric for cell in done for metric in unscored_metrics(store.cell(cell), wanted))
    for sentence in name_unscored(folder.study, folder.profile, store.root, lacking, len(done)):
        console.print(styled("yellow", sentence), soft_wrap=True)


def _submit(
    console: Console,
    folder: StudyFolder,
    store: Store,
    engine: Engine,
    cache: Path,
    policy: Policy,
    arguments: str,
) -> None:
    """Submits the cells, and says where to look for what becomes of them."""
    from harness.execution.study import submit_study

    found = submit_study(folder, store, engine, cache, policy)
    again = study_arguments(folder.study, folder.profile, store.root)
    console.print(f"Submitted {found.cells} cells, job {', '.join(found.jobs) or '-'}; {found.skipped} left out.")
    console.print(f"How far they are:    harness status {again}", highlight=False)
    console.print(f"MLflow:              harness mlflow sync {again}", highlight=False)
    console.print(f"Failed cells again:  harness retry {again} {arguments}", highlight=False)


def _share_view(console: Console, folder: StudyFolder, store: Store) -> SharedView:
    from harness.tracking.mlflow_view import MlflowView
    from harness.tracking.shared import SharedView
    from harness.tracking.system_metrics import missing_package

    if package := missing_package():
        console.print(styled("yellow", "No system metrics in MLflow:", f" {package} is missing: pip install {package}"))
    again = study_arguments(folder.study, folder.profile, store.root)

    def say(trouble: str) -> None:
        more = f" {trouble} The study runs without it; mirror it later: harness mlflow sync {again}"
        console.print(styled("yellow", "MLflow is out of step:", more), soft_wrap=True)

    return SharedView(folder.lease(), lambda: MlflowView(store, folder), say)


def _say_what_next(console: Console, name: str, profile: str, results: Path, shared: SharedView | None) -> None:

    again = study_arguments(name, profile, results)
    console.print(f"Tables and figures:  harness report {again} --format latex")
    if shared is None:
        return
    if shared.view is not None:
        from harness.tracking.server import tracking_place

        place = tracking_place()
        command = "mlflow ui" if place.startswith("sqlite") else "open it in a browser"
        console.print(f"Compare the runs:    {command}   (tracking at {place}, experiment {name})")
    if shared.trouble:
        console.print(styled("yellow", "MLflow is out of step:", f" {shared.trouble}"))
        console.print(f"The results are safe; mirror them later: harness mlflow sync {again}")
