"""MLflow shows what is in the store: live, once, and again after its database was thrown away."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient

from harness.cli import main
from harness.errors import HarnessError
from harness.execution.study import register
from harness.results.lease import Lease
from harness.results.records import Progress
from harness.results.store import Store
from harness.study.expansion import load_study
from harness.tracking import shared
from harness.tracking.mlflow_view import MlflowView
from harness.tracking.server import tracking_place

pytestmark = pytest.mark.usefixtures("toys")


@pytest.fixture
def client(tracking_database):
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{tracking_database}")  # the default, made explicit for this long-lived process
    yield MlflowClient()
    mlflow.set_tracking_uri(None)


def runs(client, study="micro"):
    experiment = client.get_experiment_by_name(study)
    found = client.search_runs([experiment.experiment_id])
    return {run.data.tags["variant"]: run for run in found if "variant" in run.data.tags}


def test_a_study_is_an_experiment_and_a_cell_is_a_run(write_study, client):
    study = write_study(
        matrix={
            "dataset": ["cortex"],
            "model": [{"name": "toy", "label": "on"}, {"name": "toy", "switch": "off", "label": "off"}],
        }
    )
    assert main(["run", str(study), "--workers", "1"]) == 0
    found = runs(client)
    assert set(found) == {"on", "off"}
    run = found["on"]
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "on | cortex | fold 0 seed 0"
    assert set(run.data.tags) >= {
        "dataset", "model", "leading", "variant", "fold", "seed", "git.commit", "data.hash", "split.hash", "data.kind",
    }  # fmt: skip
    assert {
        "dice/mean",
        "dice/Cortex",
        "hd95/White",
        "size/parameters",
        "train/loss",
        "time/waiting",
    } <= set(run.data.metrics)
    curve = client.get_metric_history(run.info.run_id, "train/loss")
    assert [point.step for point in curve] == [1, 2]
    artifacts = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
    assert artifacts == {"cases.csv", "overlay.png"}
    differing = {key for key, value in run.data.params.items() if found["off"].data.params[key] != value}
    assert differing == {"model.switch"}, "the compare view shows the switch and nothing else"

    # Running again adds nothing; a lost database is written again from the store.
    assert main(["run", str(study), "--workers", "1"]) == 0
    assert {run.info.run_id for run in runs(client).values()} == {run.info.run_id for run in found.values()}
    before = {name: dict(run.data.metrics) for name, run in found.items()}
    client.delete_experiment(client.get_experiment_by_name("micro").experiment_id)
    assert main(["mlflow", "sync", "micro"]) == 0
    assert {name: dict(run.data.metrics) for name, run in runs(client).items()} == before


def test_a_failed_cell_is_a_failed_run_with_its_reason(write_study, client):
    study = write_study(matrix={"dataset": ["cortex"], "model": ["toy_exploding"]})
    assert main(["run", str(study), "--workers", "1"]) == 1
    run = runs(client)["toy_exploding"]
    assert run.info.status == "FAILED"
    assert "loss of epoch 1 is nan" in run.data.tags["failure"]


def test_a_server_that_cannot_be_reached_is_said_and_the_study_runs(finished_study, capsys):
    import mlflow

    mlflow.set_tracking_uri("http://user:secret@127.0.0.1:9/base")
    try:
        assert tracking_place() == "http://127.0.0.1:9/base"
        assert main(["run", str(finished_study), "--workers", "1"]) == 0
        said = "".join(capsys.readouterr())
        assert main(["mlflow", "sync"]) == 2
        error = capsys.readouterr().err
    finally:
        mlflow.set_tracking_uri(None)
    assert "MLflow is out of step" in said
    assert "harness mlflow sync micro" in said
    assert "MLflow cannot be used" in error
    assert "--no-mlflow" in error
    assert "secret" not in said + error


def test_without_mlflow_nothing_is_written(write_study):
    assert main(["run", str(write_study()), "--workers", "1", "--no-mlflow"]) == 0
    assert not Path("mlflow.db").exists()
    assert not Path("mlruns").exists()


@pytest.fixture
def begun(write_study, client):
    """A store and a study whose only cell has said that it trains, and nothing more; nobody computes it."""
    path = write_study()
    store = Store(path.parent / "results")
    store.create()
    study = register(load_study(path), store, path)
    ((_, cell),) = store.study_cells(study)
    cell.write_progress(Progress(phase="training", started="2026-01-01T00:00:00+00:00"))
    return store, study, cell


def test_two_views_of_a_study_make_one_run_of_a_cell(begun, client):
    """`harness report` looks at a study that `harness run` shows, just when a cell begins."""
    store, study, _ = begun
    one, other = MlflowView(store, study), MlflowView(store, study)
    one.sync()
    other.sync()
    experiment = client.get_experiment_by_name("micro").experiment_id
    assert len([run for run in client.search_runs([experiment]) if "variant" in run.data.tags]) == 1


def test_a_cell_that_ended_before_its_first_checkpoint_is_not_shown_as_running(begun, client):
    store, study, cell = begun
    view = MlflowView(store, study)
    with cell.lease():
        view.sync()
        assert runs(client)["toy"].info.status == "RUNNING"
    view.sync()
    assert runs(client)["toy"].info.status == "KILLED"


def test_what_is_shown_already_is_not_written_again(begun, client, monkeypatch):
    store, study, cell = begun
    cell.fail("it fell")
    MlflowView(store, study).sync()
    view = MlflowView(store, study)
    for name in ("set_terminated", "set_tag", "update_run", "create_run"):
        monkeypatch.setattr(MlflowClient, name, lambda *_, **__: pytest.fail("nothing is new"))
    view.sync()


def test_a_run_without_params_is_given_them(begun, client, monkeypatch):
    store, study, _ = begun
    view = MlflowView(store, study)
    with monkeypatch.context() as killed:
        killed.setattr(MlflowClient, "log_batch", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            view.sync()
    assert not runs(client)["toy"].data.params
    MlflowView(store, study).sync()
    assert runs(client)["toy"].data.params["model"] == "toy"


def test_whoever_cannot_take_over_the_view_of_another_run_goes_on_computing(tmp_path):
    first, second = Lease(tmp_path), Lease(tmp_path)
    assert first.try_acquire()

    def refuse():
        raise HarnessError("MLflow cannot be reached")

    view = shared.SharedView(second, refuse, try_every=0.0)
    first.release()
    view.update()
    assert view.trouble == "MLflow cannot be reached"
    view.finish()
    assert first.try_acquire(), "the lease was given back"
    first.release()


def test_a_server_that_fails_during_a_study_does_not_stop_it(write_study, client, monkeypatch, capsys):
    from mlflow.exceptions import MlflowException

    def fail(*_, **__):
        raise MlflowException("the disk of http://user:secret@host is full")

    with monkeypatch.context() as broken:
        broken.setattr(MlflowClient, "log_batch", fail)
        assert main(["run", str(write_study()), "--workers", "1"]) == 0
    said = capsys.readouterr().out
    assert "MLflow is out of step" in said
    assert "secret" not in said
    assert main(["mlflow", "sync", "micro"]) == 0
    assert "dice/mean" in runs(client)["toy"].data.metrics
