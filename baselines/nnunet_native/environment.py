"""The environment of nnU-Net: variables and process pools."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.pool import ThreadPool
from typing import TYPE_CHECKING, Any

import torch

from harness.cores import cores
from harness.errors import HarnessError

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

PATHS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
POOL = "nnUNet_def_n_proc"
"""Processes of fingerprint and preprocessing."""
AUGMENTATION = "nnUNet_n_proc_DA"
"""Processes of augmentation; with 0 it runs in the training's own."""

_inside = False


def _hold_signals() -> None:
    if _inside:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _release_signals() -> None:
    if _inside:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _obey_signals() -> None:
    """Lets a process that nnU-Net forks end on SIGTERM.

    It inherits the handlers of this process. Where those only take note of SIGTERM, as a harness worker's do, whoever
    ends the process would wait for it for ever.
    """
    if _inside:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
        _release_signals()


os.register_at_fork(before=_hold_signals, after_in_parent=_release_signals, after_in_child=_obey_signals)


@contextmanager
def variables(**values: str) -> Iterator[None]:
    """Sets environment variables for a while."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def nnunet_environment(folder: Path, device: torch.device) -> Iterator[None]:
    """Points nnU-Net at a folder and, on a CPU, keeps it within this process.

    Processes forked meanwhile end when they are told to, whatever this one does about signals. On a GPU nnU-Net's own
    numbers of processes apply. A user's ``nnUNet_def_n_proc`` and ``nnUNet_n_proc_DA`` come first.

    Args:
        folder: Gets nnU-Net's three folders.
        device: Device to train on.

    Raises:
        HarnessError: nnU-Net was imported before and has other folders in mind.
    """
    values = {"nnUNet_compile": "f", "nnUNet_wandb_enabled": "0"}
    for name in PATHS:
        place = folder / name.removeprefix("nnUNet_")
        place.mkdir(parents=True, exist_ok=True)
        values[name] = str(place)
    if device.type == "cpu":
        values[POOL] = os.environ.get(POOL, "1")
        values[AUGMENTATION] = os.environ.get(AUGMENTATION, "0")
    with variables(**values):
        from nnunetv2 import paths

        for name in PATHS:
            known = getattr(paths, name)
            if known is None or os.fspath(known) != values[name]:
                raise HarnessError(
                    f"nnU-Net was imported before its folders were known: {name} is {known}.",
                    hint="Run each cell in a process of its own, or install nnunetv2 2.8 or later.",
                )
        _set_inside(True)
        try:
            yield
        finally:
            _set_inside(False)


def _set_inside(value: bool) -> None:
    global _inside
    _inside = value


def processes() -> int:
    """Returns the number of processes for fingerprint and preprocessing: 8 as in nnU-Net, unless the variable is set.

    Raises:
        HarnessError: The variable ``nnUNet_def_n_proc`` is not a number.
    """
    value = os.environ.get(POOL, "8")
    if not value.isdecimal():
        raise HarnessError(f"{POOL} is '{value}', which is not a number.", hint=f"Set e.g. {POOL}=8, or unset it.")
    return max(1, min(int(value), cores()))


class _Threads:
    """Stands in for a module's ``multiprocessing``: its pools are threads of this process."""

    Pool = ThreadPool

    @classmethod
    def get_context(cls, method: str | None = None) -> type[_Threads]:
        del method
        return cls


@contextmanager
def pools(count: int, *modules: ModuleType) -> Iterator[None]:
    """Runs nnU-Net's pools within this process where one process is configured.

    nnU-Net starts a fresh interpreter even for a pool of one, which costs many seconds and imports ``__main__`` again.

    Args:
        count: Number of processes; with more than one nothing is changed.
        *modules: nnU-Net's modules that open pools.
    """
    if count == 1:
        for module in modules:
            _set_multiprocessing(module, _Threads)
    try:
        yield
    finally:
        for module in modules:
            _set_multiprocessing(module, multiprocessing)


def _set_multiprocessing(module: ModuleType, value: Any) -> None:
    module.multiprocessing = value  # type: ignore[attr-defined]


@contextmanager
def arithmetic(device: torch.device) -> Iterator[None]:
    """Selects the device, and on a GPU lifts the demand for deterministic algorithms, which nnU-Net's loss lacks."""
    if device.type != "cuda":
        yield
        return
    if device.index is not None:
        torch.cuda.set_device(device)
    demanded = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(demanded)
