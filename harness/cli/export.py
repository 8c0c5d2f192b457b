"""``harness export``: a trained model as a folder that needs torch, numpy and nibabel only."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.shared.console import PlainConsole, styled
from harness.cli.shared.options import CacheOption, ResultsOption


def export(
    cell: Annotated[str, typer.Argument(metavar="CELL", help="A cell: its name or a part of it.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to make; it must not be there.", show_default=False)],
    log_model: Annotated[bool, typer.Option("--mlflow", help="Log it in MLflow as the model of the cell's run.")] = (
        False
    ),
    results: ResultsOption = Path("results"),
    cache: CacheOption = Path("cache"),
) -> None:
    """Write a trained network as a folder that predicts without the harness, with a model card.

    It holds a torch.export program, how images are prepared, one script that needs torch, numpy and nibabel, and a
    card with data, protocol, scores with intervals, limits and licence.
    """
    from harness.cli.shared.progress import task_bars
    from harness.execution.cell.prediction import naming_network
    from harness.publication.export import export_cell
    from harness.results.store import Store
    from harness.tracking.cell_model import log_cell_model

    console, store = PlainConsole(highlight=False), Store(results)
    folder = store.find_cell(cell)
    with task_bars(console) as progress, naming_network(folder.known().model):
        made = export_cell(store, folder, out, cache, progress)
    console.print(styled("bold", folder.id, f" ({made.label}) in {made.folder}"), soft_wrap=True)
    console.print(f"Predict with it anywhere: python {out / 'predict.py'} --images FILE... --out DIR", soft_wrap=True)
    if log_model:
        log_cell_model(store, made.study, folder, made.folder)
        console.print("Logged in MLflow as the model of the cell's run.")
