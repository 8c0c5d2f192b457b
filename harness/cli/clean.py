"""``harness clean``: removes what is not needed any more."""

from pathlib import Path
from typing import Annotated

import typer
from rich.filesize import decimal

from harness.cli.shared.console import PlainConsole, styled
from harness.cli.shared.options import CacheOption, ResultsOption


def clean(
    failed: Annotated[
        bool,
        typer.Option("--failed", help="Also remove log, checkpoints and failure of failed cells; they start again."),
    ] = False,
    unused: Annotated[
        bool, typer.Option("--cache-entries", help="Also remove prepared data that no cell in these results uses.")
    ] = False,
    orphans: Annotated[
        bool, typer.Option("--orphaned-results", help="Also remove results of cells that no study uses any more.")
    ] = False,
    damaged: Annotated[
        bool, typer.Option("--damaged", help="Also remove damaged results and records; their cells are computed anew.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    results: ResultsOption = Path("results"),
    cache: CacheOption = Path("cache"),
) -> None:
    """List leftover files with their sizes, ask, and remove them.

    Leftovers are checkpoints of finished cells and half-written files. Results are kept, unless --orphaned-results is
    given. Damaged files are listed with what to do; `harness retry STUDY --damaged` makes them new.
    """
    from harness.results.cleaning import Removable, find_damages, find_removable
    from harness.results.store import Store

    console = PlainConsole()
    store = Store(results)
    for damage in find_damages(store):
        console.print(styled("red", "damaged", f"  {damage.message} {damage.hint}"), soft_wrap=True)
    found = find_removable(store, failed, orphans, damaged)
    if unused:
        from harness.results.cache_use import unused_entries

        entries, unknown = unused_entries(store, cache)
        for name in unknown:
            console.print(styled("yellow", f"{name} cannot be opened now:", " its prepared data is kept."))
        if entries:
            found.append(Removable("prepared data that no cell uses", tuple(entries)))
    if not found:
        console.print("Nothing to remove.")
        return
    for one in found:
        console.print(f"{decimal(one.size):>10}  {len(one.paths)} x {one.what}")
    if not yes and not typer.confirm("Remove this?", default=False):
        raise typer.Exit(1)
    kept = sum(one.remove() for one in found)
    console.print(f"Removed, except {kept} folders or files of cells that are running now." if kept else "Removed.")
