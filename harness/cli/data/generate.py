"""``harness data generate``: phantoms of patients in a dataset's official layout."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.data.listing import data

__all__ = ["generate"]


@data.command(epilog="Example: harness data generate brats2023 --out data/brats2023 --patients 12 --seed 0")
def generate(
    name: Annotated[str, typer.Argument(help="Registered name.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder to fill; must not hold anything.", show_default=False)],
    patients: Annotated[int, typer.Option(help="Labelled patients; at least 5.")] = 12,
    seed: Annotated[int, typer.Option(help="The same seed gives the same images.")] = 0,
    scale: Annotated[float, typer.Option(help="Size of the image matrix against the official one, up to 1.")] = 0.25,
) -> None:
    """Write generated patients under the official names, with the traps of the real archives.

    Good for trying a study, a network or a reader before the real data is there. The folder is marked, and every table
    of a study on it says `generated data`.
    """
    from rich.console import Console

    from harness.cli.words import duration
    from harness.data import DATASETS
    from harness.data.generated import generate as write

    console = Console()
    dataset = DATASETS.get(name)
    start = time.monotonic()
    with console.status(f"Drawing {patients} patients of {dataset.title} at scale {scale:g} ..."):
        write(dataset, out, patients, seed, scale)
    reader = dataset.open(out)
    cases = f"{len(reader.cases())} labelled and {len(reader.unlabelled())} unlabelled cases"
    taken = duration(time.monotonic() - start)
    console.print(f"[bold]{dataset.title}[/], generated: {cases} in {out}, {taken}.", soft_wrap=True)
    console.print(f"Next: {dataset.variable}={out} harness run STUDY, or `root: {out}` in the study.", soft_wrap=True)
