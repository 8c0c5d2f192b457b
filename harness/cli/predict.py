"""``harness predict``: predictions of finished cells, for a challenge or of new patients."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.shared.console import PlainConsole, styled
from harness.cli.shared.json_output import print_json
from harness.cli.shared.options import CacheOption, JsonOption, ProfileOption, ResultsOption
from harness.errors import HarnessError


def predict(
    target: Annotated[
        str, typer.Argument(metavar="STUDY_OR_CELL", help="A study, or the name of a cell.", show_default=False)
    ],
    *,
    more: Annotated[list[Path] | None, typer.Argument(metavar="[FILE]...", hidden=True)] = None,
    export: Annotated[
        str | None, typer.Option(help="Dataset whose official format is written.", show_default=False)
    ] = None,
    images: Annotated[
        list[Path] | None,
        typer.Option(
            "--images",
            metavar="FILE...",
            help="Images of new patients, named as for nnU-Net (NAME_0000.nii.gz for the first modality), or folders "
            "of such. A patient may lack what the network was trained to do without: leave the file out.",
            show_default=False,
        ),
    ] = None,
    modality: Annotated[
        list[str] | None,
        typer.Option(
            "--modality",
            metavar="NAME=FILE",
            help="An image of one new patient by the name of its modality; once per modality that it has.",
            show_default=False,
        ),
    ] = None,
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
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Of new patients, write the probability of every class, too.")
    ] = False,
    profile: ProfileOption = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", "-w", min=0, max=1_000_000, help="Processes that prepare data; default: one per core."
        ),
    ] = None,
    cpu: Annotated[bool, typer.Option("--cpu", help="Use no GPU.")] = False,
    as_json: JsonOption = False,
    results: ResultsOption = Path("results"),
    cache: CacheOption = Path("cache"),
) -> None:
    """Predict the cases of a challenge, or images of new patients, with finished cells.

    With --export DATASET it predicts the cases without a label, and writes a zip file with the official names, label
    values and geometry. If there are none, it predicts the cell's test cases, or with --input all cases.

    With --images FILE... (or --modality NAME=FILE) it predicts new patients with one cell: label maps, and volumes in
    ml in volumes.csv. It says where voxel sizes or intensities are unlike the training's. Patients without some of the
    modalities are predicted where the network was trained to do without them, e.g. harness predict my_study --modality
    t1c=after.nii.gz --modality t2f=flair.nii.gz --out from_two.
    """
    from harness.cli.shared.progress import task_bars
    from harness.cores import cores
    from harness.execution.cell.new_patients import find_patients, predict_patients
    from harness.execution.cell.prediction import find_cells, naming_network, predict_cell
    from harness.results.store import Store
    from harness.training.device import choose_device

    files = [*(images or ()), *(more or ())]
    new = bool(files or modality)
    if new == (export is not None) or (more and not images):
        raise HarnessError(
            "What is to be predicted must be said in one way.",
            hint="A challenge's cases: `--export DATASET`. New patients: `--images FILE...` or `--modality NAME=FILE`.",
        )
    console = PlainConsole(stderr=as_json)
    cells = find_cells(Store(results), target, profile, export, label)
    device = choose_device("cpu" if cpu else None)
    if new:
        if len(cells) > 1:
            raise HarnessError(
                f"'{target}' has {len(cells)} finished cells; new patients are predicted by one.",
                hint=f"Name it: {', '.join(cell.id for cell in cells[:6])}{', ...' if len(cells) > 6 else ''}",
            )
        patients = find_patients(cells[0], files, modality or [])
        console.print(styled("bold", cells[0].id, f", on {device}"))
        with task_bars(console) as progress, naming_network(cells[0].known().model):
            found = predict_patients(cells[0], patients, out, cache, device, progress, probabilities)
        for patient, notes in found.notes.items():
            for note in notes:
                console.print(styled("yellow", f"{patient}:", f" {note}"), soft_wrap=True)
        console.print(f"{len(patients)} patients in {found.folder}; volumes in ml: {found.folder / 'volumes.csv'}")
        if as_json:
            print_json("predict", found.volumes, cell=cells[0].id, folder=found.folder, notes=found.notes)
        return
    processes = cores() if workers is None else workers
    for number, cell in enumerate(cells, start=1):
        console.print(styled("bold", cell.id, f" ({number} of {len(cells)}), on {device}"))
        with task_bars(console) as progress, naming_network(cell.known().model):
            made = predict_cell(cell, folder, out, cache, device, processes, progress)
        console.print(f"{len(made.cases)} cases in {made.folder}; to be submitted: {made.archive}")
