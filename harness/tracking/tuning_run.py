"""The run that stands for a tuning: its numbers, its protocol file and its pictures."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException

from harness.errors import HarnessError
from harness.redaction import without_secrets

__all__ = ["log_tuning"]

_KEY = "harness.tuning"


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
        HarnessError: The tracking server cannot be written.
    """
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        client = MlflowClient()
        found = client.get_experiment_by_name(study)
        if found is None:  # the tag makes the interface that of model training
            experiment = client.create_experiment(study, tags={"mlflow.experimentKind": "custom_model_development"})
        else:
            experiment = found.experiment_id
            if found.lifecycle_stage == "deleted":
                client.restore_experiment(experiment)
        runs = client.search_runs([experiment], f"tags.`{_KEY}` = '{profile}'", max_results=1)
        name = f"tuning {study} ({profile})"
        run = (
            runs[0] if runs else client.create_run(experiment, run_name=name, tags={_KEY: profile, "profile": profile})
        )
        new = [Param(key, value[:6000]) for key, value in params.items() if key not in run.data.params]
        now = int(time.time() * 1000)
        client.log_batch(run.info.run_id, [Metric(key, value, now, 0) for key, value in metrics.items()], new)
        for path in files:
            if path.is_dir():
                client.log_artifacts(run.info.run_id, str(path), path.name)
            else:
                client.log_artifact(run.info.run_id, str(path))
        client.set_terminated(run.info.run_id, "FINISHED")
    except (MlflowException, OSError) as error:
        raise HarnessError(
            f"The tuning cannot be logged to MLflow: {without_secrets(error)}",
            hint="The protocol file is written. Correct MLFLOW_TRACKING_URI, or tune with --no-mlflow.",
        ) from error
