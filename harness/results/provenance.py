"""What a number was computed by: code, packages, machine."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import harness

_PACKAGES = (
    "aahn-harness",
    "torch",
    "numpy",
    "monai",
    "segmentation-models-pytorch",
    "nnunetv2",
    "dynamic-network-architectures",
    "batchgeneratorsv2",
    "surface-distance",
    "medpy",
    "scipy",
    "pandas",
    "mlflow",
    "optuna",
)

#: What git sets for its hooks.
_OF_HOOKS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")

#: Seconds git may take.
_PATIENCE = 10.0


@cache
def code_version() -> str:
    """Returns the git commit of the harness, or the installed version where it lies in no repository of its own.

    ``+dirty`` is appended where the tree had changes, ``+unchecked`` where git could not tell in time.
    """
    code = Path(harness.__file__)
    try:
        _git(code.parent, "ls-files", "--error-unmatch", code.name)  # an environment may lie in anybody's repository
        commit = _git(code.parent, "rev-parse", "--short=12", "HEAD")
    except (OSError, subprocess.SubprocessError):
        return f"release {harness.__version__}"
    try:
        changed = _git(code.parent, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):  # a slow file system must not cost a cell its result
        return f"{commit}+unchecked"
    return f"{commit}+dirty" if changed else commit


@cache
def package_versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that shape numbers."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "absent"
    return versions


def utc_now() -> str:
    """Returns the time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    # Within a hook these name another repository; and whoever commits meanwhile must not find the index locked.
    environment = {key: value for key, value in os.environ.items() if key not in _OF_HOOKS}
    environment["GIT_OPTIONAL_LOCKS"] = "0"
    done = subprocess.run(  # noqa: S603
        command, capture_output=True, text=True, check=True, timeout=_PATIENCE, env=environment
    )
    return done.stdout.strip()
