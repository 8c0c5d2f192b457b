"""``harness data check``: reads every case of a folder and lists what must be corrected."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from harness.alike import group_alike, without_case
from harness.cli.data.listing import data
from harness.cli.shared.console import PlainConsole, styled
from harness.cli.shared.formatting import table
from harness.cli.shared.json_output import print_json
from harness.cli.shared.options import JsonOption

if TYPE_CHECKING:
    from harness.data import Dataset, Reader
    from harness.data.reading.checks import Checked

_SHAPES_SHOWN = 3


@data.command(epilog="Example: harness data check prostate158 ~/Prostate158")
def check(
    name: Annotated[
        str, typer.Argument(help="Registered dataset; `nnunet_raw` or `msd` for your own folder.", show_default=False)
    ],
    path: Annotated[
        Path | None,
        typer.Argument(help="Folder of the dataset; default: where studies look for it.", show_default=False),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(
            help="Check predictions of these cases instead: a folder or archive as `harness predict` writes it.",
            show_default=False,
        ),
    ] = None,
    allow_missing: Annotated[
        bool,
        typer.Option(
            "--allow-missing",
            help="Write the files that are missing into modalities.json, as modalities that these cases lack.",
        ),
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Also fail on warnings.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Read every case and list what must be corrected; no file is changed (`--allow-missing` writes one).

    It finds missing and unreadable files, images that are not on their case's grid, wrong label values, empty labels,
    the same content under two patients, splits that leak, impossible orientations, and columns of patients that the
    dataset does not have. It ends with status 1 if anything must be corrected.
    """
    from harness.cli.shared.progress import task_bars
    from harness.data.datasets.layouts import declare_missing, find_dataset
    from harness.data.patients.check import check_columns
    from harness.data.reading.checks import check_dataset

    console = PlainConsole(stderr=as_json)
    if allow_missing:
        console.print(declare_missing(name, path), soft_wrap=True, markup=False)
    dataset = find_dataset(name, path)
    folder = dataset.locate(path)
    reader = dataset.open(folder)
    if export is not None:
        _check_predictions(console, dataset, reader, export, as_json)
        return

    def look() -> Checked:
        with task_bars(console, "reading") as show:
            checked = check_dataset(dataset, reader, partial(show, "reading"))
        return replace(checked, findings=(*checked.findings, *check_columns(dataset, folder, reader)))

    checked = dataset.read_apart(look)
    failed = checked.must_fix or (strict and bool(checked.findings))
    if as_json:
        counts = {"labelled": checked.labelled, "unlabelled": checked.unlabelled, "readable": checked.readable}
        found = [asdict(one) for one in checked.findings]
        facts = {"dataset": dataset.name, "folder": folder, "sound": not failed, "modalities": dict(checked.patterns)}
        print_json("data check", found, **facts, **counts)
    else:
        _show(console, dataset, folder, checked)
    if failed:
        raise typer.Exit(1)


def _show(console: Console, dataset: Dataset, folder: Path, checked: Checked) -> None:
    shapes = [f"{'x'.join(map(str, shape))} ({count})" for shape, count in checked.shapes.items()]
    more = f" and {len(shapes) - _SHAPES_SHOWN} more" if len(shapes) > _SHAPES_SHOWN else ""
    console.print(
        styled(
            "bold",
            dataset.title,
            f" in {folder}: {checked.labelled} labelled and {checked.unlabelled} unlabelled cases, "
            f"{checked.readable} readable; shapes {', '.join(shapes[:_SHAPES_SHOWN]) or 'none'}{more}.",
        ),
        soft_wrap=True,
    )
    if len(checked.patterns) > 1 or any(pattern != "+".join(dataset.modalities) for pattern in checked.patterns):
        listed = [f"{pattern} ({count})" for pattern, count in checked.patterns.items()]
        console.print(f"Modalities that labelled cases have: {', '.join(listed)}.", soft_wrap=True, markup=False)
    if checked.findings:
        listing = table("", "case", "what is wrong", "what to do", wrap=("case", "what is wrong", "what to do"))
        for one in checked.findings:
            listing.add_row("fix" if one.severity == "fix" else "look", one.where, one.what, one.remedy)
        console.print(listing)
    if not checked.must_fix:
        console.print("Nothing must be put right.")


def _check_predictions(console: Console, dataset: Dataset, reader: Reader, place: Path, as_json: bool) -> None:
    from harness.data.export import check_export

    problems = dataset.read_apart(lambda: check_export(dataset, reader, place))
    if as_json:
        rows = [{"what": problem} for problem in problems]
        print_json("data check", rows, dataset=dataset.name, folder=place, sound=not problems)
        if problems:
            raise typer.Exit(1)
        return
    for first, *others in group_alike(problems, without_case):
        more = f" (And {len(others)} more, alike.)" if others else ""
        console.print(f"- {first}{more}", soft_wrap=True, markup=False)
    if problems:
        raise typer.Exit(1)
    console.print(f"{place} can be submitted.", soft_wrap=True)
