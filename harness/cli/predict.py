"""``harness predict``: predictions of finished cells in the format that a challenge accepts."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.shared.console import PlainConsole, styled
from harness.cli.shared.options import CacheOption, ProfileOption, ResultsOption
from harness.errors import HarnessError


def predict(
    target: Annotated[
        str, typer.Argument(metavar="STUDY_OR_CELL", help="A study, or the name of a cell.", show_default=False)
    ],
    export: Annotated[str, typer.Option(help="Dataset whose official format is written.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder to write to.", show_default=False)],
    folder: Annotated[
        Path | None,
        typer.Option(
            "--input",
            help="Cases in the dataset's official layout, e.g. the validation archive; default: the cell's dataset.",
            show_default=False,
        ),
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="Only this variant of the study; default: all.", show_default=False)
    ] = None,
    profile: ProfileOption = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", "-w", min=0, max=1_000_000, help="Processes that prepare data; default: one per core."
        ),
    ] = None,
    cpu: Annotated[bool, typer.Option("--cpu", help="Use no GPU.")] = False,
    results: ResultsOption = Path("results"),
    cache: CacheOption = Path("cache"),
) -> None:
    """Predict cases with finished cells and write a zip file with the official names, label values and geometry.

    It predicts the cases without a label. If there are none, it predicts the cell's test cases, or with --input all
    cases.
    """
    from harness.cli.shared.progress import task_bars
    from harness.cores import cores
    from harness.execution.cell.prediction import find_cells, predict_cell
    from harness.results.store import Store
    from harness.training.device import choose_device

    console = PlainConsole()
    cells = find_cells(Store(results), target, profile, export, label)
    device = choose_device("cpu" if cpu else None)
    processes = cores() if workers is None else workers
    for number, cell in enumerate(cells, start=1):
        console.print(styled("bold", cell.id, f" ({number} of {len(cells)}), on {device}"))
        with task_bars(console) as progress, _naming_network(cell.known().model):
            made = predict_cell(cell, folder, out, cache, device, processes, progress)
        console.print(f"{len(made.cases)} cases in {made.folder}; to be submitted: {made.archive}")


@contextmanager
def _naming_network(model: str) -> Iterator[None]:
    """Names a network of another package, whatever it raises within."""
    from harness.child_process import describe
    from harness.segmenters import SEGMENTERS

    try:
        yield
    except (HarnessError, OSError):
        raise
    except (Exception, SystemExit) as error:
        if not SEGMENTERS.is_foreign(model):
            raise
        raise HarnessError(f"{model} failed: {describe(error)}.", hint="`--debug` shows where.") from error
