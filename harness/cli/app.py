"""The application: every verb is registered here and lives in the file of its name."""

from typing import Annotated

import typer

from harness import __version__
from harness.cli.data import data
from harness.cli.mlflow import mlflow_app
from harness.cli.models import models
from harness.cli.shared.late_command import LateCommand, placeholder

app = typer.Typer(
    help="Benchmark and ablation harness for multi-modality medical image segmentation.",
    epilog="Example: harness run studies/ablation_tcfaf.yaml --profile demo && harness report --format latex",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"harness {__version__}")
        raise typer.Exit


@app.callback()
def _global(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks; allowed anywhere in a command.")] = False,
) -> None:
    """Benchmark and ablation harness for multi-modality medical image segmentation."""
    del version, debug  # --debug is read by harness.cli.main before anything can fail


#: Verbs in the order of the help: name, the first sentence of its docstring, an example.
_VERBS = (
    (
        "demo",
        "Train two small networks for some steps on the embedded images, and write table, pictures and page.",
        "demo",
    ),
    (
        "init",
        "Write a project: shipped studies to change, a protocol of your own, Slurm's resources, and a .gitignore.",
        "init my_project --study ablation_tcfaf",
    ),
    (
        "plan",
        "Check a study and list its cells: their state, their size and the time they would take here.",
        "plan studies/ablation_tcfaf.yaml --profile demo",
    ),
    (
        "run",
        "Train and score every cell of a study that is not done yet.",
        "run studies/ablation_tcfaf.yaml --profile demo",
    ),
    (
        "tune",
        "Tune the protocol of each network on each dataset, with equal effort, on validation cases only.",
        "tune studies/tune_baselines.yaml --profile demo",
    ),
    (
        "lead",
        "Find the modality that should lead on a dataset, by short trainings of equal length (successive halving).",
        "lead cortex --preset tiny --protocol demo --epochs 8 --seeds 2 --cpu",
    ),
    ("status", "Show the state of every cell of a study, with its progress or what is wrong.", "status ablation_tcfaf"),
    (
        "logs",
        "Show the end of a cell's log, for every engine. `harness plan` lists identities.",
        "logs 5c2c7c36c274 --follow",
    ),
    (
        "retry",
        "Run the failed cells of a study again, from their last checkpoints; needs no study file.",
        "retry ablation_tcfaf --retries 2",
    ),
    ("clean", "List leftover files with their sizes, ask, and remove them.", "clean --failed"),
    (
        "report",
        "Write tables and figures of one study, or of several studies together; default: the study run last.",
        "report ablation_tcfaf --format latex",
    ),
    (
        "view",
        "Write one page that scrolls through all slices of a case: modalities, truth, and every variant's prediction.",
        "view 5c2c7c36c274 BraTS-GLI-00001-000",
    ),
    (
        "publish",
        "Write a study into a folder for an archive or a hub: rows, splits, protocols, versions, weights, report.",
        "publish ablation_tcfaf --profile demo --out for_the_archive",
    ),
    (
        "verify",
        "Compute every table and figure of a published folder again, and say whether it is equal or what differs.",
        "verify for_the_archive",
    ),
    (
        "missing",
        "Test the finished cells of a study on subsets of the modalities, with their trained weights.",
        "missing missing_modality --profile demo",
    ),
    (
        "predict",
        "Predict the cases of a challenge, or images of new patients, with finished cells.",
        "predict my_study --export brats2023 --input ~/validation --out to_hand_in",
    ),
    (
        "export",
        "Write a trained network as a folder that predicts without the harness, with a model card.",
        "export 5c2c7c36c274 --out model",
    ),
    (
        "evaluate",
        "Score label maps against the truth, by case and region. A missing or damaged prediction counts as worst.",
        "evaluate --predictions submission --reference labels --dataset brats2023 --out scores.csv",
    ),
    (
        "new-network",
        "Write a package that adds a network: contract, a small U-Net to change, its test, and a study.",
        "new-network mynet",
    ),
    ("check", "Run the conformance suite on a registered network and list the checks that fail.", "check aahn"),
    (
        "doctor",
        "Show what this machine has, what a run would use, what is missing, and the command to type next.",
        "doctor",
    ),
    (
        "bench",
        "Measure networks in one run: parameters, GFLOPs, time of a forward pass and of a training step, peak memory.",
        "bench aahn unetr nnunet --batch 4",
    ),
    (
        "import-checkpoint",
        "Read the authors' released weights safely, check every entry, and write them in the harness's format.",
        "import-checkpoint aahn model_final_checkpoint.model",
    ),
)

for _name, _summary, _example in _VERBS:
    app.command(_name, cls=LateCommand, short_help=_summary, epilog=f"Example: harness {_example}")(placeholder)
app.add_typer(models, name="models")
app.add_typer(data, name="data")
app.add_typer(mlflow_app, name="mlflow")
