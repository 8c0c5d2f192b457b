"""What ``harness bench`` and ``harness doctor`` have measured on GPUs, kept for plans."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from harness.execution.costs.gpus import gpu_of_device
from harness.files import read_json, write_json
from harness.segmenters import Options, Segmenter, Task
from harness.training.settings import TrainingSettings
from harness.user_folder import user_folder


@dataclass(frozen=True)
class Benched:
    """What was measured: a network, its input, and how its steps were done.

    Attributes:
        model: Registered name.
        revision: Of the network.
        options: Values of its options.
        modalities: Input channels.
        classes: Output channels.
        patch_size: Spatial size of the input.
        batch_size: Patches per step.
        step: ``eager`` or ``recorded``.
        compile: As in a protocol.
    """

    model: str
    revision: int
    options: Mapping[str, Any]
    modalities: int
    classes: int
    patch_size: tuple[int, ...]
    batch_size: int
    step: str
    compile: str

    @classmethod
    def of(cls, segmenter: Segmenter, task: Task, options: Options, batch_size: int, step: str, compiled: str) -> Self:
        """Describes a step.

        Args:
            segmenter: The network.
            task: Segmentation task; which modality leads changes no time.
            options: Options of the network.
            batch_size: Patches per step.
            step: ``eager`` or ``recorded``.
            compiled: As in a protocol.
        """
        network = segmenter.name, segmenter.revision, options.model_dump(mode="json")
        return cls(*network, task.in_channels, task.out_channels, task.patch_size, batch_size, step, compiled)

    @property
    def key(self) -> str:
        """Short name."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class BenchFigures:
    """Seconds of training steps on one GPU, and of a kernel's launch on its host.

    Attributes:
        device: The GPU, as its driver names it.
        path: File that they are kept in.
        seconds: By :attr:`Benched.key`.
        launch: Seconds the host needs to launch a kernel; None where it was not measured.
    """

    device: str
    path: Path
    seconds: Mapping[str, float]
    launch: float | None = None

    def step_seconds(
        self, segmenter: Segmenter, task: Task, options: Options, batch_size: int, settings: TrainingSettings
    ) -> float | None:
        """Returns what a training step takes, None where it was not measured as the protocol does it.

        Args:
            segmenter: The network.
            task: Segmentation task.
            options: Options of the network.
            batch_size: Patches per step.
            settings: Training settings of the protocol.
        """
        defaults = TrainingSettings()
        if (settings.precision, settings.channels_last) != (defaults.precision, defaults.channels_last):
            return None
        recorded = settings.step != "eager" and settings.compile != "cuda-graphs"
        step = "recorded" if recorded else "eager"
        return self.seconds.get(Benched.of(segmenter, task, options, batch_size, step, settings.compile).key)


def keep(device: str, what: Benched, seconds: float) -> None:
    """Keeps a measurement; on a disk or in a home that cannot be written, none is kept.

    Args:
        device: The GPU, as its driver names it.
        what: What was measured.
        seconds: Median time of a training step.
    """
    _keep(device, lambda kept: replace(kept, seconds={**kept.seconds, what.key: seconds}))


def keep_launch(device: str, seconds: float) -> None:
    """Keeps what the host needs to launch a kernel, where it can.

    Args:
        device: The GPU, as its driver names it.
        seconds: Time of one launch.
    """
    _keep(device, lambda kept: replace(kept, launch=seconds))


def _keep(device: str, change: Callable[[BenchFigures], BenchFigures]) -> None:
    with suppress(OSError):
        path = user_folder("bench") / f"{re.sub(r'[^A-Za-z0-9]+', '-', device)}.json"
        kept = _read(path)
        new = change(BenchFigures(device, path, {}) if kept is None or kept.device != device else kept)
        launch = {} if new.launch is None else {"launch_seconds": new.launch}
        write_json(path, {"device": device, "step_seconds": dict(new.seconds), **launch})


def figures_of(device: str) -> BenchFigures | None:
    """Returns what was measured on a GPU; None where nothing was.

    Args:
        device: The GPU, as its driver names it.
    """
    return next((one for one in _all() if one.device == device), None)


def figures_of_model(gpu: str) -> BenchFigures | None:
    """Returns what was measured here on a GPU of a model.

    Args:
        gpu: Name of the model, as in :mod:`harness.execution.costs.gpus`.
    """
    found = ((one, gpu_of_device(one.device)) for one in _all())
    return next((one for one, model in found if model is not None and model.name == gpu), None)


def _all() -> Sequence[BenchFigures]:
    try:
        paths = sorted(user_folder("bench").glob("*.json"))
    except OSError:
        return ()
    return [one for path in paths if (one := _read(path)) is not None]


def _read(path: Path) -> BenchFigures | None:
    """Returns what a file holds; None where there is none or it is damaged: it is measured again some day."""
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        values = read_json(path)
        seconds = {str(key): float(value) for key, value in values["step_seconds"].items()}
        launch = values.get("launch_seconds")
        return BenchFigures(str(values["device"]), path, seconds, None if launch is None else float(launch))
    return None
