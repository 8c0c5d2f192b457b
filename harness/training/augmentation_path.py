"""Where the batches of a training are augmented: patch by patch on the CPU, or whole on the GPU."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform

from harness.data.batches.draws import unknown_transforms
from harness.data.settings import AugmentationSettings
from harness.errors import TrainingError
from harness.files import atomic_path

Where = Literal["cpu", "gpu"]


@dataclass(frozen=True)
class AugmentationPath:
    """Where batches are augmented.

    Attributes:
        where: ``cpu``, patch by patch in the processes that read them, or ``gpu``, whole on the device of the training.
        obstacle: Why it is the CPU although the protocol lets it be the GPU; empty where nothing stands in the way.
    """

    where: Where = "cpu"
    obstacle: str = ""

    def keep(self, folder: Path) -> None:
        """Writes down what a training that is continued shall go on with."""
        with atomic_path(_file(folder)) as temporary:
            temporary.write_text(self.where, encoding="utf-8")


#: Patch by patch, with nothing in the way: what a protocol asks for that says nothing else.
PER_PATCH = AugmentationPath()


def check_augmentation(settings: AugmentationSettings, device: torch.device, device_type: str = "cuda") -> None:
    """Refuses a protocol that asks for a GPU where there is none.

    Args:
        settings: Augmentation settings of the protocol.
        device: Device of the training.
        device_type: Kind of device that augments batches.

    Raises:
        TrainingError: There is no such device here.
    """
    if settings.device == "gpu" and device.type != device_type:
        raise TrainingError(
            "`augmentation.device: gpu` is impossible here: only a CUDA GPU augments batches, and this cell runs on "
            f"the device `{device.type}`.",
            hint="Set `augmentation.device: auto` in the protocol, which uses a GPU where there is one.",
        )


def choose_augmentation(
    settings: AugmentationSettings,
    transforms: Sequence[BasicTransform],
    device: torch.device,
    continued: Path | None,
    device_type: str = "cuda",
) -> AugmentationPath:
    """Returns where batches are augmented.

    Args:
        settings: Augmentation settings of the protocol.
        transforms: The transforms of the settings.
        device: Device of the training.
        continued: Folder of the checkpoints where a training goes on that may have begun on another machine: it keeps
            its path, which works on every device. None for a new training.
        device_type: Kind of device that augments batches.

    Raises:
        TrainingError: The protocol asks for a GPU, and there is none.
    """
    check_augmentation(settings, device, device_type)
    if settings.device == "cpu":
        return PER_PATCH
    if unknown := unknown_transforms(transforms):
        return AugmentationPath("cpu", f"the GPU does not know {', '.join(unknown)}")
    kept = _kept(continued) if continued is not None and settings.device == "auto" else None
    return AugmentationPath(kept or ("gpu" if device.type == device_type else "cpu"))


def _kept(folder: Path) -> Where | None:
    file = _file(folder)
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    return next((where for where in get_args(Where) if where == text), None)


def _file(folder: Path) -> Path:
    return folder / "augmentation.txt"
