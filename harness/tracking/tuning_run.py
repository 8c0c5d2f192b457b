"""The run that stands for a whole search, a tuning or a race: its numbers, its files and its pictures."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlflow.entities import Metric

from harness.tracking.batches import log_metrics, log_params
from harness.tracking.experiment import open_experiment
from harness.tracking.names import metric_name
from harness.tracking.origin import origin_tags
from harness.tracking.server import tracking

_Metrics = Sequence[tuple[str, float, int]]


def log_tuning(
    study: str, profile: str, params: Mapping[str, str], metrics: Mapping[str, float], files: Sequence[Path]
) -> None:
    """Logs a tuning to the run ``tuning STUDY (PROFILE)`` of the study's experiment, which is found again.

    Args:
        study: Name of the study.
        profile: Its profile.
        params: How it was searched; what is logged already stays.
        metrics: What was found.
        files: Files and folders to keep with the run.

    Raises:
        TrackingError: The tracking server cannot be written.
    """
    tags = {"harness.tuning": profile, "profile": profile}
    values = [(key, value, 0) for key, value in metrics.items()]
    hint = "The protocol file is written. Correct MLFLOW_TRACKING_URI, or tune with --no-mlflow."
    _log(study, f"tuning {study} ({profile})", tags, params, values, files, hint)


def log_race(dataset: str, name: str, params: Mapping[str, str], metrics: _Metrics, files: Sequence[Path]) -> None:
    """Logs a race of leading modalities to the run ``NAME`` of the experiment ``lead_DATASET``, which is found again.

    Args:
        dataset: Name of the dataset.
        name: Of the race.
        params: How it was run; what is logged already stays.
        metrics: Name, value and epoch.
        files: Files to keep with the run.

    Raises:
        TrackingError: The tracking server cannot be written.
    """
    hint = "The answer is written. Correct MLFLOW_TRACKING_URI, or run with --no-mlflow."
    _log(f"lead_{dataset}", name, {"harness.lead": name, "dataset": dataset}, params, metrics, files, hint)


def _log(
    study: str,
    name: str,
    tags: Mapping[str, str],
    params: Mapping[str, str],
    metrics: _Metrics,
    files: Sequence[Path],
    hint: str,
) -> None:
    """Logs to one run of an experiment; the first of the tags is how it is found again."""
    key, value = next(iter(tags.items()))
    with tracking("This cannot be logged to MLflow", hint):
        client, experiment = open_experiment(study)
        runs = client.search_runs([experiment], f"tags.`{key}` = '{value}'", max_results=1)
        run = runs[0] if runs else client.create_run(experiment, run_name=name, tags={**tags, **origin_tags("")})
        log_params(client, run.info.run_id, params, run.data.params)
        now = int(time.time() * 1000)
        found = [Metric(metric_name(name), value, now, step) for name, value, step in metrics]
        log_metrics(client, run.info.run_id, found)
        for path in files:
            if path.is_dir():
                client.log_artifacts(run.info.run_id, str(path), path.name)
            else:
                client.log_artifact(run.info.run_id, str(path))
        client.set_terminated(run.info.run_id, "FINISHED")
