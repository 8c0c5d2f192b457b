"""One of the runs that share a study shows it in MLflow; where that one ends, another goes on."""

import time
from collections.abc import Callable

from harness.errors import HarnessError
from harness.results.lease import Lease
from harness.tracking.mlflow_view import MlflowView


class SharedView:
    """A view that is kept in step while this run holds the study's lease.

    Args:
        lease: The study's.
        open_view: Makes the view.
        try_every: Seconds between attempts at the lease of another run.

    Raises:
        HarnessError: The lease was free but MLflow cannot be reached.
    """

    def __init__(self, lease: Lease, open_view: Callable[[], MlflowView], try_every: float = 5.0) -> None:
        self._lease = lease
        self._try_every = try_every
        self._open = open_view
        self._tried = 0.0
        self._refused = ""
        self.view: MlflowView | None = None
        self._try()

    @property
    def trouble(self) -> str:
        """Why MLflow is out of step; empty where it is not."""
        return self._refused if self.view is None else self.view.trouble

    def update(self) -> None:
        """Mirrors what is new, if it is up to this run; a view that cannot be opened never stops the cells."""
        if self.view is None and time.monotonic() - self._tried > self._try_every:
            try:
                self._try()
                self._refused = ""
            except HarnessError as error:  # of the run that showed the study so far, it was seen to
                self._refused = error.message
        if self.view is not None:
            self.view.update()

    def finish(self) -> None:
        """Mirrors what the last look missed and lets others go on."""
        if self.view is None:
            return
        try:
            self.view.finish()
        finally:
            self._lease.release()

    def _try(self) -> None:
        self._tried = time.monotonic()
        if not self._lease.try_acquire():
            return
        try:
            self.view = self._open()
        except BaseException:
            self._lease.release()
            raise
