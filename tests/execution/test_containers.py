"""Cells of Slurm in containers: what starts one, and a worker below another process that passes no signal on."""

import shlex
import signal
import sys
import time
from pathlib import Path

import pytest
from stored import cell_record

from harness.errors import HarnessError
from harness.execution.engines.container import folders_to_bind
from harness.execution.engines.slurm import SlurmEngine, batch_script
from harness.execution.engines.slurm_settings import SlurmResources
from harness.execution.workers.attempt import Attempt
from harness.execution.workers.contained import ContainedProcess
from harness.execution.workers.process import Slot, WorkerProcess, start_fresh
from harness.results.store import Store

FOLDERS = [Path("/shared/my study"), Path("/scratch/cache")]

#: Runs a program as a container does that passes no signal on: as a child, whose end it waits for.
CONTAINER = 'trap : TERM USR2; "$@" & while :; do wait $!; status=$?; kill -0 $! 2>/dev/null || exit $status; done'


def container_line(settings: SlurmResources) -> list[str]:
    script = batch_script(settings, Path("/shared/results/slurm/micro"), "micro", 2, FOLDERS)
    return [line for line in script.splitlines() if "CONTAINER" in line or "apptainer" in line]


def test_the_batch_script_names_container_gpus_and_folders(tmp_path: Path) -> None:
    path = tmp_path / "slurm.yaml"
    path.write_text(
        "container:\n  image: /images/harness.sif\n  bind: ['/data/brats:/data:ro']\n"
        "  options: [--writable-tmpfs]\n  python: python\n"
    )
    (line,) = container_line(SlurmResources.load(path))
    (_, container) = shlex.split(line)
    assert shlex.split(container.removeprefix("HARNESS_SLURM_CONTAINER=")) == [
        *("apptainer", "exec", "--nv", "--bind", "/shared/my study", "--bind", "/scratch/cache"),
        *("--bind", "/data/brats:/data:ro", "--writable-tmpfs", "/images/harness.sif", "python", "-P", "-s"),
    ]
    (line,) = container_line(SlurmResources.load(path, ["gpus=0"]))
    assert "--nv" not in line


def test_an_image_alone_is_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (line,) = container_line(SlurmResources.load(None, ["container=harness.sif"]))
    assert f"{tmp_path / 'harness.sif'} python3 -P -s" in line
    (line,) = container_line(SlurmResources.load(None, ["container=docker://me/harness"]))
    assert "docker://me/harness python3" in line
    assert container_line(SlurmResources.load(None)) == []


def test_paths_are_read_as_in_a_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/users/me")
    monkeypatch.setenv("SCRATCH", "/scratch/me")
    asked = {"image": "~/harness.sif", "bind": ("$SCRATCH/data:/data:ro", "~/more")}
    (line,) = container_line(SlurmResources(container=asked))
    assert "--bind /scratch/me/data:/data:ro --bind /users/me/more /users/me/harness.sif" in line


def test_folders_are_bound_once_with_those_of_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("HARNESS_DATA_MINE", str(tmp_path / "data"))
    monkeypatch.setenv("HARNESS_DATA_NOWHERE", str(tmp_path / "nowhere"))
    monkeypatch.chdir(tmp_path)
    assert folders_to_bind(Path(), Path("results")) == [tmp_path]
    assert folders_to_bind(Path("results")) == [tmp_path / "data", tmp_path / "results"]


@pytest.mark.parametrize(
    "content",
    [
        "container: ''",
        "container: {image: x.sif, nv: true}",
        "container: [x.sif]",
        "container: {image: x.sif, options: [--cleanenv]}",
    ],
)
def test_a_container_that_is_not_understood_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "slurm.yaml").write_text(content)
    with pytest.raises(HarnessError, match="Slurm setting container"):
        SlurmResources.load(tmp_path / "slurm.yaml")


def test_a_missing_image_and_a_name_that_bind_takes_apart_are_refused(tmp_path: Path) -> None:
    settings = SlurmResources.load(None, ["cluster=local", f"container={tmp_path / 'missing.sif'}"])
    with pytest.raises(HarnessError, match="There is no image"):
        SlurmEngine(settings, tmp_path, "micro", None)
    with pytest.raises(HarnessError, match="--bind"):
        batch_script(settings, tmp_path, "micro", 1, [tmp_path / "a,b"])


def contained(folder: Path, code: str) -> WorkerProcess:
    """The process of an attempt that runs some Python in a stand-in for a container."""
    cell = Store(folder).cell("cell")
    cell.write_spec(cell_record())
    command = ["/bin/sh", "-c", CONTAINER, "container", sys.executable, "-S", "-c", code]
    return WorkerProcess(
        Attempt(cell, folder),
        Slot("cpu", None, 1),
        start=lambda attempt, slot, _: start_fresh(command, attempt, slot, ContainedProcess),
    )


@pytest.mark.linux("needs a shell")
def test_a_request_to_stop_reaches_the_worker_through_its_container(tmp_path: Path) -> None:
    stops = (
        "import signal,sys,time; signal.signal(12, lambda *_: sys.exit(130)); print('on', flush=True); time.sleep(60)"
    )
    process = contained(tmp_path, stops)
    while not process.attempt.folder.log_tail():
        time.sleep(0.02)
    process.stop()
    assert process.wait().state == "stopped"


@pytest.mark.linux("needs a shell")
def test_a_worker_that_was_killed_in_its_container_is_told_as_such(tmp_path: Path) -> None:
    process = contained(tmp_path, f"import os; os.kill(os.getpid(), {int(signal.SIGSEGV)})")
    assert process.wait().state == "failed"
    failure = process.attempt.folder.failure()
    assert failure is not None
    assert (failure.kind, "SIGSEGV" in failure.reason) == ("killed", True)
