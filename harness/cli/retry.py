"""``harness retry``: computes the cells of a study that failed."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.run import run_registered
from harness.cli.shared.console import PlainConsole
from harness.cli.shared.engines import (
    EngineChoice,
    FailFastOption,
    MlflowOption,
    RetriesOption,
    TimeoutOption,
    engine_options,
    make_policy,
)
from harness.cli.shared.options import CacheOption, ProfileOption, ResultsOption, StudyName


@engine_options()
def retry(
    study: StudyName = None,
    profile: ProfileOption = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Remove their checkpoints and start from step 1.")] = False,
    *,
    engine: EngineChoice,
    retries: RetriesOption = 0,
    timeout: TimeoutOption = None,
    fail_fast: FailFastOption = False,
    mlflow: MlflowOption = True,
    results: ResultsOption = Path("results"),
    cache: CacheOption = Path("cache"),
) -> None:
    """Run the failed cells of a study again, from their last checkpoints; needs no study file."""
    from harness.results.store import Store

    console = PlainConsole()
    store = Store(results)
    folder = store.find_study(study, profile)
    cells = [cell for _, cell in store.study_cells(folder)]
    failed = [cell for cell in cells if cell.status() == "failed"]
    if not failed:
        console.print(f"No cell of {folder.study} ({folder.profile}) has failed.")
        return
    store.create()
    policy = make_policy(retries, timeout, fail_fast)
    opened = engine.open(console, results, folder.study)
    if fresh:  # not before it is sure that they can be computed
        for cell in failed:
            with cell.lease():
                cell.clear_work()
    console.print(f"{len(failed)} failed cells of {folder.study} ({folder.profile}), {opened.describe()}.")
    run_registered(console, folder, store, opened, cache, policy, mlflow, only_failed=True)
