"""Mirrors a study of the store into MLflow: one experiment a study, one run a cell, and one run above them.

One process writes: the one that runs the study. Workers know nothing of MLflow. Everything logged is read from the
store, so that the tracking database can be thrown away and written again (``MlflowView.sync``).
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import pandas as pd
from mlflow.entities import Metric, Run, RunTag
from mlflow.exceptions import MlflowException

from harness.errors import HarnessError
from harness.results.overlay import draw
from harness.results.records import Progress
from harness.results.scores import added_mark, read_scores
from harness.results.store import CellFolder, Store, StudyFolder
from harness.tracking.batches import flatten, log_metrics, log_params
from harness.tracking.experiment import open_experiment
from harness.tracking.metrics import EPOCH, cost_metrics, epoch_metrics, score_metrics
from harness.tracking.origin import commit_tags, origin_tags
from harness.tracking.run_entities import log_dataset, log_model
from harness.tracking.server import RefusedError, TrackingError, knock, tracking
from harness.tracking.study_run import PARENT, StudyRun
from harness.tracking.system_metrics import SystemMetrics
from harness.tracking.times import Span, span

_KEY = "harness.cell"

#: Metrics that `harness evaluate` added to the cell, and that the run has.
_ADDED = "harness.added_metrics"
_INTERVAL = 2.0  # seconds between looks at the store

#: Seconds until a server that did not answer is asked again: the first time, and at most.
_FIRST_PAUSE, _LONGEST_PAUSE = 30.0, 600.0

#: What MLflow says of what it was given, rather than of itself.
_OF_ONE_RUN = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_DOES_NOT_EXIST"}

_LATER = "The results are safe; `harness mlflow sync` mirrors them later."

#: MLflow's status by ours; a cell that was begun and is new has ended before its first checkpoint.
_STATUS = {
    "done": "FINISHED",
    "failed": "FAILED",
    "damaged": "FAILED",
    "interrupted": "KILLED",
    "new": "KILLED",
    "running": "RUNNING",
}


@dataclass
class _Mirror:
    """What MLflow knows of one cell."""

    cell: CellFolder
    label: str
    run: str | None = None
    epochs: int = 0
    finished: bool = False
    metrics: Mapping[str, float] = field(default_factory=dict)  # that the run has
    shown: tuple[str, str] = ("", "")  # status and reason of failure


class MlflowView:
    """Keeps MLflow in step with one study of the store.

    The tracking server is MLflow's own choice: ``MLFLOW_TRACKING_URI``, else ``mlflow.db`` in the working directory,
    so that a bare ``mlflow ui`` typed there shows the runs.

    Args:
        store: The results store.
        study: The study to mirror.
        clock: Seconds, ever growing.
        system: Logs how this machine is used while cells run; default: where MLflow is asked for it.

    Raises:
        TrackingError: The tracking server cannot be reached, or its database cannot be used.
        DamagedRecordError: The study's record cannot be read.
    """

    def __init__(
        self,
        store: Store,
        study: StudyFolder,
        clock: Callable[[], float] = time.monotonic,
        system: SystemMetrics | None = None,
    ) -> None:
        self._store = store
        self._study = study
        self._manifest = study.manifest()
        self._clock = clock
        self._due = 0.0
        self._pause = _INTERVAL
        self._system = system or SystemMetrics()
        self.trouble = ""
        with tracking("MLflow cannot be used", "Correct MLFLOW_TRACKING_URI or the database, or use --no-mlflow."):
            self._client, self._experiment = open_experiment(study.study, self._manifest.question)
            self._mirrors = [_Mirror(cell, label) for label, cell in store.study_cells(study)]
            self._find_runs()

    def update(self) -> None:
        """Mirrors what is new, at most every two seconds, and ever more seldom where the server does not answer.

        A view that cannot be written never stops the cells: :attr:`trouble` says what is wrong.
        """
        if self._clock() >= self._due:
            self._try_sync()

    def finish(self) -> None:
        """Mirrors what the last look missed."""
        self._system.stop()
        self._try_sync()

    def _try_sync(self) -> None:
        try:
            if self.trouble:  # a request that nobody answers takes longer than this question
                with tracking("MLflow cannot be reached", _LATER):
                    knock()
            self.sync()
            self.trouble, self._pause = "", _INTERVAL
        except HarnessError as error:
            self.trouble, self._pause = error.message, min(_LONGEST_PAUSE, max(_FIRST_PAUSE, 2 * self._pause))
        self._due = self._clock() + self._pause

    def sync(self) -> None:
        """Mirrors everything that is new in the store.

        Raises:
            TrackingError: The server cannot be written.
            RefusedError: The server took everything but what some cells hold.
        """
        refused: list[HarnessError] = []
        for mirror in self._mirrors:
            if not mirror.finished:
                try:
                    with tracking("MLflow cannot be written", _LATER):
                        self._sync_cell(mirror)
                except HarnessError as error:
                    if not _is_about_one_run(error):
                        raise
                    refused.append(error)
        with tracking("MLflow cannot be written", _LATER):
            self._sync_study()
        if refused:
            raise RefusedError(refused[0].message, hint=refused[0].hint) from refused[0]

    def _sync_study(self) -> None:
        states = ["done" if mirror.finished else mirror.cell.status() for mirror in self._mirrors]
        self._whole.show(states, lambda: max((span(mirror.cell).end or 0 for mirror in self._mirrors), default=0))
        self._system.follow(self._whole.id, running="running" in states and self._whole.is_running)
        if not {"running", "new", "interrupted"} & set(states):
            self._whole.log_scores(self._store, self._study)

    def log_report(self, folder: Path) -> None:
        """Logs what ``harness report`` wrote as artifacts of the study's run.

        Args:
            folder: The report.

        Raises:
            TrackingError: The tracking server cannot be written.
        """
        with tracking("The report cannot be logged", "The report itself is written."):
            self._whole.log_report(folder)

    def log_model(self, cell: CellFolder, folder: Path) -> None:
        """Logs an exported model as the model of a cell's run.

        Args:
            cell: A cell of the study that has been mirrored.
            folder: What ``harness export`` wrote.
        """
        for mirror in self._mirrors:
            if mirror.cell.id == cell.id and mirror.run is not None:
                log_model(self._client, self._experiment, mirror.run, cell, folder)

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
        mirror.metrics = dict(run.data.metrics)
        is_whole = run.data.tags.get(_ADDED, "") == added_mark(mirror.cell)
        mirror.finished = run.info.status == "FINISHED" and is_whole
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
        reason = _reason(mirror.cell)[:5000] if status == "FAILED" else ""
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
        cell = mirror.cell.known(self._manifest.datasets)
        kinds = {facts.name: facts.kind for facts in self._manifest.datasets}
        lead = "" if cell.leading == "-" else f", {cell.leading} leads"
        name = f"{mirror.label} | {cell.dataset}{lead} | fold {cell.fold} seed {cell.seed}"
        tags = {
            _KEY: mirror.cell.id,
            PARENT: self._whole.id,
            "variant": mirror.label,
            "profile": self._study.profile,
            "dataset": cell.dataset,
            "data.kind": kinds.get(cell.dataset, ""),
            "data.hash": cell.data,
            "split.hash": cell.split,
            "model": cell.model,
            "leading": cell.leading,
            "fold": str(cell.fold),
            "seed": str(cell.seed),
            **origin_tags(self._manifest.file),
        }
        run = self._client.create_run(self._experiment, run_name=name, tags=tags, start_time=span(mirror.cell).start)
        mirror.run = str(run.info.run_id)
        log_dataset(self._client, mirror.run, cell, tags["data.kind"])
        self._log_params(mirror)

    def _log_params(self, mirror: _Mirror) -> None:
        cell = mirror.cell.known(self._manifest.datasets)
        params = {
            **cell.model_dump(include={"dataset", "model", "leading", "fold", "seed"}),
            "protocol": cell.protocol["name"],
            **{f"model.{key}": value for key, value in flatten(cell.options)},
            **{
                f"protocol.{key}": value
                for key, value in flatten(cell.protocol)
                if key not in {"name", "description", "source"}
            },
        }
        assert mirror.run is not None
        log_params(self._client, mirror.run, params)

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
        assert mirror.run is not None
        log_metrics(self._client, mirror.run, metrics)
        mirror.epochs = max([mirror.epochs, *(metric.step for metric in metrics)])

    def _log_result(self, mirror: _Mirror, times: Span) -> None:
        assert mirror.run is not None
        cell, summary = mirror.cell, mirror.cell.summary()
        rows = read_scores(cell)
        metrics = dict(score_metrics(rows)) | cost_metrics(summary.model_dump())
        tags = {"git.commit": summary.commit, "device": summary.device, **commit_tags([summary.commit])}
        new = [
            # The latest time counts: a value that changed, of a metric that was mended, comes after the one before.
            Metric(name, value, times.now if name in mirror.metrics else times.end or times.now, 0)
            for name, value in metrics.items()
            if mirror.metrics.get(name) != value
        ]
        log_metrics(self._client, mirror.run, new)
        with tempfile.TemporaryDirectory() as folder:
            table, picture = Path(folder) / "cases.csv", Path(folder) / "overlay.png"
            rows.to_csv(table, index=False)
            self._client.log_artifact(mirror.run, str(table))
            if _drawn(cell.result / "overlay.npz", picture, mirror.label):
                self._client.log_artifact(mirror.run, str(picture))
        if added := added_mark(cell):  # the last: a run that has the tag has the rest
            tags[_ADDED] = added
        self._client.log_batch(mirror.run, tags=[RunTag(key, value) for key, value in tags.items()])


def _is_about_one_run(error: HarnessError) -> bool:
    """Whether only what one cell holds is refused, or cannot be read; other cells may be mirrored all the same."""
    cause = error.__cause__
    if isinstance(error, TrackingError):
        return isinstance(cause, MlflowException) and cause.error_code in _OF_ONE_RUN
    return True


def _reason(cell: CellFolder) -> str:
    """Returns why a cell has no result."""
    if damages := cell.damages():
        return damages[0].message
    failure = cell.failure()
    return failure.reason if failure else ""


def _drawn(source: Path, target: Path, title: str) -> bool:
    """Draws a picture, and returns whether it could: one that is damaged costs no numbers."""
    try:
        draw(source, target, title=title)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return False
    return True
