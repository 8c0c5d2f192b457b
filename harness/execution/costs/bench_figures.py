"""What ``harness bench`` has measured on GPUs, kept for plans."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
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
    """Seconds of training steps on one GPU.

    Attributes:
        device: The GPU, as its driver names it.
        path: File that they are kept in.
        seconds: By :attr:`Benched.key`.
    """

    device: str
    path: Path
    seconds: Mapping[str, float]

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
    with suppress(OSError):
        path = user_folder("bench") / f"{re.sub(r'[^A-Za-z0-9]+', '-', device)}.json"
        kept = _read(path)
        steps = {} if kept is None or kept.device != device else dict(kept.seconds)
        write_json(path, {"device": device, "step_seconds": {**steps, what.key: seconds}})


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
        return BenchFigures(str(values["device"]), path, seconds)
    return None
