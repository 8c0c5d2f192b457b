"""NVIDIA GPUs of this machine that torch cannot use, and why; without this a study would run on the CPU for weeks."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError

#: CUDA's major version to the oldest branch of the driver that runs programs built for it (NVIDIA, "CUDA Toolkit
#: Release Notes", table "CUDA Toolkit and Minimum Required Driver Version for CUDA Minor Version Compatibility").
_OLDEST_DRIVER = {11: 450, 12: 525, 13: 580}

#: Where wheels of torch for a major version of CUDA are.
_WHEELS = "https://download.pytorch.org/whl"
_WHEEL_OF = {11: "cu118", 12: "cu126", 13: "cu130"}

#: Values of CUDA_VISIBLE_DEVICES by which a user, or a batch system, hides all GPUs.
_HIDDEN = {"", "-1", "NoDevFiles"}

#: Seconds nvidia-smi may take; with a sick GPU it never answers.
_PATIENCE = 30.0

_ON_THE_CPU = "To use the CPU all the same: --cpu (`harness bench`: --device cpu)."


class UnusableGpuError(HarnessError):
    """There is a GPU, and torch cannot use it."""


@dataclass(frozen=True)
class Driver:
    """The NVIDIA driver of this machine, and the GPUs that it shows this process.

    Attributes:
        version: Its version, e.g. ``470.82.01``; empty where it is unknown.
        gpus: Models of the GPUs.
        trouble: What nvidia-smi complains of; empty where it works or is absent.
    """

    version: str
    gpus: tuple[str, ...]
    trouble: str = ""


@dataclass(frozen=True)
class TorchBuild:
    """What torch was built for, and what it says of the GPUs here.

    Attributes:
        version: Version of torch.
        cuda: Version of CUDA, e.g. ``13.0``; None for a build without CUDA.
        complaint: Why it could not start CUDA, in torch's words.
    """

    version: str
    cuda: str | None
    complaint: str = ""


def find_unusable_gpu() -> UnusableGpuError | None:
    """Returns why torch cannot use the GPUs of this machine; None where it can, or where there are none to be used.

    GPUs that ``CUDA_VISIBLE_DEVICES`` hides on purpose (empty, or -1) are not to be used.
    """
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if (
        torch.cuda.is_available()
        or torch.version.hip is not None
        or (visible is not None and visible.strip() in _HIDDEN)
    ):
        return None
    driver = find_driver()
    if driver is None or not driver.gpus:
        return None
    return explain_unusable(driver, TorchBuild(torch.__version__, torch.version.cuda, _complaint()), visible)


def require_usable_gpus() -> None:
    """Does nothing where torch can use the GPUs of this machine, or where there are none.

    Raises:
        UnusableGpuError: There is a GPU, and torch cannot use it.
    """
    error = find_unusable_gpu()
    if error is not None:
        raise error


def explain_unusable(driver: Driver, torch: TorchBuild, visible: str | None) -> UnusableGpuError:
    """Returns why torch finds no GPU although there is one, and what to do.

    Args:
        driver: The driver and its GPUs.
        torch: The torch that is installed.
        visible: Value of ``CUDA_VISIBLE_DEVICES``; None where it is not set.
    """
    here = f"{driver.gpus[0]} (driver {driver.version or 'of unknown version'})"
    major, branch = _major(torch.cuda), _major(driver.version)
    oldest = _OLDEST_DRIVER.get(major or 0)
    if major is None:
        return UnusableGpuError(
            f"This machine has a GPU, {here}, but torch {torch.version} was built without CUDA.",
            hint=f"Install {_wheel_for(branch)}. {_ON_THE_CPU}",
        )
    if "too old" in torch.complaint or (branch is not None and oldest is not None and branch < oldest):
        needed = f"a driver of version {oldest} or newer" if oldest else "a newer driver"
        return UnusableGpuError(
            f"The NVIDIA driver is too old. torch {torch.version} is built for CUDA {torch.cuda}, which needs "
            f"{needed}; this machine has {here}.",
            hint=f"Update the driver, or install {_wheel_for(branch)}. {_ON_THE_CPU}",
        )
    if visible is not None and _names_none_of(visible, len(driver.gpus)):
        return UnusableGpuError(
            f"CUDA_VISIBLE_DEVICES={visible} names no GPU of this machine, which has {len(driver.gpus)}: {here}.",
            hint=f"Correct it, or type `unset CUDA_VISIBLE_DEVICES`. {_ON_THE_CPU}",
        )
    said = [
        f"{name} says: {text}" for name, text in (("torch", torch.complaint), ("nvidia-smi", driver.trouble)) if text
    ]
    return UnusableGpuError(
        f"This machine has a GPU, {here}, but torch {torch.version} (CUDA {torch.cuda}) finds none. {' '.join(said)}",
        hint="Restart the machine if the driver was updated; in a container, give it the GPUs (docker run --gpus all). "
        + _ON_THE_CPU,
    )


def find_driver(
    smi: str | None = None, proc: Path = Path("/proc/driver/nvidia"), devices: Path = Path("/dev")
) -> Driver | None:
    """Returns the NVIDIA driver of this machine; None where there is none.

    Args:
        smi: The program nvidia-smi; default: the one on the path.
        proc: Where the kernel's module describes itself.
        devices: Where the files of devices are.
    """
    smi = smi or shutil.which("nvidia-smi")
    trouble = ""
    if smi is not None:
        rows, trouble = _ask(smi)
        if not trouble:
            return Driver(rows[0][1] if rows else "", tuple(model for model, _ in rows))
    text = (proc / "version").read_text(encoding="utf-8") if (proc / "version").is_file() else ""
    found = re.search(r"Kernel Module\D+(\d+(?:\.\d+)+)", text)
    files = sorted(path for path in devices.glob("nvidia[0-9]*") if path.name.removeprefix("nvidia").isdigit())
    if found is None and not files:
        return None
    models = sorted(proc.glob("gpus/*/information"))
    names = [match[1] for path in models if (match := re.search(r"Model:\s*(.+)", path.read_text(encoding="utf-8")))]
    # A container without GPUs sees the module of the machine outside, but no device.
    gpus = tuple(names[index] if index < len(names) else "an NVIDIA GPU" for index in range(len(files)))
    return Driver(found[1] if found else "", gpus, trouble)


def _ask(smi: str) -> tuple[list[tuple[str, str]], str]:
    """Returns the model and the driver of each GPU that nvidia-smi lists, and what it complains of."""
    command = [smi, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        return [], f"{type(error).__name__}: {error}"
    first = (done.stdout.strip() or done.stderr.strip()).partition("\n")[0]
    if done.returncode != 0 and "No devices" not in first:
        return [], first or f"exit status {done.returncode}"
    rows = [line.rpartition(",") for line in done.stdout.splitlines() if "," in line]
    return [(name.strip(), version.strip()) for name, _, version in rows], ""


def _complaint() -> str:
    """Returns the first line of what torch says when it is to start CUDA."""
    import torch

    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except (RuntimeError, AssertionError) as error:  # an assertion where torch was built without CUDA
        return str(error).partition("\n")[0]
    return ""


def _major(version: str | None) -> int | None:
    found = re.match(r"\d+", version or "")
    return int(found[0]) if found else None


def _wheel_for(branch: int | None) -> str:
    """Returns the words for a torch that a driver can run."""
    newest = max(
        (cuda for cuda, oldest in _OLDEST_DRIVER.items() if branch is not None and branch >= oldest), default=None
    )
    if newest is None:
        return "a torch that this driver can run (https://pytorch.org/get-started/previous-versions)"
    index = f"{_WHEELS}/{_WHEEL_OF[newest]}"
    return f"torch for CUDA {newest}: pip install --force-reinstall torch torchvision --index-url {index}"


def _names_none_of(visible: str, count: int) -> bool:
    """Whether CUDA_VISIBLE_DEVICES names a number as the first GPU that does not exist; CUDA stops reading there."""
    first = visible.split(",")[0].strip()
    return first.isdecimal() and int(first) >= count
