"""``harness data prepare``: brings a dataset to a protocol's grid ahead of any run."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.filesize import decimal

from harness.cli.data.listing import data
from harness.cli.shared.console import PlainConsole, styled
from harness.cli.shared.options import CacheOption

if TYPE_CHECKING:
    from harness.data import Dataset, Reader


@data.command(epilog="Example: harness data prepare brats2023 --root ~/BraTS2023 --protocol paper --workers 8")
def prepare(
    name: Annotated[str, typer.Argument(help="Registered dataset.", show_default=False)],
    root: Annotated[
        Path | None, typer.Option(help="Folder of the dataset; default: where studies look for it.", show_default=False)
    ] = None,
    protocol: Annotated[
        str, typer.Option(help="Protocol to prepare for; `native` prepares as `paper` does.")
    ] = "paper",
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", "-w", min=0, max=1_000_000, help="Processes; default: one per core.", show_default=False
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100_000_000,
            help="Prepare only this many cases, and estimate time and disk space of all.",
            show_default=False,
        ),
    ] = None,
    cache: CacheOption = Path("cache"),
) -> None:
    """Prepare every case of a dataset for a protocol, in parallel; prepared cases are kept.

    `harness run` does the same for the cases that it needs. This command does it in advance and shows the disk space.
    """
    from harness.cli.shared.progress import task_bars
    from harness.cores import cores
    from harness.data.datasets.layouts import find_dataset
    from harness.data.preparation.prepare import entry_folder
    from harness.data.preparation.prepare import prepare as prepare_cases
    from harness.data.spacing import median_spacing, resolve_spacing
    from harness.study.protocol import load_protocol

    console = PlainConsole()
    dataset, chosen = find_dataset(name, root), load_protocol(protocol)
    reader = dataset.open(root)
    processes = cores() if workers is None else workers

    def write() -> tuple[Path, list[str], int]:
        preparation = resolve_spacing(chosen.preparation, dataset, lambda: median_spacing(dataset, reader))
        everything = _cases(dataset, reader)
        cases = everything[:limit]
        what = f": {len(cases)} of {len(everything)} cases for protocol {chosen.name}, "
        amount = f"{max(processes, 1)} process{'es' if processes > 1 else ''}."
        console.print(styled("bold", dataset.title, f"{what}{amount}"))
        with task_bars(console, "preparing") as show:
            prepare_cases(
                dataset, reader, cases, preparation, chosen.patch_size, cache, partial(show, "preparing"), processes
            )
        return entry_folder(dataset, reader, preparation, chosen.patch_size, cache), cases, len(everything)

    _say_space(console, *dataset.read_apart(write))


def _cases(dataset: Dataset, reader: Reader) -> list[str]:
    """Returns every case that some fold trains, validates or tests on."""
    splits = [reader.split(fold) for fold in range(dataset.folds)]
    return sorted({name for split in splits for name in (*split.train, *split.val, *split.test)})


def _say_space(console: Console, folder: Path, cases: Sequence[str], everything: int) -> None:
    """Prints what the prepared cases take on the disk, and what all would."""
    taken = sum(file.stat().st_size for name in cases for file in (folder / name).iterdir())
    console.print(f"Prepared in {folder}: {decimal(taken)}, {decimal(taken // len(cases))} a case.")
    if len(cases) < everything:
        free = shutil.disk_usage(folder).free
        needed = taken * everything // len(cases)
        console.print(f"All {everything} cases need about {decimal(needed)}; {decimal(free)} are free.")
