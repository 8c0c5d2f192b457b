"""The results store: one folder a cell, its result written once and atomically. It is the only truth.

::

    results/
      store.json                     format of the store
      cells/CELL/cell.json           what the cell is
      cells/CELL/work/               progress, log, checkpoints, room for a failure; disposable once there is a result
      cells/CELL/leases/             who computes it now
      cells/CELL/failure.json        why the last attempt failed
      cells/CELL/attempts.json       every attempt that failed
      cells/CELL/rungs/              validation scores at some epochs, of cells trained by `harness lead`
      cells/CELL/result/             appears whole: summary.json, cases.parquet, history.parquet, floors.parquet,
                                     overlay.npz, overlay.png, weights.safetensors
      cells/CELL/subsets/            results with fewer modalities; see :mod:`harness.results.subsets`
      studies/STUDY/PROFILE/study.json   which cells a study consists of, and what it calls them
      reports/STUDY/PROFILE/         what `harness report` wrote
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.errors import HarnessError, did_you_mean
from harness.files import atomic_folder, atomic_path, read_json, write_json
from harness.redaction import without_secrets
from harness.results.lease import Claim, Lease, holder
from harness.results.provenance import utc_now

__all__ = ["DISK_FULL", "CellFolder", "Status", "Store", "StudyFolder"]

#: Version of the layout above; a store of another version is refused, never guessed at.
FORMAT = 1

Status = Literal["done", "failed", "running", "interrupted", "new"]

#: Names of cells, studies and profiles: none leads elsewhere, on any file system.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")

#: Lines and bytes of a log that are kept with a failure.
_TAIL_LINES, _TAIL_BYTES = 30, 8192

#: What the system says when a disk, or a user's share of it, is full.
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)

#: Bytes set aside for a failure: traceback, the end of the log, and the attempts before.
_ROOM = 1 << 16

#: What is known of a failure for which there was no room at all.
_NO_ROOM = {
    "kind": "disk_full",
    "reason": "The disk is full, and not even the reason of the failure could be written.",
    "hint": "Make room (`harness clean`), then run again.",
    "traceback": "",
    "log": "",
    "time": "",
    "accumulate": 1,
}


def _inside(folder: Path, name: str) -> Path:
    """Returns a direct child of ``folder``; a name that is anything else is refused."""
    if _NAME.fullmatch(name) is None:
        raise HarnessError(
            f"{name!r} cannot be the name of a folder in {folder}.",
            hint="Names in a results folder have letters, digits, '_' and '-'. Whoever wrote this file meant another "
            "place: do not trust it.",
        )
    return folder / name


@dataclass(frozen=True)
class CellFolder:
    """The folder of one cell."""

    path: Path

    @property
    def id(self) -> str:
        """Identity of the cell."""
        return self.path.name

    @property
    def work(self) -> Path:
        """Progress, log and checkpoints."""
        return self.path / "work"

    @property
    def result(self) -> Path:
        """The finished result; exists whole or not at all."""
        return self.path / "result"

    @property
    def log(self) -> Path:
        """What the worker printed."""
        return self.work / "log.txt"

    def status(self) -> Status:
        """Returns what has become of the cell so far."""
        if (self.result / "summary.json").is_file():
            return "done"
        if self.owner() is not None:
            return "running"
        if (self.path / "failure.json").is_file():
            return "failed"
        return "interrupted" if any(self.work.glob("*.pt")) else "new"

    def spec(self) -> dict[str, Any]:
        """Returns what the cell is."""
        return dict(read_json(self.path / "cell.json"))

    def write_spec(self, values: Mapping[str, Any]) -> None:
        """Writes what the cell is; once."""
        if not (self.path / "cell.json").is_file():
            write_json(self.path / "cell.json", values)

    def summary(self) -> dict[str, Any]:
        """Returns the facts of the finished cell."""
        return dict(read_json(self.result / "summary.json"))

    def failure(self) -> dict[str, Any] | None:
        """Returns why the last attempt failed, or None."""
        path = self.path / "failure.json"
        try:
            return dict(read_json(path)) if path.stat().st_size else {**_NO_ROOM, "attempt": self.failures() + 1}
        except FileNotFoundError:  # or another attempt began while we looked
            return None

    def fail(self, reason: str, hint: str = "", traceback: str = "", kind: str = "error", accumulate: int = 1) -> None:
        """Records why an attempt failed, with the end of its log; earlier attempts stay on record.

        Args:
            reason: What happened, in a sentence.
            hint: What to do.
            traceback: Of the exception, if there was one.
            kind: What sort of failure; :mod:`harness.execution.workers.failures` lists them.
            accumulate: Parts each batch was cut into.
        """
        attempt = {"kind": kind, "reason": without_secrets(reason), "time": utc_now(), "accumulate": accumulate}
        said = {"hint": without_secrets(hint), "traceback": without_secrets(traceback)}
        failure = {**attempt, **said, "log": without_secrets(self.log_tail()), "attempt": self.failures() + 1}
        try:
            self._write_failure(failure, attempt)
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            self._room.unlink(missing_ok=True)
            try:
                self._write_failure(failure, attempt)
            except OSError:
                # Somebody took the room at once. An empty file needs none, and `failure` knows what it means.
                (self.path / "failure.json").touch()

    def _write_failure(self, failure: Mapping[str, Any], attempt: Mapping[str, Any]) -> None:
        write_json(self.path / "failure.json", failure)
        write_json(self.path / "attempts.json", [*self.attempts(), attempt])

    @property
    def _room(self) -> Path:
        return self.work / "room"

    def set_room_aside(self) -> None:
        """Takes some room on the disk, which :meth:`fail` gives back where the disk has become full.

        Raises:
            OSError: There is none.
        """
        if not self._room.is_file():
            with atomic_path(self._room) as temporary:
                temporary.write_bytes(os.urandom(_ROOM))  # nothing that a file system could store in less

    def attempts(self) -> list[dict[str, Any]]:
        """Returns every attempt that failed, oldest first: kind, reason, time, accumulate."""
        try:
            return list(read_json(self.path / "attempts.json"))
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

    def progress(self) -> dict[str, Any]:
        """Returns the last progress the worker wrote; empty before the first, and where it cannot be read just now."""
        try:
            return dict(read_json(self.work / "progress.json"))
        except (OSError, ValueError):  # a run never ends because somebody could not look
            return {}

    def write_progress(self, values: Mapping[str, Any]) -> None:
        """Tells whoever watches how far the cell is."""
        write_json(self.work / "progress.json", values)

    def rung(self, epoch: int) -> dict[str, Any] | None:
        """Returns the validation scores after an epoch, or None where training has not come to it."""
        try:
            return dict(read_json(self._rung(epoch)))
        except FileNotFoundError:
            return None

    def write_rung(self, epoch: int, values: Mapping[str, Any]) -> None:
        """Writes the validation scores after an epoch; checkpoints stay, so that training can go on."""
        write_json(self._rung(epoch), values)

    def _rung(self, epoch: int) -> Path:
        return self.path / "rungs" / f"{epoch:05d}.json"

    @contextmanager
    def writing_result(self) -> Iterator[Path]:
        """Yields a folder that becomes the result when the block ends without error; checkpoints are dropped then."""
        with atomic_folder(self.result) as temporary:
            yield temporary
        self.clear_failure()
        for disposable in (*self.work.glob("*.pt"), self._room):
            disposable.unlink(missing_ok=True)
        shutil.rmtree(self.work / "external", ignore_errors=True)  # a framework's own copies of the data

    def lease(self, wait: float = 0.0) -> Lease:
        """Returns the lease a worker holds while it computes the cell; others take it over when the worker dies."""
        return Lease(self.path / "leases", wait)

    def owner(self) -> Claim | None:
        """Returns who is computing the cell now, on whichever machine."""
        return holder(self.path / "leases")

    def clear_work(self) -> None:
        """Drops checkpoints and progress: the next attempt starts from nothing."""
        shutil.rmtree(self.work, ignore_errors=True)


@dataclass(frozen=True)
class StudyFolder:
    """One study under one profile."""

    path: Path

    @property
    def study(self) -> str:
        """Study name."""
        return self.path.parent.name

    @property
    def profile(self) -> str:
        """Profile name."""
        return self.path.name

    def manifest(self) -> dict[str, Any]:
        """Returns the study as resolved: its words and its cells with their labels."""
        return dict(read_json(self.path / "study.json"))

    def write_manifest(self, values: Mapping[str, Any]) -> None:
        """Writes the study as resolved."""
        write_json(self.path / "study.json", values)

    def lease(self) -> Lease:
        """Returns the lease of the run that shows the study in MLflow; cells are shared by any number of runs."""
        return Lease(self.path / "leases")


class Store:
    """A results folder.

    Args:
        root: Where it is; created when first written to.

    Raises:
        HarnessError: The folder belongs to another version of the store, or cannot be read.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        marker = root / "store.json"
        if not marker.is_file():
            return
        try:
            found = read_json(marker).get("format")
        except (ValueError, AttributeError, OSError) as error:
            raise HarnessError(
                f"{marker} cannot be read: {error}", hint="Restore the file or choose another --results."
            ) from error
        if found != FORMAT:
            raise HarnessError(
                f"The results in {root} have format {found}; this version of the harness reads format {FORMAT}.",
                hint="Use the version that wrote them, or choose another folder with --results.",
            )

    def create(self) -> None:
        """Makes the folder, if need be.

        Raises:
            HarnessError: It cannot be written.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            if not (self.root / "store.json").is_file():
                write_json(self.root / "store.json", {"format": FORMAT})
            else:  # an old store may be on a disk that is read-only now
                probe = self.root / ".write-probe"
                probe.touch()
                probe.unlink(missing_ok=True)  # two runs may begin at once
        except OSError as error:
            raise HarnessError(
                f"The results folder {self.root} cannot be written: {error.strerror or error}.",
                hint="Correct its permissions, or choose another folder with --results.",
            ) from error

    def cell(self, identity: str) -> CellFolder:
        """Returns the folder of a cell.

        Raises:
            HarnessError: The name, which may come from somebody else's manifest, leads out of the results folder.
        """
        cell = CellFolder(_inside(self.root / "cells", identity))
        for path in (cell.path, cell.work, cell.result):
            if path.is_symlink():
                raise HarnessError(
                    f"{path} is a link; what is written there would land elsewhere.",
                    hint="Remove it. To keep results on another disk, link or choose the whole folder: --results.",
                )
        return cell

    def find_cell(self, part: str) -> CellFolder:
        """Returns the one cell whose identity contains ``part``.

        Raises:
            HarnessError: None does, or several do.
        """
        known = [path.name for path in sorted((self.root / "cells").glob("*")) if path.is_dir()]
        found = [name for name in known if name == part] or [name for name in known if part in name]
        if len(found) == 1:
            return self.cell(found[0])
        if not found:
            raise HarnessError(f"No cell '{part}' in {self.root}.", hint=did_you_mean(part, known))
        shown = ", ".join(found[:6]) + (", ..." if len(found) > 6 else "")
        raise HarnessError(f"{len(found)} cells are called like '{part}'.", hint=f"Say more: {shown}")

    def study(self, name: str, profile: str) -> StudyFolder:
        """Returns the folder of a study under a profile.

        Raises:
            HarnessError: A name leads out of the results folder.
        """
        return StudyFolder(_inside(_inside(self.root / "studies", name), profile))

    def studies(self) -> list[StudyFolder]:
        """Returns all studies, the one run last first."""
        found = (self.root / "studies").glob("*/*/study.json")
        newest_first = sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)
        return [StudyFolder(path.parent) for path in newest_first]

    def find_study(self, name: str | None = None, profile: str | None = None) -> StudyFolder:
        """Returns the study run last among those that match.

        Raises:
            HarnessError: None matches.
        """
        studies = self.studies()
        if not studies:
            raise HarnessError(
                f"There are no studies in {self.root}.",
                hint="Run one: harness run studies/ablation_tcfaf.yaml --profile demo",
            )
        named = [study for study in studies if name is None or study.study == name]
        if not named:
            raise HarnessError(
                f"No study '{name}' in {self.root}.", hint=did_you_mean(str(name), {study.study for study in studies})
            )
        matching = [study for study in named if profile is None or study.profile == profile]
        if not matching:
            known = {study.profile for study in named}
            raise HarnessError(
                f"Study '{name}' was not run with profile '{profile}'.", hint=did_you_mean(str(profile), known)
            )
        return matching[0]
