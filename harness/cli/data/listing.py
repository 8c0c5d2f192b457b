"""``harness data``: which datasets are registered, what is known of them, and whether they are found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.shared.console import PlainConsole, styled
from harness.cli.shared.formatting import say_left_out, table
from harness.errors import DataError

if TYPE_CHECKING:
    from harness.data import Dataset

data = typer.Typer(help="List the registered datasets; `show` describes one.", invoke_without_command=True)


@data.callback(epilog="Example: harness data show cortex")
def list_datasets(context: typer.Context) -> None:
    """List the registered datasets."""
    if context.invoked_subcommand is not None:
        return

    from harness.data import DATASETS

    listing = table("dataset", "title", "kind", "modalities", "regions", "leads", "found")
    loaded, broken = DATASETS.load_all()
    for name, one in loaded.items():
        try:
            listing.add_row(*_row(one))
        except Exception as error:  # a fact that is not what the contract says hides no other dataset
            broken[name] = f"The facts of '{name}' are not what a dataset declares: {error}"
    console = PlainConsole()
    console.print(listing)
    say_left_out(console, broken)


def _row(one: Dataset) -> tuple[str, ...]:
    from harness.data.synthetic.generated import kind_of

    kind: str = one.kind
    try:
        place = "ships with us" if one.locate() == one.home else str(one.locate())
        kind = kind_of(one, None)
    except DataError:
        place = f"no: set {one.variable}"
    return one.name, one.title, kind, ", ".join(one.modalities), ", ".join(one.regions), one.default_leading, place


@data.command(epilog="Example: harness data show cortex")
def show(name: Annotated[str, typer.Argument(help="Registered dataset.")]) -> None:
    """Show one dataset: facts, splits, licence, caveats."""
    from harness.data import DATASETS
    from harness.data.synthetic.generated import kind_of

    one = DATASETS.get(name)
    console = PlainConsole()
    console.print(styled("bold", one.title, f" ({one.name}, {one.kind} data): {one.summary}"))
    console.print(f"Modalities: {', '.join(one.modalities)}; leading by default: {one.default_leading}")
    console.print(f"Labels: {', '.join(f'{value} {word}' for value, word in one.labels.items())}")
    console.print(f"Regions scored: {', '.join(f'{key} = labels {value}' for key, value in one.regions.items())}")
    console.print(f"One test case: {one.unit}")
    console.print(f"Licence: {one.licence}. Access: {one.access}")
    for note in one.notes:
        console.print(f"- {note}")
    folder = one.locate()
    reader = one.open(folder)
    generated = ", generated data" if kind_of(one, folder) == "generated" else ""
    fingerprint, splits = one.read_apart(lambda: (reader.fingerprint(), [reader.split(n) for n in range(one.folds)]))
    console.print(f"Folder: {folder} (files' hash {fingerprint}{generated})")
    for fold, split in enumerate(splits):
        console.print(
            f"Fold {fold} (hash {split.hash}): {len(split.train)} training, {len(split.val)} validation, "
            f"{len(split.test)} test cases"
        )
