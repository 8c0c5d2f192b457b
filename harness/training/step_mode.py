"""Whether the work of a cell is recorded: its training steps, and its network's pass over windows."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from harness.errors import TrainingError
from harness.inference.recorded_windows import RecordedWindows
from harness.recording.recorder import CudaRecorder, Recorder
from harness.training.settings import TrainingSettings


@dataclass(frozen=True)
class Recording:
    """What may be recorded in an attempt at a cell, and by what.

    Attributes:
        eager: Whether nothing is recorded, since an earlier attempt has found that it cannot be.
        make: Makes the recorder of a device.
        device_type: Kind of device that can record.
    """

    eager: bool = False
    make: Callable[[torch.device], Recorder] = CudaRecorder
    device_type: str = "cuda"

    def of_steps(self, settings: TrainingSettings, device: torch.device, ranks: int = 1) -> Recorder | None:
        """Returns what records the training steps, None where they are done as written.

        Args:
            settings: Training settings of the protocol.
            device: Device of the training.
            ranks: Processes that train together.

        Raises:
            TrainingError: The protocol asks for recorded steps, which are impossible here.
        """
        self.check(settings, device, ranks)
        if settings.step == "eager" or self._obstacle(settings, device, ranks):
            return None
        return None if settings.step == "auto" and self.eager else self.make(device)

    def check(self, settings: TrainingSettings, device: torch.device, ranks: int = 1) -> None:
        """Refuses recorded steps where they are impossible whatever the network.

        Args:
            settings: Training settings of the protocol.
            device: Device of the training.
            ranks: Processes that train together.

        Raises:
            TrainingError: The protocol asks for recorded steps, which are impossible here.
        """
        obstacle = self._obstacle(settings, device, ranks)
        if settings.step == "recorded" and obstacle:
            raise TrainingError(
                f"`training.step: recorded` is impossible here: {obstacle}.",
                hint="Set `training.step: auto` in the protocol, which records wherever that is possible.",
            )

    def of_windows(
        self, network: nn.Module, settings: TrainingSettings, device: torch.device, size: int, ranks: int = 1
    ) -> nn.Module | None:
        """Returns what maps windows to logits from a recording of a network's pass, None where the network itself does.

        A protocol that asks for recorded steps does not forbid to predict where nothing can be recorded.

        Args:
            network: Network on the device.
            settings: Training settings of the protocol.
            device: Device of the network.
            size: Windows per batch.
            ranks: Processes that train together.
        """
        if settings.step == "eager" or self.eager or self._obstacle(settings, device, ranks):
            return None
        return RecordedWindows(network, self.make(device), size)

    def _obstacle(self, settings: TrainingSettings, device: torch.device, ranks: int) -> str:
        """Returns why nothing can be recorded, whatever the network; empty if it can."""
        if device.type != self.device_type:
            return f"only a CUDA GPU records, and this cell runs on the device `{device.type}`"
        if ranks > 1:
            return f"{ranks} GPUs train the cell together, and their exchange is not recorded"
        if settings.compile == "cuda-graphs":
            return "`compile: cuda-graphs` records by itself"
        return ""


#: What a first attempt records: whatever the protocol lets it, on a GPU.
ON_CUDA = Recording()
