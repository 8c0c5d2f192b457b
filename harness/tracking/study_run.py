"""The run that stands for a whole study: the parent of its cells' runs, with the report as its artifacts."""

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Run

from harness.results.manifest import Manifest
from harness.results.reading import load_results
from harness.results.store import Store, StudyFolder
from harness.tracking.batches import flatten, log_metrics, log_params
from harness.tracking.metrics import results_mark, study_metrics
from harness.tracking.origin import commit_tags, origin_tags

#: MLflow's own tag: it shows a run under its parent.
PARENT = "mlflow.parentRunId"
_KEY = "harness.study"

#: Which results the metrics of the run are of.
_MARK = "harness.results"

_FOLDER = "report"

#: What of a protocol a person compares studies by.
_OF_PROTOCOL = ("name", "patch_size", "training", "sampling", "preparation", "inference")


class StudyRun:
    """Finds or starts the run of a study under a profile.

    Args:
        client: MLflow.
        experiment: The study's experiment.
        manifest: The study as resolved.
        profile: The profile.
        runs: Runs of the experiment.
        start: When the first cell began, in milliseconds since 1970; ``None`` for now.
    """

    def __init__(
        self,
        client: MlflowClient,
        experiment: str,
        manifest: Manifest,
        profile: str,
        runs: Iterable[Run],
        start: int | None = None,
    ) -> None:
        self._client = client
        tags = {_KEY: manifest.name, "profile": profile, **origin_tags(manifest.file)}
        before = {_KEY: profile, "profile": profile}  # what the tag held until version 0.3.0
        found = next((run for run in runs if _names(run, tags) or _names(run, before)), None)
        if found is None:
            name = f"study {manifest.name} ({profile})"
            note = {"mlflow.note.content": manifest.question[:5000]}
            found = client.create_run(experiment, run_name=name, tags=tags | note, start_time=start)
        self.id = str(found.info.run_id)
        self._status = str(found.info.status)
        self._tags = dict(found.data.tags)
        for key, value in tags.items():
            self._tag(key, value)
        log_params(client, self.id, _params(manifest, profile), found.data.params)

    @property
    def is_running(self) -> bool:
        """Whether MLflow shows the run as running."""
        return self._status == "RUNNING"

    def show(self, states: Iterable[str], end: Callable[[], int]) -> None:
        """Gives the run the status that follows from those of the cells.

        Args:
            states: Statuses of the cells.
            end: Finds out when the last cell ended, in milliseconds since 1970; 0 for now.
        """
        found = set(states)
        status = "FINISHED" if found == {"done"} else "FAILED" if "failed" in found else "RUNNING"
        if "running" not in found and status == "RUNNING":
            status = "KILLED" if found - {"new", "done"} else "SCHEDULED"
        if status == self._status:
            return
        if status in ("RUNNING", "SCHEDULED"):
            self._client.update_run(self.id, status)
        else:
            self._client.set_terminated(self.id, status, end_time=end() or None)
        self._status = status

    def log_scores(self, store: Store, study: StudyFolder) -> None:
        """Logs the means of the variants, as the report has them, and what the study cost; once for the same cells.

        Args:
            store: The store.
            study: The study.
        """
        mark = results_mark(store, study)
        if self._tags.get(_MARK) == mark:
            return
        results = load_results(study, store)
        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, 0) for name, value in study_metrics(results).items()]
        log_metrics(self._client, self.id, metrics)
        done = results.cells[results.cells["status"] == "done"]
        for key, value in commit_tags(done["commit"]).items():
            self._tag(key, value)
        self._tag(_MARK, mark)

    def _tag(self, key: str, value: str) -> None:
        if self._tags.get(key) != value:
            self._client.set_tag(self.id, key, value)
            self._tags[key] = value

    def log_report(self, folder: Path) -> None:
        """Logs a report's files as artifacts, and its answer as the run's description.

        Args:
            folder: What ``harness report`` wrote.
        """
        self._client.log_artifacts(self.id, str(folder), _FOLDER)
        answer = folder / "answer.txt"
        if answer.is_file():
            self._client.set_tag(self.id, "mlflow.note.content", answer.read_text(encoding="utf-8")[:5000])


def _names(run: Run, tags: Mapping[str, str]) -> bool:
    """Whether a run is that of the study and profile that tags name."""
    return all(run.data.tags.get(key) == tags[key] for key in (_KEY, "profile"))


def _params(manifest: Manifest, profile: str) -> dict[str, object]:
    """Returns what tells the study from others."""
    protocol = {key: value for key, value in manifest.protocol.items() if key in _OF_PROTOCOL}
    return {
        "profile": profile,
        "datasets": ", ".join(facts.name for facts in manifest.datasets),
        "variants": ", ".join(manifest.labels),
        "reference": manifest.report.reference or "",
        "cells": len(manifest.cells),
        **({"protocol": protocol.pop("name")} if "name" in protocol else {}),
        **{f"protocol.{key}": value for key, value in flatten(protocol)},
    }
