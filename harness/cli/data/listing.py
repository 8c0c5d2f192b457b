"""``harness data``: which datasets are registered, what is known of them, and whether they are found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.shared.console import PlainConsole, styled
from harness.cli.shared.formatting import say_left_out, table
from harness.cli.shared.json_output import print_json
from harness.cli.shared.options import JsonOption
from harness.errors import DataError

if TYPE_CHECKING:
    from harness.data import Dataset, Split

    _KindOf = Callable[[Dataset, Path | None], str]

data = typer.Typer(help="List the registered datasets; `show` describes one.", invoke_without_command=True)


@data.callback(epilog="Example: harness data show cortex")
def list_datasets(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the registered datasets."""
    if context.invoked_subcommand is not None:
        return

    from harness.data import DATASETS
    from harness.data.synthetic.generated import kind_of

    listing = table("dataset", "title", "kind", "modalities", "regions", "leads", "found")
    loaded, broken = DATASETS.load_all()
    facts = []
    for name, one in loaded.items():
        try:
            listing.add_row(*_row(one, kind_of))
            facts.append(_facts(one, kind_of))
        except Exception as error:  # a fact that is not what the contract says hides no other dataset
            broken[name] = f"The facts of '{name}' are not what a dataset declares: {error}"
    if as_json:
        print_json("data", facts, left_out=broken)
        return
    console = PlainConsole()
    console.print(listing)
    say_left_out(console, broken)


def _row(one: Dataset, kind_of: _KindOf) -> tuple[str, ...]:
    kind: str = one.kind
    try:
        place = "ships with us" if one.locate() == one.home else str(one.locate())
        kind = kind_of(one, None)
    except DataError:
        place = f"no: set {one.variable}"
    return one.name, one.title, kind, ", ".join(one.modalities), ", ".join(one.regions), one.default_leading, place


def _facts(one: Dataset, kind_of: _KindOf) -> dict[str, Any]:
    try:
        place: Path | None = one.locate()
    except DataError:
        place = None
    return {
        "dataset": one.name,
        "title": one.title,
        "kind": one.kind if place is None else kind_of(one, None),
        "modalities": one.modalities,
        "regions": list(one.regions),
        "leading": one.default_leading,
        "folds": one.folds,
        "licence": one.licence,
        "access": one.access,
        "folder": place,
        "variable": one.variable,
    }


@data.command(epilog="Example: harness data show cortex")
def show(name: Annotated[str, typer.Argument(help="Registered dataset.")], as_json: JsonOption = False) -> None:
    """Show one dataset: facts, splits, licence, caveats."""
    from harness.data import DATASETS
    from harness.data.synthetic.generated import kind_of

    one = DATASETS.get(name)
    if as_json:
        folds = [{"fold": fold, "hash": split.hash, **_sizes(split)} for fold, split in enumerate(_read(one)[1])]
        print_json("data show", folds, **_facts(one, kind_of), labels=one.labels, unit=one.unit, notes=one.notes)
        return
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
    generated = ", generated data" if kind_of(one, folder) == "generated" else ""
    fingerprint, splits = _read(one)
    console.print(f"Folder: {folder} (files' hash {fingerprint}{generated})")
    for fold, split in enumerate(splits):
        console.print(
            f"Fold {fold} (hash {split.hash}): {len(split.train)} training, {len(split.val)} validation, "
            f"{len(split.test)} test cases"
        )


def _read(one: Dataset) -> tuple[str, list[Split]]:
    """Returns the fingerprint of a dataset's files and its folds."""
    reader = one.open(one.locate())
    return one.read_apart(lambda: (reader.fingerprint(), [reader.split(n) for n in range(one.folds)]))


def _sizes(split: Split) -> dict[str, int]:
    return {"training": len(split.train), "validation": len(split.val), "test": len(split.test)}
