"""``harness retry``: computes the cells of a study that failed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.run import run_registered
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
from harness.cli.shared.options import CacheOption, ProfileOption, ResultsOption, StudyName

if TYPE_CHECKING:
    from harness.results.store import CellFolder, Store, StudyFolder

#: What computes again what was removed, by the folder it lay in.
_AGAIN = {
    "subsets": " `harness missing` tests it again.",
    "scores": " `harness evaluate` with the study computes it again.",
}


@engine_options()
def retry(
    study: StudyName = None,
    profile: ProfileOption = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Remove their checkpoints and start from step 1.")] = False,
    damaged: Annotated[
        bool, typer.Option("--damaged", help="Make damaged results and records new, instead of running failed cells.")
    ] = False,
    *,
    engine: EngineChoice,
    retries: RetriesOption = 0,
    timeout: TimeoutOption = None,
    fail_fast: FailFastOption = False,
    mlflow: MlflowOption = True,
    results: ResultsOption = Path("results"),
    cache: CacheOption = Path("cache"),
) -> None:
    """Run the failed cells of a study again, from their last checkpoints; needs no study file.

    With --damaged, cells whose files are not what was written are computed anew, and damaged records that need no
    computing are written again. A damaged cell.json or study.json needs the study's file: here, in studies/ or shipped.
    """
    from harness.results.store import Store

    console = PlainConsole()
    store = Store(results)
    folder = store.find_study(study, profile)
    if damaged:
        store.create()
        chosen, whole = _repair(console, folder, store)
    else:
        cells = [cell for _, cell in store.study_cells(folder)]
        chosen, whole = [cell for cell in cells if cell.status() == "failed"], True
        if not chosen:
            console.print(f"No cell of {folder.study} ({folder.profile}) has failed.")
    if chosen:
        store.create()
        policy = make_policy(retries, timeout, fail_fast)
        opened = engine.open(console, results, cache, folder.study)
        if fresh:  # not before it is sure that they can be computed
            for cell in chosen:
                with cell.lease():
                    cell.clear_work()
        what = "damaged" if damaged else "failed"
        console.print(f"{len(chosen)} {what} cells of {folder.study} ({folder.profile}), {opened.describe()}.")
        run_registered(console, folder, store, opened, cache, policy, mlflow, only={cell.id for cell in chosen})
    if not whole:
        raise typer.Exit(1)


def _repair(console: PlainConsole, folder: StudyFolder, store: Store) -> tuple[list[CellFolder], bool]:
    """Makes records new that need no computing; returns the cells that do, and whether nothing else is left."""
    from harness.execution.repair import repair_records

    found = repair_records(folder, store)
    for path in found.written:
        console.print(f"Written anew: {path}", soft_wrap=True)
    for path in found.removed:
        console.print(f"Removed: {path}, which was damaged.{_AGAIN.get(path.parent.name, '')}", soft_wrap=True)
    for damage in found.left:
        console.print(styled("red", "left as it is:", f" {damage.message} {damage.hint}"), soft_wrap=True)
    if not (found.to_compute or found.written or found.removed or found.left):
        console.print(f"No cell of {folder.study} ({folder.profile}) is damaged.")
    return list(found.to_compute), not found.left
