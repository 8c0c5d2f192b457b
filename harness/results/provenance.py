"""What a number was computed by: code, packages, machine."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import harness

__all__ = ["code_version", "package_versions", "utc_now"]

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


@cache
def code_version() -> str:
    """Returns the git commit of the harness, ``+dirty`` where the tree had changes, or else the installed version."""
    root = Path(harness.__file__).parent.parent
    try:
        commit = _git(root, "rev-parse", "--short=12", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return f"release {harness.__version__}"
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


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)  # noqa: S603
    return done.stdout.strip()
