"""Exit statuses of workers, and what is known of a process that a signal ended: its name, and a lack of memory."""

import signal
from collections.abc import Iterator
from pathlib import Path

DONE, FAILED, BUSY, UNWRITTEN, STOPPED = 0, 3, 4, 5, 130


def signal_name(status: int) -> str:
    """Returns e.g. ``SIGKILL`` for the exit status -9; real-time signals have numbers only."""
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"


def out_of_memory_kills(own: Path = Path("/proc/self/cgroup"), groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Returns how many processes of this one's control group the kernel has killed for memory.

    That is the group of a container, of a step of a Slurm job, or of a session. 0 where the kernel does not count.

    Args:
        own: Says which groups this process belongs to.
        groups: Folder in which the kernel shows the groups.
    """
    for events in _events(own, groups):
        if events.is_file():
            counts = dict(line.split(maxsplit=1) for line in events.read_text(encoding="ascii").splitlines())
            return int(counts.get("oom_kill", 0))
    return 0


def _events(own: Path, groups: Path) -> Iterator[Path]:
    """Yields where the count may stand; a container may see its own group as the root of all."""
    lines = own.read_text(encoding="utf-8").splitlines() if own.is_file() else []
    for _, controllers, path in (line.split(":", 2) for line in lines):
        if not controllers:  # version 2
            yield groups / path.lstrip("/") / "memory.events"
        elif "memory" in controllers.split(","):
            yield groups / "memory" / path.lstrip("/") / "memory.oom_control"
            yield groups / "memory" / "memory.oom_control"
    yield groups / "memory.events"
