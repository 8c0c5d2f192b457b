"""``harness publish``: a study as a folder for an archive or a hub."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.shared.console import PlainConsole, styled
from harness.cli.shared.options import AlphaOption, CostsOption, MarginOption, ProfileOption, ResultsOption
from harness.statistics.sample_size import ALPHA


class Keep(StrEnum):
    """What is published on request alone."""

    names = "names"
    dates = "dates"
    paths = "paths"
    images = "images"


def publish(
    study: Annotated[str, typer.Argument(help="Name of a study.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to make; it must not be there, or be empty.")],
    profile: ProfileOption = None,
    keep: Annotated[
        list[Keep] | None,
        typer.Option(
            help="Publish this too: names (of patients and cases; else pseudonyms), dates, paths (of machines), images "
            "(slices, which the data's licence must allow). May be repeated.",
            show_default=False,
        ),
    ] = None,
    weights: Annotated[bool, typer.Option("--weights/--no-weights", help="Publish the weights with model cards.")] = (
        True
    ),
    partial: Annotated[
        bool, typer.Option("--partial", help="Publish a study that lacks something; what it lacks is named in it.")
    ] = False,
    margin: MarginOption = None,
    alpha: AlphaOption = ALPHA,
    costs: CostsOption = None,
    results: ResultsOption = Path("results"),
) -> None:
    """Write a study into a folder for an archive or a hub: rows, splits, protocols, versions, weights, report.

    With --margin (and --costs) the report has the tests of sets of modalities, as `harness report` with these options;
    they are recorded, and `harness verify` computes them again, e.g. harness publish STUDY --margin 0.02 --out FOLDER.

    It is a results folder, too: `harness report STUDY --results DIR` reads it, and `harness verify DIR` checks it.
    """
    from harness.publication.publish import publish as write_publication
    from harness.report.inputs.acquisition import read_acquisition
    from harness.results.store import Store

    console, store = PlainConsole(highlight=False), Store(results)
    folder = store.find_study(study, profile)
    kept = [one.value for one in keep or ()]
    question = read_acquisition(margin, alpha, costs)
    made = write_publication(store, folder, out, keep=kept, weights=weights, partial=partial, question=question)
    console.print(
        styled("bold", f"{folder.study} ({folder.profile})", f": {made.cells} cells, {made.files} files in {out}"),
        soft_wrap=True,
    )
    for what in made.missing:
        console.print(styled("yellow", "lacking:", f" {what}"), soft_wrap=True)
    console.print(f"Fingerprint, to quote: {made.fingerprint}", soft_wrap=True)
    console.print(f"Check it anywhere:     harness verify {out}", soft_wrap=True)
