"""Files of the user's in the working directory are never taken for packages."""

from __future__ import annotations

import subprocess

import pytest

from harness.cli import main
from harness.execution.workers.attempt import Attempt
from harness.execution.workers.distributed import PYTHON as OF_RANKS
from harness.execution.workers.fork_server import PYTHON as OF_FORK_SERVER
from harness.execution.workers.process import PYTHON as OF_WORKERS
from harness.execution.workers.process import Slot, WorkerProcess
from harness.results.store import Store
from harness.study.expansion import load_study

PACKAGES = ("safetensors", "pandas", "batchgeneratorsv2")


@pytest.fixture
def beside(toys, project):
    """Modules beside the study that are called as packages are."""
    for name in PACKAGES:
        (project / f"{name}.py").write_text("raise SystemExit('the wrong file was imported')\n")
    return project


def test_a_module_beside_the_study_hides_no_package(beside, write_study):
    assert main(["run", str(write_study()), "--no-mlflow", "--cpu", "--workers", "1"]) == 0


@pytest.mark.slow
def test_nor_where_the_worker_starts_from_nothing(beside, write_study):
    (planned,) = load_study(write_study()).cells
    cell = Store(beside / "results").cell(planned.spec.id)
    cell.write_spec(planned.spec.to_json())
    assert WorkerProcess(Attempt(cell, beside / "cache"), Slot("cpu", None, 1)).wait().state == "done"


def test_every_process_of_ours_is_started_so(beside):
    code = f"from importlib.util import find_spec; print(*(find_spec(name).origin for name in {PACKAGES}), sep='\\n')"
    for command in {OF_FORK_SERVER, OF_RANKS, OF_WORKERS}:
        done = subprocess.run([*command, "-c", code], capture_output=True, text=True, check=True, cwd=beside)
        assert len(done.stdout.split()) == len(PACKAGES)
        assert str(beside) not in done.stdout
