"""A metric of another package: named without an import, computed in a study, reported, and shown in MLflow."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace

import mlflow
import numpy as np
import pandas as pd
import pytest

import harness.results
from harness.cli import main
from harness.data import DATASETS
from harness.errors import HarnessError
from harness.evaluation import METRICS, builtin_metrics
from harness.evaluation.contract import Metric
from harness.evaluation.policy import POLICIES
from harness.evaluation.scoring import failures, score_case
from harness.results.reading import load_results
from harness.results.scores import read_scores
from harness.results.store import Store
from harness.results.tables import seal_tables
from harness.study.json_schema import PATH

OURS = {metric.name for metric in vars(builtin_metrics).values() if isinstance(metric, Metric)}


@pytest.fixture
def toy_metric(toys, small_cortex, monkeypatch):
    """Makes the package known to this process and to the workers it starts."""
    monkeypatch.setenv("HARNESS_DATA_CORTEX_TOY", str(small_cortex))
    for registry in (METRICS, DATASETS):
        registry.refresh()
    yield METRICS.get("volume_similarity")
    monkeypatch.undo()
    for registry in (METRICS, DATASETS):
        registry.refresh()


@pytest.mark.usefixtures("toy_metric", "tracking_database")
def test_it_goes_through_study_report_and_mlflow(project, write_study):
    matrix = {"dataset": ["cortex-toy"], "model": ["toy"]}
    study = write_study(matrix=matrix, report={"metrics": ["dice", "volume_similarity"]})
    assert main(["run", str(study), "--workers", "1"]) == 0
    rows = harness.results.load("micro")
    scored = rows[rows["metric"] == "volume_similarity"]
    assert scored["value"].between(0, 1).all()
    assert set(scored.loc[scored["status"] == "scored", "implementation"]) == {"toy-metric 0.1; empty: worst"}
    assert main(["report", "micro", "--no-figures"]) == 0
    report = project / "results/reports/micro/default"
    assert "Volume similarity" in (report / "report.html").read_text()
    means = pd.read_csv(report / "csv" / "means.csv")
    assert "volume_similarity" in set(means["metric"])
    client = mlflow.MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    (experiment,) = [found for found in client.search_experiments() if found.name == "micro"]
    shown = [run.data.metrics for run in client.search_runs([experiment.experiment_id])]
    assert any("volume_similarity/mean" in metrics for metrics in shown)


@pytest.mark.usefixtures("toy_metric")
def test_it_is_added_to_cells_of_a_dataset_that_does_not_declare_it(finished_study):
    assert main(["evaluate", "micro", "--metric", "volume_similarity"]) == 0
    rows = harness.results.load("micro")
    assert {"dice", "volume_similarity"} <= set(rows["metric"])


def gives(value):
    return lambda pair: value


def raises(error):
    def function(pair):
        raise error

    return function


FAULTS = {
    "raises": (raises(ZeroDivisionError("no lesion\nin case 7")), "ZeroDivisionError: no lesion"),
    "leaves": (raises(SystemExit(0)), "SystemExit: 0"),
    "refuses": (raises(HarnessError("Too small.")), "HarnessError: Too small."),
    "says a lot": (raises(ValueError("x" * 10**6)), "1,000,012 characters"),
    "NaN": (gives(math.nan), "nan"),
    "infinite": (gives(math.inf), "inf"),
    "nothing": (gives(None), "TypeError"),
    "text": (gives("high"), "ValueError"),
    "several": (gives(np.ones(3)), "TypeError"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_that_fails_costs_its_own_value_of_that_region(toy_metric, monkeypatch, fault):
    function, reason = FAULTS[fault]
    monkeypatch.setitem(vars(toy_metric), "function", lambda pair: function(pair) if pair.real > 1 else 0.5)
    truth = np.zeros((5, 5, 5), np.uint8)
    truth[0, 0, 0], truth[2:4, 2:4, 2:4] = 1, 2
    names = ("dice", "volume_similarity", "hd95")
    scores = score_case(truth, truth, {"a": (1,), "b": (2,)}, (1, 1, 1), POLICIES["worst"], names)
    assert [(one.value, one.status) for one in scores] == [
        (1, "scored"), (0.5, "scored"), (0, "scored"), (1, "scored"), (0, "missing"), (0, "scored"),
    ]  # fmt: skip
    assert reason in scores[4].implementation
    assert len(scores[4].implementation) < 500
    assert "\n" not in scores[4].implementation
    (said,) = failures(scores)
    assert "volume_similarity" in said


@pytest.mark.parametrize(("direction", "worst"), [({}, 0.0), ({"higher_is_better": False, "highest": 7.0}, 7.0)])
def test_one_whose_rule_for_empty_masks_fails_counts_as_worst(toy_metric, monkeypatch, direction, worst):
    broken = replace(toy_metric, unmeasured=raises(KeyError("x")), **direction)
    monkeypatch.setattr(METRICS, "get", lambda name: broken)
    masks = np.zeros((3, 3, 3), np.uint8)
    for prediction in (masks, None):
        (score,) = score_case(prediction, masks, {"a": (1,)}, (1, 1, 1), POLICIES["worst"], ("volume_similarity",))
        assert (score.value, score.status) == (worst, "missing")


@pytest.mark.usefixtures("finished_study")
def test_one_that_fails_is_told_and_tried_again_when_it_is_mended(toy_metric, monkeypatch, capsys):
    with monkeypatch.context() as broken:
        broken.setitem(vars(toy_metric), "function", raises(ValueError("no")))
        assert main(["evaluate", "micro", "--metric", "volume_similarity"]) == 1
    assert "ValueError: no" in capsys.readouterr().out
    rows = harness.results.load("micro")
    assert set(rows["status"][rows["metric"] == "volume_similarity"]) == {"missing"}
    assert main(["evaluate", "micro", "--metric", "volume_similarity"]) == 0
    rows = harness.results.load("micro")
    assert "missing" not in set(rows["status"])
    assert not rows.duplicated(["cell", "case", "region", "metric"]).any()


@pytest.mark.usefixtures("toy_metric")
def test_one_that_failed_in_a_cells_own_test_is_scored_again(finished_study, project):
    store = Store(project / "results")
    ((_, cell),) = store.study_cells(store.find_study("micro"))
    reason = "toy-metric 0.1; empty: worst; failed: ValueError: no"
    for name in ("cases.parquet", "floors.parquet"):
        rows = pd.read_parquet(cell.result / name)
        failed = rows[rows["metric"] == "dice"].assign(
            metric="volume_similarity", value=0.0, status="missing", implementation=reason
        )
        pd.concat([rows, failed]).to_parquet(cell.result / name, index=False)
    seal_tables(cell.result)
    before = (cell.result / "cases.parquet").read_bytes()
    assert main(["evaluate", "micro", "--metric", "volume_similarity"]) == 0
    assert (cell.result / "cases.parquet").read_bytes() == before
    found = load_results(store.find_study("micro"), store)
    for rows in (found.cases, found.floors, read_scores(cell)):
        assert {"dice", "volume_similarity"} <= set(rows["metric"])
        assert "missing" not in set(rows["status"])
    assert not found.cases.duplicated(["cell", "case", "region", "metric"]).any()
    assert not found.floors.duplicated(["floor", "case", "region", "metric"]).any()


def test_ours_are_registered_under_their_names():
    assert set(METRICS.names()) >= OURS
    assert {METRICS.get(name).name for name in OURS} == OURS


def test_names_need_no_import_of_what_computes():
    code = (
        "import sys; from harness.study.schema import Study; from harness.evaluation import METRICS; METRICS.names()\n"
        "heavy = {'scipy', 'torch', 'harness.evaluation.region', 'harness.evaluation.builtin_metrics'}\n"
        "assert not heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_editor_s_schema_completes_ours_and_allows_others():
    schema = json.loads(PATH.read_text())
    ours, others = schema["$defs"]["ReportSettings"]["properties"]["metrics"]["items"]["anyOf"]
    assert set(ours["enum"]) == OURS
    assert others == {"type": "string"}


def test_a_function_that_is_not_there_is_named_with_its_metric():
    metric = Metric("lost", "Lost", measure="harness.evaluation.overlap:nowhere", implementation="none")
    with pytest.raises(HarnessError, match="lost") as error:
        metric.value(None)
    assert "nowhere" in error.value.message
