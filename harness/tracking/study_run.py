"""The run that stands for a whole study: the parent of its cells' runs, with the report as its artifacts."""

from collections.abc import Callable, Iterable
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run

from harness.results.records import Manifest

#: MLflow's own tag: it shows a run under its parent.
PARENT = "mlflow.parentRunId"
_KEY = "harness.study"
_FOLDER = "report"


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
        found = next((run for run in runs if run.data.tags.get(_KEY) == profile), None)
        if found is None:
            tags = {_KEY: profile, "profile": profile, "mlflow.note.content": manifest.question}
            name = f"study {manifest.name} ({profile})"
            found = client.create_run(experiment, run_name=name, tags=tags, start_time=start)
        self.id = str(found.info.run_id)
        self._status = str(found.info.status)

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

    def log_report(self, folder: Path) -> None:
        """Logs a report's files as artifacts, and its answer as the run's description.

        Args:
            folder: What ``harness report`` wrote.
        """
        self._client.log_artifacts(self.id, str(folder), _FOLDER)
        answer = folder / "answer.txt"
        if answer.is_file():
            self._client.set_tag(self.id, "mlflow.note.content", answer.read_text(encoding="utf-8")[:5000])
