"""``harness logs``: what a cell's process printed."""

import re
import time
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.shared.json_output import print_json
from harness.cli.shared.options import JsonOption, ResultsOption
from harness.errors import HarnessError
from harness.text import printable

_LOOK_EVERY = 0.5  # seconds


def logs(
    cell: Annotated[str, typer.Argument(help="Identity of a cell, or any part of it that is unique, e.g. the hash.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show new lines until the cell ends.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, max=1_000_000, help="Number of lines to show.")] = 30,
    as_json: JsonOption = False,
    results: ResultsOption = Path("results"),
) -> None:
    """Show the end of a cell's log, for every engine. `harness plan` lists identities."""
    from harness.results.store import Store

    folder = Store(results).find_cell(cell)
    if as_json and follow:
        raise HarnessError("--json and --follow contradict each other.", hint="Leave one of them out.")
    if as_json:
        rows = [{"line": line} for line in printable(folder.log_tail(lines)).splitlines()]
        print_json("logs", rows, cell=folder.id, state=folder.status(), file=folder.log)
        return
    typer.echo(f"{folder.id}: {folder.status()}")
    if text := folder.log_tail(lines):
        typer.echo(printable(text))
    if not follow:
        return
    place = folder.log.stat().st_size if folder.log.is_file() else 0
    while True:
        running = folder.owner() is not None  # asked first, so that the last words are not missed
        if folder.log.is_file():
            with folder.log.open("rb") as file:
                file.seek(place)
                fresh = file.read()
            place += len(fresh)
            typer.echo(_lines(fresh), nl=False)
        if not running:
            typer.echo(f"{folder.id}: {folder.status()}")
            return
        time.sleep(_LOOK_EVERY)


def _lines(fresh: bytes) -> str:
    """Returns what may be shown of a log: bars that are drawn anew in place become lines."""
    return printable(re.sub("\r\n?", "\n", fresh.decode("utf-8", errors="replace")))
