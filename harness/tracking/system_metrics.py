"""MLflow's own record of how this machine is used, in the run of the study, where its user asks MLflow for it.

It is taken in the process that watches the cells and reads counters of the system, so it changes no number.
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Protocol

from mlflow.environment_variables import MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING


class Monitor(Protocol):
    """What is used of MLflow's monitor."""

    def start(self) -> None:
        """Starts to take and log samples, in a thread."""

    def finish(self) -> None:
        """Logs the last samples and ends the thread."""


class SystemMetrics:
    """Logs the use of this machine while a run is shown as running.

    Args:
        make: Makes a monitor that logs to a run, by its identity.
    """

    def __init__(self, make: Callable[[str], Monitor] | None = None) -> None:
        self._make = make or _monitor
        self._enabled = bool(MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING.get()) and not missing_package()
        self._monitor: Monitor | None = None

    def follow(self, run: str, *, running: bool) -> None:
        """Starts the monitor where a run runs, and ends it where it does not.

        Args:
            run: Identity of the run.
            running: Whether MLflow shows it as running; else the monitor would end by itself.
        """
        if running and self._enabled and self._monitor is None:
            self._monitor = self._make(run)
            self._monitor.start()
        elif not running:
            self.stop()

    def stop(self) -> None:
        """Ends the monitor."""
        if self._monitor is not None:
            self._monitor.finish()
            self._monitor = None


def missing_package() -> str:
    """Returns the package that is needed, wanted and not there; empty where nothing is missing."""
    wanted = bool(MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING.get())
    return "psutil" if wanted and find_spec("psutil") is None else ""


def _monitor(run: str) -> Monitor:
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor: Monitor = SystemMetricsMonitor(run, resume_logging=True)
    return monitor
