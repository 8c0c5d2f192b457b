"""What an engine is: it runs attempts at cells somewhere, each in a process of its own.

An engine only starts, watches and stops. What to start next, what a failure means and who shares the work is decided
once for all of them in :mod:`harness.execution.schedule`.
"""

from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Protocol, runtime_checkable

from harness.execution.workers.attempt import Attempt, Ending


class Job(Protocol):
    """An attempt under way."""

    @property
    def attempt(self) -> Attempt:
        """What is tried."""

    def poll(self) -> Ending | None:
        """Returns how it ended; None while it has not."""

    def stop(self) -> None:
        """Asks it to write a checkpoint and end; returns at once."""

    def kill(self) -> None:
        """Ends it now."""


@runtime_checkable
class SaysItsEnd(Protocol):
    """A job whose end need not be looked for; of other jobs the schedule asks :meth:`Job.poll` again and again."""

    @property
    def end(self) -> Connection | None:
        """Can be read once the job, or another one of the same engine, has ended; None where nothing tells."""


class Engine(Protocol):
    """Runs attempts somewhere."""

    @property
    def parallel(self) -> int:
        """How many run at a time, for the time to go."""

    def describe(self) -> str:
        """Returns where cells run, in words."""

    def free_slots(self) -> int:
        """Returns how many attempts it might take now."""

    def submit(self, attempts: Sequence[Attempt]) -> Sequence[Job]:
        """Takes those of the attempts it has a slot for now, not necessarily the first ones."""

    def close(self) -> None:
        """Lets go of what it holds; no job is under way."""
