"""``harness verify``: whether a published folder is as published, and whether its numbers follow from its rows."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.shared.console import PlainConsole, styled
from harness.cli.shared.json_output import print_json
from harness.cli.shared.options import JsonOption


def verify(
    folder: Annotated[Path, typer.Argument(help="Folder that `harness publish` wrote.", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Compute every table and figure of a published folder again, and say whether it is equal or what differs.

    It needs no data and changes nothing. It ends with status 1 if anything differs.
    """
    from harness.publication.verify import verify as check

    found = check(folder)
    if as_json:
        rows = [{"what": what} for what in found.differences]
        print_json("verify", rows, equal=found.equal, **asdict(found))
    else:
        console = PlainConsole(highlight=False)
        counted = ", ".join(f"{number} {what}" for what, number in found.recomputed.items())
        console.print(f"{found.files} files compared with their checksums; computed again: {counted}.")
        for text in found.differences:
            console.print(styled("red", "differs:", f" {text}"), soft_wrap=True)
        for text in found.remarks:
            console.print(styled("yellow", "note:", f" {text}"), soft_wrap=True)
        console.print(f"Fingerprint: {found.fingerprint}", soft_wrap=True)
        console.print(styled("bold green", "Equal.") if found.equal else styled("bold red", "It differs."))
    if not found.equal:
        raise typer.Exit(1)
