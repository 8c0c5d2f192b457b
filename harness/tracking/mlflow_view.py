"""Mirrors a study of the store into MLflow: one experiment a study, one run a cell, and one run above them.

One process writes: the one that runs the study. Workers know nothing of MLflow. Everything logged is read from the
store, so that the tracking database can be thrown away and written again (``MlflowView.sync``).
"""

import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import mlflow
import pandas as pd
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException

from harness.errors import HarnessError
from harness.redaction import without_secrets
from harness.results.overlay import draw
from harness.results.records import Progress
from harness.results.scores import read_scores
from harness.results.store import CellFolder, Store, StudyFolder
from harness.tracking.experiment import open_experiment
from harness.tracking.metrics import EPOCH, cost_metrics, epoch_metrics, score_metrics
from harness.tracking.study_run import PARENT, StudyRun
from harness.tracking.times import Span, span

_KEY = "harness.cell"
_INTERVAL = 2.0  # seconds between looks at the store

#: MLflow's status by ours; a cell that was begun and is new has ended before its first checkpoint.
_STATUS = {"done": "FINISHED", "failed": "FAILED", "interrupted": "KILLED", "new": "KILLED", "running": "RUNNING"}


@dataclass
class _Mirror:
    """What MLflow knows of one cell."""

    cell: CellFolder
    label: str
    run: str | None = None
    epochs: int = 0
    finished: bool = False
    shown: tuple[str, str] = ("", "")  # status and reason of failure


