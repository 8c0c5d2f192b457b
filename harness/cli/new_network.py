"""``harness new-network``: a package of one's own that adds a network."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.shared.console import PlainConsole, styled
from harness.new_network import write_network


def new_network(
    name: Annotated[str, typer.Argument(help="Name of the network and of its Python package.")],
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Where to write it; default: a folder of that name.")
    ] = None,
    title: Annotated[str, typer.Option("--title", help="Name in tables; default: the name.")] = "",
) -> None:
    """Write a package that adds a network: contract, a small U-Net to change, its test, and a study."""
    place = folder or Path(name)
    console = PlainConsole(highlight=False)
    for path in write_network(name, place, title):
        console.print(f"wrote {path}")
    study = place / "studies" / f"compare_{name}.yaml"
    console.print(
        styled("bold", "Next:"),
        f"  pip install --no-deps -e {place}   # registers it; once",
        f"  harness check {name}   # or, in {place}: pytest",
        f"  harness run {study} --profile demo",
        sep="\n",
    )
