"""The one command to type next: what ``harness doctor`` ends with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError
from harness.results.store import Store


@dataclass(frozen=True)
class Situation:
    """What the next command depends on.

    Attributes:
        lacking: Names of packages that are required and absent.
        unwritable: Whether the results folder cannot be written.
        has_gpu: Whether torch sees a GPU.
        unusable_gpu: Whether there is a GPU that torch cannot use.
        has_slurm: Whether batch jobs can be submitted here.
        has_submitit: Whether the harness can submit them.
        has_project: Whether the working folder holds studies.
        data: Datasets of real patients that are here.
        study: Name and profile of the study run last; None for none.
        unfinished: Number of its cells without a result.
    """

    lacking: Sequence[str] = ()
    unwritable: bool = False
    has_gpu: bool = False
    unusable_gpu: bool = False
    has_slurm: bool = False
    has_submitit: bool = True
    has_project: bool = False
    data: Sequence[str] = ()
    study: tuple[str, str] | None = None
    unfinished: int = 0


@dataclass(frozen=True)
class NextStep:
    """A command and why.

    Attributes:
        command: To be typed as it stands.
        why: In a few words.
    """

    command: str
    why: str


def last_study(results: Path) -> tuple[tuple[str, str] | None, int]:
    """Returns name and profile of the study run last, and how many of its cells lack a result."""
    try:
        store = Store(results)
        folder = next(iter(store.studies()), None)
        if folder is None:
            return None, 0
        cells = {cell.id: cell for _, cell in store.study_cells(folder)}.values()
        return (folder.study, folder.profile), sum(cell.status() != "done" for cell in cells)
    except (HarnessError, OSError):  # `harness status` says what is wrong with them
        return None, 0


def next_step(here: Situation, again: str = "", studies: Mapping[str, str] | None = None) -> NextStep:
    """Returns what to type next.

    Args:
        here: What is here.
        again: Arguments by which verbs find the study run last.
        studies: Name of the shipped study that compares networks on a dataset, by dataset.
    """
    compared = {name: study for name, study in (studies or {}).items() if name in here.data}
    if here.lacking:
        return NextStep(f"pip install {' '.join(here.lacking)}", "packages are absent that everything needs")
    if here.unwritable:
        return NextStep("harness doctor --results ~/results", "results need a folder that can be written")
    if here.study is not None and here.unfinished:
        return NextStep(f"harness status {again}", f"{here.unfinished} cells of the study run last have no result")
    if here.has_slurm and not here.has_gpu:
        return _on_a_login_node(here)
    if here.unusable_gpu and here.study is None:
        return NextStep("harness demo --cpu", "the GPU cannot be used; this shows in a minute that the rest works")
    if here.study is None:
        return NextStep("harness demo", "a table and pictures in about a minute")
    if compared:
        name, study = next(iter(compared.items()))
        card = "" if here.has_gpu else " --gpu-model a100"
        return NextStep(f"harness plan {study}{card}", f"what the comparison on {name} would take")
    if not here.has_project:
        return NextStep("harness init my_project", "studies to change, a protocol of your own, Slurm's settings")
    return NextStep("harness data", "which datasets there are, and where each is looked for")


def _on_a_login_node(here: Situation) -> NextStep:
    """Returns what to type where jobs are submitted and nothing is trained."""
    if not here.has_submitit:
        return NextStep("pip install 'aahn-harness[slurm]'", "this machine submits jobs to Slurm")
    if not here.has_project:
        return NextStep("harness init", "writes slurm.yaml, which says what one cell asks of Slurm")
    command = "harness run ablation_tcfaf --profile demo --engine slurm --slurm slurm.yaml --dry-run"
    return NextStep(command, "shows the batch script of a small study; without --dry-run it is submitted")
