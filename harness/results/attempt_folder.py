"""What attempts leave in a folder, whatever they try: who works there, how far they are, and why they failed."""

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.files import atomic_path, read_json, write_json
from harness.redaction import without_secrets
from harness.results.json_record import DamagedRecordError, find_damage
from harness.results.lease import Claim, Lease, holder
from harness.results.provenance import utc_now
from harness.results.records import FailedAttempt, Failure, Progress

#: What has become of the attempts at a cell.
CellStatus = Literal["done", "failed", "running", "interrupted", "new", "damaged"]

#: Lines and bytes of a log that are kept with a failure.
_TAIL_LINES, _TAIL_BYTES = 30, 8192

#: What the system says when a disk, or a user's share of it, is full.
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)

#: Bytes reserved for a failure: traceback, the end of the log, and the attempts before.
_RESERVED_BYTES = 1 << 16

#: What is known of a failure for which the disk had no space at all.
_UNWRITTEN = Failure(
    kind="disk_full",
    reason="The disk is full, and not even the reason of the failure could be written.",
    hint="Make room (`harness clean`), then run again.",
)


@dataclass(frozen=True)
class AttemptFolder:
    """A folder in which one process works at a time, and others go on after it.

    Attributes:
        path: The folder.
    """

    path: Path

    @property
    def work(self) -> Path:
        """Progress, log and checkpoints."""
        return self.path / "work"

    @property
    def log(self) -> Path:
        """What the worker printed."""
        return self.work / "log.txt"

    def status(self) -> CellStatus:
        """Returns what has become of the attempts so far."""
        if self.owner() is not None:
            return "running"
        if self.damages():
            return "damaged"
        if (self.path / "failure.json").is_file():
            return "failed"
        return "interrupted" if any(self.work.glob("*.pt")) else "new"

    def damages(self) -> tuple[DamagedRecordError, ...]:
        """Returns what is wrong with the files here; an attempt writes them anew."""
        failure = self.path / "failure.json"
        found = [None if _is_empty(failure) else find_damage(Failure, failure)]
        found.append(find_damage(Progress, self.work / "progress.json"))
        return tuple(damage for damage in found if damage is not None)

    def lease(self, wait: float = 0.0) -> Lease:
        """Returns the lease a worker holds while it works; others take it over when the worker dies."""
        return Lease(self.path / "leases", wait)

    def owner(self) -> Claim | None:
        """Returns who works here now, on whichever machine."""
        return holder(self.path / "leases")

    def failure(self) -> Failure | None:
        """Returns why the last attempt failed, or None; where the file is damaged, that."""
        path = self.path / "failure.json"
        try:
            if _is_empty(path):
                return _UNWRITTEN.model_copy(update={"attempt": self.failures() + 1})
            return Failure.read(path)
        except FileNotFoundError:  # or another attempt began while we looked
            return None
        except DamagedRecordError as error:
            return Failure(kind="damaged", reason=error.message, hint=error.hint, attempt=self.failures() + 1)

    def fail(self, reason: str, hint: str = "", traceback: str = "", kind: str = "error", accumulate: int = 1) -> None:
        """Records why an attempt failed, with the end of its log; earlier attempts stay on record.

        Args:
            reason: What happened, in a sentence.
            hint: What to do.
            traceback: Of the exception, if there was one.
            kind: What sort of failure; :mod:`harness.execution.workers.failures` lists them.
            accumulate: Parts each batch was cut into.
        """
        attempts = self.attempts()
        failure = Failure(
            kind=kind,
            reason=without_secrets(reason),
            time=utc_now(),
            accumulate=accumulate,
            hint=without_secrets(hint),
            traceback=without_secrets(traceback),
            log=without_secrets(self.log_tail()),
            attempt=len(attempts) + 1,
        )
        try:
            self._write_failure(failure, attempts)
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            self.release_disk_space()
            try:
                self._write_failure(failure, attempts)
            except OSError:
                # Somebody took the space at once. An empty file needs none, and `failure` knows what it means.
                (self.path / "failure.json").touch()

    def _write_failure(self, failure: Failure, earlier: list[FailedAttempt]) -> None:
        failure.write(self.path / "failure.json")
        last = failure.model_dump(include=set(FailedAttempt.model_fields))
        write_json(self.path / "attempts.json", [*(attempt.to_json() for attempt in earlier), last])

    def reserve_disk_space(self) -> None:
        """Takes some space on the disk, which :meth:`fail` gives back where the disk has become full.

        Raises:
            OSError: There is none.
        """
        if not self._reserved.is_file():
            with atomic_path(self._reserved) as temporary:
                temporary.write_bytes(os.urandom(_RESERVED_BYTES))  # nothing that a file system could compress

    def release_disk_space(self) -> None:
        """Gives the reserved space back."""
        self._reserved.unlink(missing_ok=True)

    @property
    def _reserved(self) -> Path:
        return self.work / "room"

    def attempts(self) -> list[FailedAttempt]:
        """Returns every attempt that failed, oldest first; none where the file is damaged: no run needs the past."""
        try:
            return [FailedAttempt.model_validate(attempt) for attempt in read_json(self.path / "attempts.json")]
        except (FileNotFoundError, ValueError):
            return []

    def failures(self) -> int:
        """Returns how many attempts failed so far."""
        return len(self.attempts())

    def clear_failure(self) -> None:
        """Takes an earlier failure for history; a new attempt begins."""
        (self.path / "failure.json").unlink(missing_ok=True)

    def log_tail(self, lines: int = _TAIL_LINES) -> str:
        """Returns the last lines of the log; empty where there is none."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, file.seek(0, 2) - _TAIL_BYTES))
                text = file.read().decode("utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def progress(self) -> Progress:
        """Returns the last progress the worker wrote; that of no step before the first, and where it cannot be read."""
        try:
            return Progress.read(self.work / "progress.json")
        except (OSError, DamagedRecordError):  # a run never ends because somebody could not look
            return Progress()

    def write_progress(self, progress: Progress) -> None:
        """Tells whoever watches how far the work is."""
        progress.write(self.work / "progress.json")


def _is_empty(path: Path) -> bool:
    """Whether a file is there and empty: what is left of a failure where the disk was full."""
    try:
        return path.is_file() and path.stat().st_size == 0
    except OSError:
        return False
