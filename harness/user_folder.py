"""A folder of the user alone, for what all of their studies share: compiled code, counted sizes, measured times."""

import os
from collections.abc import Mapping
from pathlib import Path


def user_folder(name: str, environment: Mapping[str, str] = os.environ) -> Path:
    """Returns a folder that only this user can read and write; it is made where it is not there.

    Args:
        name: What it holds.
        environment: Environment of the process; XDG_CACHE_HOME or HOME say where it lies.

    Raises:
        OSError: It cannot be made, or belongs to somebody else.
    """
    base = environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME") or Path.home(), ".cache")
    folder = Path(base, "aahn-harness", name)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to another user")
    folder.chmod(0o700)
    return folder
