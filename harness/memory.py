"""How much memory this process may take."""

import os
import resource
from pathlib import Path

_CONTAINER = Path("/sys/fs/cgroup/memory.max")


def installed_memory() -> int:
    """Returns the bytes of the machine's memory, or of the container's limit."""
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    text = _CONTAINER.read_text(encoding="ascii").strip() if _CONTAINER.is_file() else "max"
    return min(installed, int(text)) if text.isdigit() else installed


def most_memory() -> int:
    """Returns how many bytes this process can take at most, its own limit (``ulimit -v``) included."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    statistics = Path("/proc/self/statm")
    if limit == resource.RLIM_INFINITY or not statistics.is_file():
        return installed_memory()
    taken = int(statistics.read_text(encoding="ascii").split()[0]) * os.sysconf("SC_PAGE_SIZE")
    return min(installed_memory(), max(0, limit - taken))
