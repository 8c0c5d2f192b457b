"""MLflow's system metrics: off unless MLflow is asked for them, and only while a cell of the study runs."""

from __future__ import annotations

import importlib.util
import time
from typing import ClassVar

import pytest

from harness.tracking.system_metrics import SystemMetrics, missing_package

ASKED = "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING"


class Monitor:
    """Writes down what is asked of it."""

    said: ClassVar[list[str]] = []

    def __init__(self, run: str) -> None:
        self.said.append(run)

    def start(self) -> None:
        self.said.append("start")

    def finish(self) -> None:
        self.said.append("finish")


@pytest.fixture(autouse=True)
def _with_psutil(monkeypatch):
    Monitor.said.clear()
    monkeypatch.setattr("harness.tracking.system_metrics.find_spec", lambda name: object())


def test_nothing_is_logged_unless_mlflow_is_asked(monkeypatch):
    monkeypatch.delenv(ASKED, raising=False)
    system = SystemMetrics(Monitor)
    system.follow("a", running=True)
    system.stop()
    assert Monitor.said == []


def test_a_monitor_lives_while_a_cell_runs(monkeypatch):
    monkeypatch.setenv(ASKED, "true")
    system = SystemMetrics(Monitor)
    for running in (False, True, True, False, False, True):
        system.follow("a", running=running)
    system.stop()
    system.stop()
    assert Monitor.said == ["a", "start", "finish", "a", "start", "finish"]


def test_the_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr("harness.tracking.system_metrics.find_spec", lambda name: None)
    monkeypatch.setenv(ASKED, "true")
    assert missing_package() == "psutil"
    system = SystemMetrics(Monitor)
    system.follow("a", running=True)
    assert Monitor.said == []
    monkeypatch.delenv(ASKED)
    assert missing_package() == ""


@pytest.mark.skipif(importlib.util.find_spec("psutil") is None, reason="needs psutil")
def test_the_study_run_holds_what_mlflow_measures(finished_study, tracking_database, monkeypatch, project):
    import mlflow

    from harness.results.store import Store
    from harness.tracking.mlflow_view import MlflowView

    monkeypatch.setenv(ASKED, "true")
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")
    mlflow.set_tracking_uri(f"sqlite:///{tracking_database}")
    try:
        store = Store(project / "results")
        ((_, cell),) = store.study_cells(store.find_study("micro"))
        cell.result.rename(project / "result")
        view = MlflowView(store, store.find_study("micro"))
        with cell.lease():
            view.sync()
            client = mlflow.MlflowClient()
            run = view._whole.id
            for _ in range(100):
                names = client.get_run(run).data.metrics
                if any(name.startswith("system/") for name in names):
                    break
                time.sleep(0.1)
        view.finish()
    finally:
        mlflow.set_tracking_uri(None)
    assert "system/cpu_utilization_percentage" in names
