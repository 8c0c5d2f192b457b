"""``harness data generate``: phantoms of patients in a dataset's official layout, or in those of all datasets."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from harness.cli.data.listing import data
from harness.cli.shared.console import PlainConsole, styled
from harness.cli.shared.formatting import duration
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.data import Dataset


@data.command(epilog="Examples: harness data generate brats2023 --patients 12 --seed 0; harness data generate --all")
def generate(
    name: Annotated[str | None, typer.Argument(help="Registered dataset, or give --all.", show_default=False)] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to write to; must be empty or absent. Default: data/NAME.", show_default=False),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Generate every dataset that can be generated, each in its folder OUT/NAME.")
    ] = False,
    patients: Annotated[int, typer.Option(max=100_000, help="Labelled patients; at least 5.")] = 12,
    seed: Annotated[
        int, typer.Option(min=0, max=2**64 - 1, help="Random seed; the same seed gives the same images.")
    ] = 0,
    scale: Annotated[
        float, typer.Option(min=0, max=1, help="Size of the image matrix relative to the official one, up to 1.")
    ] = 0.25,
    informative: Annotated[
        str | None,
        typer.Option(
            metavar="MODALITY",
            help="BraTS only: modality that shows the tumour; the others hardly show it.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write generated patients in a dataset's official layout, with the peculiarities of the real archive.

    Use it to try a study, a network or a reader before you have the real data. The folder is marked, and every table of
    a study on it says `generated data`. If the variable HARNESS_DATA_NAME names another folder, studies read that one,
    and a warning says so. With --all, OUT is by default `data`, where studies look for datasets; folders that are not
    empty stay as they are.
    """
    from harness.data import DATASETS
    from harness.data.synthetic.generated import describe, generatable

    console = PlainConsole()
    if (name is None) == (not every):
        raise HarnessError(
            "Name one dataset, or give --all." if name is None else "Give a dataset's name or --all, not both.",
            hint="`harness data` lists the datasets.",
        )
    if every and informative is not None:
        raise HarnessError("--informative needs one dataset's name.", hint="Leave out --all.")
    if name is not None:
        dataset = DATASETS.get(name)
        folder = out or Path("data") / dataset.files
        _write(console, dataset, folder, patients, seed, scale, informative)
        dataset.warn_of_variable()
        if folder != Path("data") / dataset.files:
            console.print(
                f"Next: {dataset.variable}={folder} harness run STUDY, or `root: {folder}` in the study.",
                soft_wrap=True,
            )
        return
    for dataset in generatable():
        folder = (out or Path("data")) / dataset.name
        if folder.is_dir() and any(folder.iterdir()):
            console.print(f"{dataset.title}: {folder} holds {describe(folder)}; left as it is.", soft_wrap=True)
        else:
            _write(console, dataset, folder, patients, seed, scale)
        dataset.warn_of_variable()


def _write(
    console: Console,
    dataset: Dataset,
    folder: Path,
    patients: int,
    seed: int,
    scale: float,
    informative: str | None = None,
) -> None:
    """Generates one tree and says what is in it."""
    from harness.data.synthetic.generated import generate as write

    start = time.monotonic()
    with console.status(Text(f"Drawing {patients} patients of {dataset.title} at scale {scale:g} ...")):
        write(dataset, folder, patients, seed, scale, informative)
    reader = dataset.open(folder)
    cases = f"{len(reader.cases())} labelled and {len(reader.unlabelled())} unlabelled cases"
    taken = duration(time.monotonic() - start)
    console.print(styled("bold", dataset.title, f", generated: {cases} in {folder}, {taken}."), soft_wrap=True)
    if informative is not None:
        console.print(f"{informative} alone shows the tumour; the others hardly do.")
