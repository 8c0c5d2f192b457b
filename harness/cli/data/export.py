"""``harness data export``: writes a dataset in another format."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.data.listing import data
from harness.cli.shared.console import PlainConsole


@data.command(epilog="Example: harness data export prostate158 --nnunet-raw nnUNet_raw/Dataset158_Prostate")
def export(
    name: Annotated[str, typer.Argument(help="Registered dataset; `msd` for a Decathlon folder.", show_default=False)],
    nnunet_raw: Annotated[
        Path, typer.Option("--nnunet-raw", help="Folder to write, in nnU-Net v2's raw format.", show_default=False)
    ],
    root: Annotated[
        Path | None, typer.Option(help="Folder of the dataset; default: where studies look for it.", show_default=False)
    ] = None,
) -> None:
    """Write every case in nnU-Net v2's raw format, with files of patients and folds.

    The folder can be planned by nnU-Net, or named in a study as `{nnunet_raw: FOLDER, splits: FOLDER/splits.json}`.
    """
    from harness.cli.shared.progress import task_bars
    from harness.data.assumptions import collect_assumptions, sum_up
    from harness.data.datasets.layouts import find_dataset
    from harness.data.datasets.layouts.write_nnunet_raw import NNUNET_SPLITS, write_nnunet_raw

    console = PlainConsole()
    dataset = find_dataset(name, root)
    folder = dataset.locate(root)
    reader = dataset.open(folder)

    def write() -> tuple[int, int, list[str]]:
        with task_bars(console, "writing") as show, collect_assumptions() as noted:
            write_nnunet_raw(dataset, reader, folder, nnunet_raw, partial(show, "writing"))
        return len(reader.cases()), len(reader.unlabelled()), sum_up(noted)

    labelled, unlabelled, assumed = dataset.read_apart(write)
    console.print(f"Written: {nnunet_raw}, {labelled} labelled and {unlabelled} unlabelled cases.", soft_wrap=True)
    console.print(
        f"Folds that keep patients together in nnU-Net: after `nnUNetv2_plan_and_preprocess`, copy "
        f"{nnunet_raw / NNUNET_SPLITS} to $nnUNet_preprocessed/{nnunet_raw.resolve().name}/.",
        soft_wrap=True,
        markup=False,
    )
    for sentence in assumed:
        console.print(sentence, style="yellow", markup=False, soft_wrap=True)
