"""Leases: who works on a folder that several machines share, and whether they still do.

File locks are unreliable on network file systems, so a lease is a file: its claimant makes it, touches it every few
seconds and removes it in the end. Whoever wants a folder writes a claim of its own first and looks for others
afterwards; where there is a live one it withdraws. Of two that come at once at least one sees the other, so two never
hold a folder. A claim is dead when its process is gone from this machine, or when it was not touched for
``STALE_AFTER`` seconds by the clock of the file system.
"""

from __future__ import annotations

import os
import platform
import random
import secrets
import threading
import time
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from types import TracebackType

from harness.errors import HarnessError
from harness.files import read_json, write_json

#: Seconds without a heartbeat after which a claim of another machine is dead. NFS clients may see a file's time a
#: minute late.
STALE_AFTER = 120.0


class LeaseHeldError(HarnessError):
    """Somebody else works on the folder."""


@dataclass(frozen=True)
class Claim:
    """Who claims a folder.

    Attributes:
        host: Name of the machine.
        place: Identity of the machine since its last start, and of the container.
        pid: Process there.
        born: When the process began, in the machine's own ticks: process numbers are used again.
    """

    host: str
    place: str
    pid: int
    born: int

    @classmethod
    def own(cls) -> Claim:
        """The claim of this process."""
        return cls(platform.node(), _machine_id(), os.getpid(), _process_start_time(os.getpid()) or 0)

    def is_alive_here(self) -> bool | None:
        """Returns whether the process lives; None where it is not this machine's, or is hidden from us."""
        if not self.place or self.place != _machine_id() or _is_hidden(self.pid):
            return None
        return _process_start_time(self.pid) == self.born


class Lease:
    """The right to work on a folder; a context manager.

    Args:
        folder: Where claims lie.
        wait: Seconds to try for.
        beat: Seconds between heartbeats.
    """

    def __init__(self, folder: Path, wait: float = 0.0, beat: float = 10.0) -> None:
        self._folder = folder
        self._wait = wait
        self._every = beat
        self._path = folder / f"{secrets.token_hex(8)}.json"
        self._ended = threading.Event()
        self._last_beat = 0.0
        self._removed = False

    def try_acquire(self) -> bool:
        """Takes the lease unless somebody else has it; dead claims are removed."""
        write_json(self._path, asdict(Claim.own()))
        now = self._path.stat().st_mtime  # the file system's clock, not this machine's
        others = [path for path in _claims(self._folder) if path != self._path]
        if any(_is_live(path, now) for path in others):
            self._path.unlink(missing_ok=True)
            return False
        for path in others:
            path.unlink(missing_ok=True)
        self._last_beat, self._removed = time.monotonic(), False
        self._ended = threading.Event()  # a lease that was given back may be taken again
        threading.Thread(target=self._beat, name="lease", daemon=True).start()
        return True

    def release(self) -> None:
        """Gives the lease back."""
        self._ended.set()
        self._path.unlink(missing_ok=True)

    @property
    def lost(self) -> bool:
        """Whether others may have taken it over: this process, or its file system, stood still for too long."""
        return self._removed or time.monotonic() - self._last_beat > STALE_AFTER

    def __enter__(self) -> Lease:
        deadline = time.monotonic() + self._wait
        while not self.try_acquire():
            if time.monotonic() > deadline:
                owner = holder(self._folder)
                where = f"process {owner.pid} on {owner.host}" if owner else "another process"
                raise LeaseHeldError(f"{where} works on {self._folder.parent}.", hint="Wait for it to end.")
            time.sleep(random.uniform(0.05, 0.3))  # noqa: S311 - two that came at once shall not meet again
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _beat(self) -> None:
        while not self._ended.wait(self._every):
            try:
                os.utime(self._path)
            except FileNotFoundError:
                self._removed = not self._ended.is_set()
                return
            except OSError:  # the file system is away for now; `lost` says when that has lasted too long
                continue
            self._last_beat = time.monotonic()


def holder(folder: Path) -> Claim | None:
    """Returns who holds a lease, or None; writes nothing."""
    for path in _claims(folder):
        if _is_live(path, time.time()):
            return _read(path)
    return None


def _claims(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.suffix == ".json" and not path.name.startswith(".")]
    except FileNotFoundError:
        return []


def _read(path: Path) -> Claim:
    try:
        return Claim(**read_json(path))
    except (OSError, ValueError, TypeError):
        return Claim("an unknown machine", "", 0, 0)


def _is_live(path: Path, now: float) -> bool:
    alive = _read(path).is_alive_here()
    if alive is not None:
        return alive
    try:
        return now - path.stat().st_mtime < STALE_AFTER
    except FileNotFoundError:
        return False


@cache
def _machine_id() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id")
    if not boot.is_file():
        return ""  # no such thing here: heartbeats alone decide
    return f"{platform.node()}:{boot.read_text(encoding='ascii').strip()}:{Path('/proc/self/ns/pid').readlink()}"


def _is_hidden(pid: int) -> bool:
    """Whether a process lives that we may not look at: clusters hide those of other users (``hidepid``)."""
    if Path(f"/proc/{pid}").is_dir():
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def _process_start_time(pid: int) -> int | None:
    """Returns when a process of this machine began, None where it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])
