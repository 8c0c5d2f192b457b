"""``harness data splits``: writes a dataset's folds to a file that a study can name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.data.listing import data
from harness.cli.shared.console import PlainConsole, styled
from harness.cli.shared.formatting import table
from harness.errors import HarnessError, did_you_mean

if TYPE_CHECKING:
    from harness.data import Split


@data.command(epilog="Example: harness data splits brats2023 --root ~/BraTS2023 --out brats2023_splits.json")
def splits(
    name: Annotated[str, typer.Argument(help="Registered dataset.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The file to write (JSON).", show_default=False)],
    root: Annotated[
        Path | None, typer.Option(help="Folder of the dataset; default: where studies look for it.", show_default=False)
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            help="Column of the patients that the folds go by, e.g. site, in place of the dataset's own folds.",
            show_default=False,
        ),
    ] = None,
    kind: Annotated[
        str, typer.Option(help="With --by: leave-one-out, or pairs (train at one, test at every one).")
    ] = "leave-one-out",
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Write every fold of a dataset to a file, as a record or as a start for your own folds.

    A study names the file: `- {name: NAME, splits: FILE}`. If you change a fold, remove its `hash`.
    """
    from harness.data.datasets.layouts import LAYOUTS, find_dataset
    from harness.data.incomplete import UNTRAINED_REMEDY, untrained_words
    from harness.data.patients.by_column import KINDS, Folds, SplitBy
    from harness.data.splits import check_leak, write_splits

    if kind not in KINDS:
        raise HarnessError(f"--kind {kind} is not known.", hint=did_you_mean(kind, KINDS))
    chosen_by = Folds(by=SplitBy(by, KINDS[kind]) if by is not None else None)
    dataset = find_dataset(name, root)
    folder = dataset.locate(root)
    if out.exists() and not force:
        raise HarnessError(f"{out} is there already.", hint="Name another file, or replace it with --force.")
    reader = dataset.open(folder)

    untrained: dict[int, str] = {}

    def choose() -> tuple[Split, ...]:
        found = chosen_by.all(dataset, reader, folder)
        for number, fold in enumerate(found):
            check_leak(fold, dataset, reader, f"{name}, fold {number}")
            untrained[number] = untrained_words(dataset, reader, fold)
        return found

    folds = dataset.read_apart(choose)
    listing = table("fold", "what", "hash", "training", "validation", "test")
    for number, fold in enumerate(folds):
        what = dataset.fold_names[number] if dataset.fold_names and by is None else ""
        counts = (str(len(part)) for part in (fold.train, fold.val, fold.test))
        listing.add_row(str(number), what, fold.hash, *counts)
    write_splits(out, folds)
    console = PlainConsole()
    console.print(listing)
    for number, words in untrained.items():
        if words:
            told = f" fold {number}: {words} {UNTRAINED_REMEDY}"
            console.print(styled("yellow", "look:", told), highlight=False, soft_wrap=True)
    entry = f"{name}: {root}" if name in LAYOUTS else f"name: {name}"
    console.print(
        f"Written: {out}. In a study: `- {{{entry}, splits: {out}}}`, relative to the study file.", soft_wrap=True
    )
