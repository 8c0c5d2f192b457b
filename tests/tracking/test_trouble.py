"""MLflow never costs a result: what is wrong with it is said, everything else goes on, and it is mirrored later."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient
from stored import finish_whole, manifest

from harness.cli import main
from harness.results.scores import add_scores
from harness.results.store import Store, StudyFolder
from harness.tracking.mlflow_view import MlflowView

REGIONS = ("ET+TC", "GTV (nodes)", "a, b", "c*d", "e&f", "g|h", "i'j", "mean")
CELLS = ("data_net_noleading_f0_s0_aaaaaaaaaaaa", "data_net_noleading_f0_s1_bbbbbbbbbbbb")


@pytest.fixture
def study(project: Path, tracking_database: Path) -> StudyFolder:
    """A study of two finished cells, and an empty tracking database."""
    store = Store(project / "results")
    store.create()
    facts = {"name": "data", "title": "Data", "kind": "generated", "unit": "patient", "modalities": ["t1"],
             "regions": REGIONS, "notes": []}  # fmt: skip
    for cell in CELLS:
        finish_whole(store.cell(cell), regions=REGIONS)
    cells = [{"cell": cell, "label": f"net+{cell[-1]}"} for cell in CELLS]
    folder = store.study("s", "default")
    protocol = {"name": "p", "training": {"epochs": 3, "optimiser": {"lr": 0.1}}}
    labels = [cell["label"] for cell in cells]
    folder.write_manifest(
        manifest(labels=labels, datasets=[facts], cells=cells, file="s.yaml", protocol=protocol, question="Which?")
    )
    mlflow.set_tracking_uri(f"sqlite:///{tracking_database}")
    yield folder
    mlflow.set_tracking_uri(None)


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join("".join(capsys.readouterr()).split())


def runs() -> dict[str, mlflow.entities.Run]:
    client = MlflowClient()
    found = client.search_runs([client.get_experiment_by_name("s").experiment_id])
    return {run.info.run_name.partition(" |")[0]: run for run in found}


def test_names_that_mlflow_refuses_are_shown_there_under_others_and_kept_in_the_report(study, project, capsys):
    assert main(["mlflow", "sync", "s"]) == 0
    found = runs()
    assert {run.info.status for run in found.values()} == {"FINISHED"}
    metrics = found["net+a"].data.metrics
    assert {"dice/mean", "dice/_x6D_ean", "dice/ET_x2B_TC", "hd95/GTV _x28_nodes_x29_"} <= set(metrics)
    assert len([name for name in metrics if name.startswith("dice/")]) == len(REGIONS) + 1
    assert main(["report", "s", "--no-figures", "--format", "csv", "--mlflow"]) == 0
    assert "Not in MLflow" not in said(capsys)
    means = pd.read_csv(project / "results/reports/s/default/csv/means.csv")
    assert set(REGIONS) <= set(means["region"])


def test_the_studys_run_can_be_compared_with_those_of_other_studies(study):
    assert main(["mlflow", "sync", "s"]) == 0
    run = runs()["study s (default)"]
    assert run.data.tags["harness.study"] == "s"
    assert run.data.tags["profile"] == "default"
    assert run.data.tags["mlflow.user"]
    assert run.data.tags["mlflow.source.name"] == "harness run s.yaml"
    assert run.data.tags["mlflow.source.type"] == "LOCAL"
    assert run.data.params["protocol.training.optimiser.lr"] == "0.1"
    assert run.data.params["variants"] == "net+a, net+b"
    assert run.data.metrics["dice/data/best"] == 1.0
    assert run.data.metrics["dice/data/net_x2B_a"] == 1.0
    assert run.data.metrics["cells/done"] == 2
    assert run.data.metrics["time/train"] == 120


def test_the_run_of_a_study_that_version_0_2_0_made_is_gone_on_with(study):
    client = MlflowClient()
    experiment = client.create_experiment("s")
    old = client.create_run(experiment, tags={"harness.study": "default", "profile": "default"}, run_name="old")
    assert main(["mlflow", "sync", "s"]) == 0
    found = client.get_run(old.info.run_id)
    assert found.data.tags["harness.study"] == "s"
    assert len(client.search_runs([experiment])) == 1 + len(CELLS)


def test_metrics_that_are_added_later_reach_mlflow_at_the_next_look(study, project):
    assert main(["mlflow", "sync", "s"]) == 0
    before = runs()
    cell = Store(project / "results").cell(CELLS[0])
    rows = pd.read_parquet(cell.result / "cases.parquet")
    add_scores(cell, rows[rows["metric"] == "dice"].assign(metric="nsd_2mm"))
    assert main(["mlflow", "sync", "s"]) == 0
    found = runs()
    assert {name: run.info.run_id for name, run in found.items()} == {
        name: run.info.run_id for name, run in before.items()
    }
    assert set(found["net+a"].data.metrics) - set(before["net+a"].data.metrics) >= {"nsd_2mm/mean", "nsd_2mm/ET_x2B_TC"}
    assert found["net+b"].data.metrics == before["net+b"].data.metrics
    assert found["study s (default)"].data.metrics["nsd_2mm/data/net_x2B_a"] == 1.0
    assert {run.info.status for run in found.values()} == {"FINISHED"}
    lower = rows[rows["metric"] == "dice"].assign(metric="nsd_2mm", value=0.25)  # the metric had failed, and was mended
    add_scores(cell, lower)
    assert main(["mlflow", "sync", "s"]) == 0
    assert runs()["net+a"].data.metrics["nsd_2mm/mean"] == 0.25
    assert runs()["study s (default)"].data.metrics["nsd_2mm/data/net_x2B_a"] == 0.25


def corrupt(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\x00" + b"\xff" * 5000)


def write_text(path: Path) -> None:
    path.write_text("my notes\n")


def of_another_version(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = 'future'")


@pytest.mark.parametrize("spoil", [corrupt, write_text, of_another_version])
def test_a_database_that_cannot_be_used_costs_no_result_and_is_mirrored_later(
    study, project, tracking_database, capsys, spoil
):
    sound = shutil.copy(tracking_database, project / "sound.db")
    spoil(tracking_database)
    content = tracking_database.read_bytes()
    assert main(["report", "s", "--no-figures", "--format", "csv"]) == 0
    assert "Not in MLflow:" in said(capsys)
    assert (project / "results/reports/s/default/csv/means.csv").is_file()
    assert main(["mlflow", "sync"]) == 2
    assert "MLflow cannot be used" in said(capsys)
    assert tracking_database.read_bytes() == content
    shutil.copy(sound, tracking_database)
    assert main(["mlflow", "sync"]) == 0
    assert runs()["net+a"].info.status == "FINISHED"


def test_a_run_says_at_its_start_that_mlflow_is_locked_and_goes_on(finished_study, tracking_database, capsys):
    mlflow.set_tracking_uri(f"sqlite:///{tracking_database}")
    try:
        with closing(sqlite3.connect(tracking_database)) as database:
            database.execute("BEGIN EXCLUSIVE")
            assert main(["run", str(finished_study), "--workers", "1"]) == 0
    finally:
        mlflow.set_tracking_uri(None)
    text = said(capsys)
    assert "locked" in text
    assert text.index("MLflow is out of step") < text.index("cells are done already")
    assert "harness mlflow sync micro" in text


def rename_table(path: Path, name: str, other: str) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(f"ALTER TABLE {name} RENAME TO {other}")


def test_a_database_that_breaks_in_the_middle_is_said_and_tried_ever_more_seldom(
    study, project, tracking_database, capfd
):
    now = [0.0]
    view = MlflowView(Store(project / "results"), study, clock=lambda: now[0])
    sync, tried = view.sync, []
    view.sync = lambda: tried.append(now[0]) or sync()
    rename_table(tracking_database, "runs", "gone")
    for _ in range(360):  # an hour
        view.update()
        now[0] += 10
    assert "no such table" in view.trouble
    pauses = [after - before for before, after in pairwise(tried)]
    assert pauses == sorted(pauses)
    assert pauses[0] <= 60
    assert pauses[-1] == 600
    assert "Traceback" not in "".join(capfd.readouterr())
    rename_table(tracking_database, "gone", "runs")
    now[0] += 600
    view.update()
    assert view.trouble == ""
    assert runs()["net+b"].info.status == "FINISHED"


def test_what_is_refused_of_one_cell_keeps_no_other_from_mlflow(study, monkeypatch, capsys):
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

    whole = MlflowClient.log_artifact

    def refuse(client, run, *arguments):
        if client.get_run(run).data.tags["variant"] == "net+a":
            raise MlflowException("Invalid artifact path", error_code=INVALID_PARAMETER_VALUE)
        whole(client, run, *arguments)

    with monkeypatch.context() as broken:
        broken.setattr(MlflowClient, "log_artifact", refuse)
        assert main(["mlflow", "sync", "s"]) == 1
    assert "Invalid artifact path" in said(capsys)
    assert {name: run.info.status for name, run in runs().items()} | {"study s (default)": "FINISHED"} == {
        "net+a": "RUNNING", "net+b": "FINISHED", "study s (default)": "FINISHED",
    }  # fmt: skip
    assert main(["mlflow", "sync", "s"]) == 0
    assert runs()["net+a"].info.status == "FINISHED"
