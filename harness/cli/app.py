"""The application: every verb is registered here and lives in its own file."""

from typing import Annotated

import typer

from harness import __version__
from harness.cli.bench import bench
from harness.cli.check import check
from harness.cli.clean import clean
from harness.cli.data import data
from harness.cli.demo import demo
from harness.cli.doctor import doctor
from harness.cli.evaluate import evaluate
from harness.cli.import_checkpoint import import_checkpoint
from harness.cli.init import init
from harness.cli.lead import lead
from harness.cli.logs import logs
from harness.cli.missing import missing
from harness.cli.mlflow import mlflow_app
from harness.cli.models import models
from harness.cli.new_network import new_network
from harness.cli.plan import plan
from harness.cli.predict import predict
from harness.cli.publish import publish
from harness.cli.report import report
from harness.cli.retry import retry
from harness.cli.run import run
from harness.cli.status import status
from harness.cli.tune import tune
from harness.cli.verify import verify

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


#: Verbs in the order of the help, each with an example.
_VERBS = (
    (demo, "demo"),
    (init, "init my_project --study ablation_tcfaf"),
    (plan, "plan studies/ablation_tcfaf.yaml --profile demo"),
    (run, "run studies/ablation_tcfaf.yaml --profile demo"),
    (tune, "tune studies/tune_baselines.yaml --profile demo"),
    (lead, "lead cortex --preset tiny --protocol demo --epochs 8 --seeds 2 --cpu"),
    (status, "status ablation_tcfaf"),
    (logs, "logs 5c2c7c36c274 --follow"),
    (retry, "retry ablation_tcfaf --retries 2"),
    (clean, "clean --failed"),
    (report, "report ablation_tcfaf --format latex"),
    (publish, "publish ablation_tcfaf --profile demo --out for_the_archive"),
    (verify, "verify for_the_archive"),
    (missing, "missing missing_modality --profile demo"),
    (predict, "predict my_study --export brats2023 --input ~/validation --out to_hand_in"),
    (evaluate, "evaluate --predictions submission --reference labels --dataset brats2023 --out scores.csv"),
    (new_network, "new-network mynet"),
    (check, "check aahn"),
    (doctor, "doctor"),
    (bench, "bench aahn unetr nnunet --batch 4"),
    (import_checkpoint, "import-checkpoint aahn model_final_checkpoint.model"),
)

for verb, example in _VERBS:
    app.command(epilog=f"Example: harness {example}")(verb)
app.add_typer(models, name="models")
app.add_typer(data, name="data")
app.add_typer(mlflow_app, name="mlflow")
