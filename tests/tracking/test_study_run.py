"""The study's own run in MLflow: parent of its cells, holder of the report, made again from the store."""

from __future__ import annotations

import json
import shutil
from datetime import datetime
from pathlib import Path

import pytest
from mlflow import MlflowClient

from harness.cli import main

WHOLE = "study micro (default)"

pytestmark = pytest.mark.usefixtures("toys")


def contents(project: Path) -> dict[str, dict[str, object]]:
    """Everything tracked, by the name of the run."""
    client = MlflowClient(f"sqlite:///{project}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("micro").experiment_id])
    names = {run.info.run_id: run.info.run_name for run in runs}
    return {
        run.info.run_name: {
            "metrics": run.data.metrics,
            "curve": [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, "train/loss")],
            "params": run.data.params,
            "status": run.info.status,
            "note": run.data.tags.get("mlflow.note.content"),
            "parent": names.get(run.data.tags.get("mlflow.parentRunId", "")),
            "artifacts": sorted(each.path for each in client.list_artifacts(run.info.run_id)),
            "times": (run.info.start_time, run.info.end_time),
            "clock": [point.timestamp for point in client.get_metric_history(run.info.run_id, "train/loss")],
            "report": sorted(each.path for each in client.list_artifacts(run.info.run_id, "report/figures")),
        }
        for run in runs
    }


def test_the_report_hangs_on_the_run_above_the_cells_and_all_is_made_again_from_the_store(
    project, write_study, empty_database
):
    models = [{"name": "toy", "label": "on"}, {"name": "toy", "switch": "off", "label": "off"}]
    study = write_study(matrix={"dataset": ["cortex"], "model": models}, report={"reference": "on"})
    assert main(["run", str(study), "--workers", "1", "--no-mlflow"]) == 0
    assert main(["report", "micro", "--no-figures"]) == 0
    assert not Path("mlflow.db").exists(), "a report makes no database unasked"

    shutil.copy(empty_database, project)
    assert main(["report", "micro", "--mlflow"]) == 0
    found = contents(project)
    cells = {"on | cortex | fold 0 seed 0", "off | cortex | fold 0 seed 0"}
    assert set(found) == {WHOLE, *cells}
    assert {found[name]["parent"] for name in cells} == {WHOLE}
    assert found[WHOLE]["status"] == "FINISHED"
    assert found[WHOLE]["artifacts"] == ["report"]
    assert "report/figures/boxes_cortex.png" in found[WHOLE]["report"]
    assert "1 patient: no significance test" in found[WHOLE]["note"]

    # The runs begin and end with their cells, whenever they are logged.
    summaries = [json.loads(path.read_text()) for path in Path("results/cells").glob("*/result/summary.json")]
    spans = {(milliseconds(summary["started"]), milliseconds(summary["finished"])) for summary in summaries}
    assert {found[name]["times"] for name in cells} == spans
    assert found[WHOLE]["times"] == (min(start for start, _ in spans), max(end for _, end in spans))
    for name in cells:
        start, end = found[name]["times"]
        assert start <= found[name]["clock"][0] <= found[name]["clock"][1] <= end

    _forget_engines()
    for path in project.glob("mlflow.db*"):
        path.unlink()
    shutil.copy(empty_database, project)
    assert main(["mlflow", "sync"]) == 0
    assert contents(project) == found


def milliseconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def _forget_engines():
    """MLflow keeps connections to a database file by its address; this process deletes the file under it."""
    from mlflow.store.tracking import sqlalchemy_store
    from mlflow.tracking._tracking_service import utils

    utils._tracking_store_registry._get_store_with_resolved_uri.cache_clear()
    sqlalchemy_store.SqlAlchemyStore._engine_map.clear()