class MlflowView:
    """Keeps MLflow in step with one study of the store.

    The tracking server is MLflow's own choice: ``MLFLOW_TRACKING_URI``, else ``mlflow.db`` in the working directory,
    so that a bare ``mlflow ui`` typed there shows the runs.

    Args:
        store: The results store.
        study: The study to mirror.

    Raises:
        HarnessError: The tracking server cannot be reached, or its database is of another version.
    """

    def __init__(self, store: Store, study: StudyFolder) -> None:
        self._study = study
        self._manifest = study.manifest()
        self._looked = 0.0
        self.trouble = ""
        try:
            self._client, self._experiment = open_experiment(study.study, self._manifest.question)
            self._mirrors = [_Mirror(cell, label) for label, cell in store.study_cells(study)]
            self._find_runs()
        except (MlflowException, OSError) as error:
            raise HarnessError(
                f"MLflow cannot be reached at {tracking_place()}: {without_secrets(error)}",
                hint="Correct MLFLOW_TRACKING_URI, or run with --no-mlflow and mirror the study later.",
            ) from error

    def update(self) -> None:
        """Mirrors what is new, at most every two seconds.

        A view that cannot be written never stops the cells: :attr:`trouble` says what is wrong.
        """
        if time.monotonic() - self._looked >= _INTERVAL:
            self._try_sync()

    def finish(self) -> None:
        """Mirrors what the last look missed."""
        self._try_sync()

    def _try_sync(self) -> None:
        try:
            self.sync()
            self.trouble = ""
        except (MlflowException, OSError) as error:
            self.trouble = without_secrets(error)
            self._looked = time.monotonic()

    def sync(self) -> None:
        """Mirrors everything that is new in the store."""
        for mirror in self._mirrors:
            if not mirror.finished:
                self._sync_cell(mirror)
        states = ["done" if mirror.finished else mirror.cell.status() for mirror in self._mirrors]
        self._whole.show(states, lambda: max((span(mirror.cell).end or 0 for mirror in self._mirrors), default=0))
        self._looked = time.monotonic()

    def log_report(self, folder: Path) -> None:
        """Logs what ``harness report`` wrote as artifacts of the study's run.

        Args:
            folder: The report.

        Raises:
            HarnessError: The tracking server cannot be written.
        """
        try:
            self._whole.log_report(folder)
        except (MlflowException, OSError) as error:
            raise HarnessError(
                f"The report cannot be logged at {tracking_place()}: {without_secrets(error)}",
                hint="The report itself is written. Correct MLFLOW_TRACKING_URI, or report with --no-mlflow.",
            ) from error

    @property
    def address(self) -> str:
        """The experiment's path in the web interface."""
        return f"/#/experiments/{self._experiment}"

    def _find_runs(self) -> None:
        runs = list(self._runs())
        begun = [start for mirror in self._mirrors if (start := span(mirror.cell).start)]
        self._whole = StudyRun(
            self._client, self._experiment, self._manifest, self._study.profile, runs, min(begun, default=None)
        )
        known = {(run.data.tags.get(_KEY), run.data.tags.get("variant")): run for run in runs}
        for mirror in self._mirrors:
            run = known.get((mirror.cell.id, mirror.label))
            if run is not None:
                self._adopt(mirror, run)

    def _adopt(self, mirror: _Mirror, run: Run) -> None:
        """Goes on with a run that is there already."""
        mirror.run = str(run.info.run_id)
        mirror.epochs = int(run.data.metrics.get(EPOCH, 0))
        mirror.finished = run.info.status == "FINISHED"
        mirror.shown = (run.info.status, run.data.tags.get("failure", ""))
        if not run.data.params:  # whoever started it was killed before it could log them
            self._log_params(mirror)

    def _runs(self) -> Iterator[Run]:
        token = None
        while True:
            page = self._client.search_runs([self._experiment], max_results=1000, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _sync_cell(self, mirror: _Mirror) -> None:
        status = mirror.cell.status()
        progress = mirror.cell.progress()
        if status == "new" and not progress.phase:
            return
        if mirror.run is None:
            self._start(mirror)
        if mirror.finished:  # by another view, meanwhile
            return
        assert mirror.run is not None
        history = self._history(mirror.cell, status, progress)
        times = span(mirror.cell)
        self._log_epochs(mirror, history, times)
        if status == "done":
            self._log_result(mirror, times)
            mirror.finished = True
        self._show(mirror, _STATUS[status], times)

    def _show(self, mirror: _Mirror, status: str, times: Span) -> None:
        """Gives the run its status and the reason of a failure, where they are new."""
        failure = mirror.cell.failure() if status == "FAILED" else None
        reason = failure.reason[:5000] if failure else ""
        if (status, reason) == mirror.shown:
            return
        if status == "RUNNING":
            self._client.update_run(mirror.run, status)
        else:
            self._client.set_terminated(mirror.run, status, end_time=times.end)
        if reason:
            self._client.set_tag(mirror.run, "failure", reason)
        mirror.shown = (status, reason)

    def _start(self, mirror: _Mirror) -> None:
        """Starts the run of a cell, unless another view of the study, say of a report, has started it meanwhile."""
        for run in self._client.search_runs([self._experiment], f"tags.`{_KEY}` = '{mirror.cell.id}'"):
            if run.data.tags.get("variant") == mirror.label:
                self._adopt(mirror, run)
                return
        cell = mirror.cell.record()
        kind = {facts.name: facts.kind for facts in self._manifest.datasets}[cell.dataset]
        lead = "" if cell.leading == "-" else f", {cell.leading} leads"
        name = f"{mirror.label} | {cell.dataset}{lead} | fold {cell.fold} seed {cell.seed}"
        tags = {
            _KEY: mirror.cell.id,
            PARENT: self._whole.id,
            "variant": mirror.label,
            "profile": self._study.profile,
            "dataset": cell.dataset,
            "data.kind": kind,
            "data.hash": cell.data,
            "split.hash": cell.split,
            "model": cell.model,
            "leading": cell.leading,
            "fold": str(cell.fold),
            "seed": str(cell.seed),
        }
        run = self._client.create_run(self._experiment, run_name=name, tags=tags, start_time=span(mirror.cell).start)
        mirror.run = str(run.info.run_id)
        self._log_params(mirror)

    def _log_params(self, mirror: _Mirror) -> None:
        cell = mirror.cell.record()
        params = {
            **cell.model_dump(include={"dataset", "model", "leading", "fold", "seed"}),
            "protocol": cell.protocol["name"],
            **{f"model.{key}": value for key, value in _flat(cell.options)},
            **{
                f"protocol.{key}": value
                for key, value in _flat(cell.protocol)
                if key not in {"name", "description", "source"}
            },
        }
        logged = [Param(key, str(value)[:6000]) for key, value in params.items()]
        for start in range(0, len(logged), 100):  # the server takes at most 100 at once
            self._client.log_batch(mirror.run, params=logged[start : start + 100])

    def _history(self, cell: CellFolder, status: str, progress: Progress) -> list[dict[str, Any]]:
        if status == "done":
            rows = pd.read_parquet(cell.result / "history.parquet").to_dict("records")
            return [{str(key): value for key, value in row.items()} for row in rows]
        return [row.model_dump() for row in progress.history]

    def _log_epochs(self, mirror: _Mirror, history: list[dict[str, Any]], times: Span) -> None:
        metrics = [
            Metric(name, value, times.at(trained), epoch)
            for name, value, epoch, trained in epoch_metrics(history, mirror.epochs)
        ]
        mirror.epochs = max([mirror.epochs, *(metric.step for metric in metrics)])
        assert mirror.run is not None
        for start in range(0, len(metrics), 1000):
            self._client.log_batch(mirror.run, metrics=metrics[start : start + 1000])

    def _log_result(self, mirror: _Mirror, times: Span) -> None:
        assert mirror.run is not None
        cell, summary = mirror.cell, mirror.cell.summary()
        rows = read_scores(cell)
        metrics = dict(score_metrics(rows)) | cost_metrics(summary.model_dump())
        tags = {"git.commit": summary.commit, "device": summary.device}
        self._client.log_batch(
            mirror.run,
            metrics=[Metric(name, value, times.end or times.now, 0) for name, value in metrics.items()],
            tags=[RunTag(key, value) for key, value in tags.items()],
        )
        with tempfile.TemporaryDirectory() as folder:
            table, picture = Path(folder) / "cases.csv", Path(folder) / "overlay.png"
            rows.to_csv(table, index=False)
            self._client.log_artifact(mirror.run, str(table))
            if (cell.result / "overlay.npz").is_file():
                draw(cell.result / "overlay.npz", picture, title=mirror.label)
                self._client.log_artifact(mirror.run, str(picture))


def tracking_place() -> str:
    """Returns the tracking URI without user name, password and query: fit for logs and messages."""
    uri = mlflow.get_tracking_uri()
    parts = urlsplit(uri)
    if parts.hostname is None:
        return str(uri)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
