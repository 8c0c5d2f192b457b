"""Ray, on a cluster of several nodes on this machine: the same numbers as here, also when a node dies midway."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest

import harness.results
from harness.cli import main
from harness.execution.engines.ray import RayEngine
from harness.results.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("toys"), pytest.mark.linux("finds processes in /proc")]

PROTOCOL = {
    "base": "demo",
    "patch_size": [64, 64],
    "sampling": {"batch_size": 2},
    "training": {"epochs": 30, "steps_per_epoch": 4, "validate_every": 30, "refresh_batchnorm": 2},
}
MATRIX = {"dataset": ["cortex"], "model": ["toy_slow"], "seed": [0, 1]}


@pytest.fixture
def cluster(toys, project):
    """A head that runs nothing and two nodes of one core; nodes are processes and find the toy networks."""
    from ray.cluster_utils import Cluster

    made = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "object_store_memory": 100_000_000, "include_dashboard": False},
    )
    nodes = [made.add_node(num_cpus=1, object_store_memory=100_000_000) for _ in range(2)]
    made.wait_for_nodes()
    yield made, nodes
    made.shutdown()


def numbers(results):
    found = harness.results.load(results=results)
    return found.sort_values(["seed", "case", "region", "metric"]).reset_index(drop=True)


def start(study, address, *more):
    command = [sys.executable, "-m", "harness", "run", str(study), "--no-mlflow", "--engine", "ray"]
    command += ["--address", address, "--results", "through", *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for_steps(store, step, process):
    """Returns every cell's progress once all have come so far."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        cells = [store.cell(path.name) for path in (store.root / "cells").glob("*")]
        seen = {cell.id: cell.progress() for cell in cells}
        if len(seen) == 2 and all(one.step >= step for one in seen.values()):
            return seen
        if process.poll() is not None:
            raise AssertionError(process.communicate()[0])
        time.sleep(0.1)
    raise AssertionError(f"step {step} was not reached: {seen}")


def node_of(pid, nodes):
    """Returns the node that a worker of ours descends from."""
    raylets = {}
    for node in nodes:
        for kind, processes in node.all_processes.items():
            if kind == "raylet":
                raylets |= {process.process.pid: node for process in processes}
    while pid > 1:
        if pid in raylets:
            return raylets[pid]
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    raise AssertionError("the worker belongs to no node")


def test_a_study_survives_a_node_and_ends_with_the_numbers_of_this_machine(write_study, cluster, capsys):
    made, nodes = cluster
    study = write_study(protocol=PROTOCOL, matrix=MATRIX)
    process = start(study, made.address)
    store = Store(Path("through"))
    try:
        seen = wait_for_steps(store, 8, process)
        assert main(["status", "--results", "through"]) == 0
        assert capsys.readouterr().out.count("running") == 2, "progress is seen from outside, whatever the engine"
        victim, worker = next(iter(seen.items()))
        dying = node_of(worker.pid, nodes)
        assert {node_of(one.pid, nodes) for one in seen.values()} == set(nodes), "one cell a node"
        made.remove_node(dying, allow_graceful=False)
        output, _ = process.communicate(timeout=400)
    finally:
        process.kill()
    assert process.returncode == 0, output
    lost = json.loads((store.root / "cells" / victim / "result/summary.json").read_text())
    assert [one["kind"] for one in lost["failures"]] == ["lost"]
    assert main(["run", str(study), "--cpu", "--workers", "1", "--no-mlflow", "--results", "local"]) == 0
    pd.testing.assert_frame_equal(numbers("through"), numbers("local"), check_exact=True)


def test_without_an_address_ray_is_started_and_ended_here(write_study, capsys):
    study = write_study()
    assert main(["run", str(study), "--no-mlflow", "--engine", "ray", "--retries", "1"]) == 0
    assert "Ray, 1 node" in capsys.readouterr().out
    import ray

    assert not ray.is_initialized()


def command_lines():
    """What runs on this machine now; processes that end meanwhile are passed over."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            yield path.read_bytes().replace(b"\0", b" ").decode(errors="replace")


def test_a_cluster_started_here_has_no_dashboard_and_one_asked_for_is_on_loopback():
    engine = RayEngine(None, threads=1, gpus=0)
    assert [line for line in command_lines() if "raylet" in line], "Ray runs"
    # Ray's process of that name may run without its pages, and then on this machine alone.
    shown = [line for line in command_lines() if "dashboard/dashboard.py" in line]
    assert [line for line in shown if "--disable-frontend" not in line or "--host=127.0.0.1" not in line] == []
    engine.close()
    import ray

    with ray.init("local", include_dashboard=True, log_to_driver=False, logging_level="ERROR") as context:
        assert context.dashboard_url.startswith("127.0.0.1:")


def test_ctrl_c_leaves_checkpoints(write_study, cluster):
    made, _ = cluster
    # So long that no cell can end before the signal has reached it.
    training = {**PROTOCOL["training"], "epochs": 3000, "validate_every": 3000}
    study = write_study(protocol={**PROTOCOL, "training": training}, matrix=MATRIX)
    process = start(study, made.address)
    store = Store(Path("through"))
    try:
        wait_for_steps(store, 8, process)
        os.kill(process.pid, 2)
        output, _ = process.communicate(timeout=200)
    finally:
        process.kill()
    assert process.returncode == 130, output
    deadline = time.monotonic() + 60
    cells = [store.cell(path.name) for path in (store.root / "cells").glob("*")]
    while {cell.status() for cell in cells} != {"interrupted"} and time.monotonic() < deadline:
        time.sleep(0.2)
    assert {cell.status() for cell in cells} == {"interrupted"}


def test_a_cluster_that_is_not_there_is_named(write_study, capsys):
    assert main(["run", str(write_study()), "--no-mlflow", "--engine", "ray", "--address", "127.0.0.1:1"]) == 2
    assert "127.0.0.1:1" in capsys.readouterr().err
