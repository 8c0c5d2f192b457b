"""One of the runs that share a study shows it in MLflow; where that one ends, another goes on."""

import time
from collections.abc import Callable

from harness.errors import HarnessError
from harness.results.lease import Lease
from harness.tracking.mlflow_view import MlflowView


class SharedView:
    """A view that is kept in step while this run holds the study's lease; it never stops the cells.

    Where MLflow cannot be used at the start, the run goes on without it.

    Args:
        lease: The study's.
        open_view: Makes the view.
        say: Called once with what is wrong, when it goes wrong.
        try_every: Seconds between attempts at the lease of another run.
    """

    def __init__(
        self,
        lease: Lease,
        open_view: Callable[[], MlflowView],
        say: Callable[[str], object] = lambda _: None,
        try_every: float = 5.0,
    ) -> None:
        self._lease = lease
        self._try_every = try_every
        self._open = open_view
        self._say = say
        self._tried = 0.0
        self._refused = ""
        self._said = ""
        self.view: MlflowView | None = None
        self._try()

    @property
    def trouble(self) -> str:
        """Why MLflow is out of step; empty where it is not."""
        return self._refused if self.view is None else self.view.trouble

    @property
    def is_shown_elsewhere(self) -> bool:
        """Whether another run of the study shows it."""
        return self.view is None and not self._refused

    def update(self) -> None:
        """Mirrors what is new, if it is up to this run."""
        if self.is_shown_elsewhere and time.monotonic() - self._tried > self._try_every:
            self._try()
        if self.view is not None:
            self.view.update()
            self._tell()

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
        except HarnessError as error:
            self._refused = error.message
            self._lease.release()
            self._tell()
        except BaseException:
            self._lease.release()
            raise

    def _tell(self) -> None:
        if self.trouble and not self._said:
            self._said = self.trouble
            self._say(self.trouble)
