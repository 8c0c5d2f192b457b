"""``harness tune``: searches a protocol for each network on each dataset of a study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from harness.cli.shared.console import PlainConsole, styled
from harness.cli.shared.engines import EngineChoice, MlflowOption, TimeoutOption, engine_options, make_policy
from harness.cli.shared.graceful_shutdown import graceful_shutdown
from harness.cli.shared.options import CacheOption, ProfileOption, ResultsOption, StudyFile
from harness.cli.shared.untracked import saying_untracked
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.execution.engines.engine import Engine
    from harness.execution.schedule import Policy
    from harness.study.expansion import LoadedStudy
    from harness.study.tuning import Range
    from harness.tuning.search import Search


@engine_options(without=("cells_per_gpu", "gpus_per_cell"))
def tune(
    study: StudyFile,
    profile: ProfileOption = None,
    trials: Annotated[
        int | None, typer.Option(min=1, max=100_000, help="Trials per network and dataset; default: the study's.")
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Database of the trials, e.g. postgresql://HOST/DATABASE; default: SQLite in the results folder.",
            envvar="HARNESS_TUNING_STORAGE",
        ),
    ] = None,
    *,
    engine: EngineChoice,
    timeout: TimeoutOption = None,
    mlflow: MlflowOption = True,
    results: ResultsOption = Path("results"),
    cache: CacheOption = Path("cache"),
) -> None:
    """Tune the protocol of each network on each dataset, with equal effort, on validation cases only.

    Run the same command again after an interruption: finished trials count, others continue from their last checkpoint.
    The result is protocols/tuned_STUDY.yaml beside the study; name it under `protocol` in the study.
    """
    from harness.execution.study import measure_variants
    from harness.results.lease import Lease, LeaseHeldError
    from harness.results.store import Store
    from harness.shipped import home_of
    from harness.study.expansion import load_study
    from harness.tuning.results import check_target, protocol_name
    from harness.tuning.search import open_searches

    console = PlainConsole()
    loaded = load_study(study, profile)
    if trials is not None:
        loaded = _with_trials(loaded, trials)
    target = home_of(study) / "protocols" / f"{protocol_name(loaded)}.yaml"
    check_target(target)
    measure_variants(loaded)
    Store(results).create()
    folder = results.resolve() / "tuning" / loaded.study.name / loaded.profile
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with Lease(folder / "leases"):
            searches = open_searches(loaded, storage or f"sqlite:///{folder / 'trials.db'}")
            opened = engine.open(console, results, cache, loaded.study.name)
            taken = sum(search.resume_trials() for search in searches)
            _describe(console, loaded, searches, opened, taken)
            policy = make_policy(0, timeout, fail_fast=False)
            _search(console, searches, opened, folder, cache.resolve(), policy)
            _write(console, loaded, searches, folder, target, mlflow)
    except LeaseHeldError as error:
        raise HarnessError(
            f"{loaded.study.name} ({loaded.profile}) is being tuned already: {error.message}",
            hint="Wait for that run; it may use more places: --workers.",
        ) from error


def _with_trials(loaded: LoadedStudy, trials: int) -> LoadedStudy:

    tuning = loaded.study.tuning.model_copy(update={"trials": trials})
    return replace(loaded, study=loaded.study.model_copy(update={"tuning": tuning}))


def _describe(console: Console, loaded: LoadedStudy, searches: Sequence[Search], engine: Engine, taken: int) -> None:
    settings = loaded.study.tuning
    count = len(searches)
    console.print(styled("bold", loaded.study.name, f" ({loaded.profile}): tuning protocol {loaded.protocol.name}"))
    console.print(
        f"{count} search{'es' * (count > 1)} of {settings.trials} trials each over {', '.join(settings.space)}; "
        f"{engine.describe()}. Test cases stay closed.",
        highlight=False,
        soft_wrap=True,
    )
    if taken:
        console.print(f"{taken} trial{'s' * (taken > 1)} of an interrupted run are taken up again.")
    first = searches[0].spec
    if len({cell.spec.fold for cell in loaded.cells}) > 1:
        console.print(
            styled(
                "yellow",
                f"Trials use fold {first.fold} only:",
                " its validation cases may be test cases of other folds. "
                f"Compare tuned networks on fold {first.fold}, or tune a study of each fold.",
            )
        )


def _search(
    console: Console, searches: Sequence[Search], engine: Engine, folder: Path, cache: Path, policy: Policy
) -> None:
    from harness.cli.shared.progress import counting_bar
    from harness.tuning.run_search import run_search

    with graceful_shutdown(console), counting_bar(console) as bar:
        total = sum(search.settings.trials for search in searches)
        task = bar.add_task("trials", total=total)

        def watch() -> None:
            bar.update(task, completed=min(total, sum(search.over() for search in searches)))

        run_search(engine, searches, folder / "cells", cache, policy, watch)


def _say(key: str, value: object, one: Range) -> str:
    """Returns e.g. 'training.optimiser.lr x 1.5'."""
    number = f"{value:.3g}" if isinstance(value, float) else str(value)
    return f"{key} {'x ' if one.factor is not None else ''}{number}"


def _write(
    console: Console,
    loaded: LoadedStudy,
    searches: Sequence[Search],
    folder: Path,
    target: Path,
    mlflow: bool,
) -> None:
    from harness.tuning.results import draw_figures, write_protocol, write_trials

    write_trials(folder, searches)
    for search in searches:
        best, count = search.best(), search.count()
        drawn = ", ".join(_say(key, value, search.settings.space[key]) for key, value in best.params.items())
        console.print(
            f"{search.title}: validation Dice {best.value:.3f} in trial {best.number} ({drawn}); "
            f"trials: {count['complete']} whole, {count['pruned']} ended early, {count['fail']} failed.",
            highlight=False,
            soft_wrap=True,
        )
    write_protocol(target, loaded, searches)
    draw_figures(folder / "pictures", searches)
    console.print(
        f"Protocol:  {target}   (a study uses it by `protocol: {target.stem}`)", highlight=False, soft_wrap=True
    )
    console.print(f"Pictures:  {folder / 'pictures'}", highlight=False, soft_wrap=True)
    if mlflow:
        from harness.tracking.tuning_run import log_tuning

        settings = loaded.study.tuning
        params = {"protocol": loaded.protocol.name, "trials": str(settings.trials), "pruner": settings.pruner}
        metrics = {f"val_dice.{one.spec.model}.{one.spec.dataset}": float(one.best().value or 0) for one in searches}
        files = [target, folder / "trials.csv", folder / "pictures"]
        with saying_untracked(console):
            log_tuning(loaded.study.name, loaded.profile, params, metrics, files)
