"""Files of the user's in the working directory are never taken for packages."""

from __future__ import annotations

import pytest

from harness.cli import main
from harness.execution.workers.distributed import PYTHON as OF_RANKS
from harness.execution.workers.fork_server import PYTHON as OF_FORK_SERVER
from harness.execution.workers.process import PYTHON as OF_WORKERS
from harness.execution.workers.process import _start


@pytest.mark.parametrize("fresh", [False, True], ids=["forked", "from nothing"])
def test_a_module_beside_the_study_hides_no_package(toys, write_study, project, monkeypatch, fresh):
    for name in ("safetensors", "pandas", "batchgeneratorsv2"):
        (project / f"{name}.py").write_text("raise SystemExit('the wrong file was imported')\n")
    if fresh:
        monkeypatch.setattr(
            "harness.execution.workers.process._start", lambda attempt, slot, fork: _start(attempt, slot, fork=False)
        )
    path = write_study()
    assert main(["run", str(path), "--no-mlflow", "--cpu", "--workers", "1"]) == 0


def test_every_process_of_ours_is_started_so():
    for command in (OF_FORK_SERVER, OF_RANKS, OF_WORKERS):
        assert "-P" in command
