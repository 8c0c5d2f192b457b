"""Whether the training steps of a cell are recorded."""

from collections.abc import Callable

import torch

from harness.errors import TrainingError
from harness.recording.recorder import CudaRecorder, Recorder
from harness.training.settings import TrainingSettings


def choose_recorder(
    settings: TrainingSettings,
    device: torch.device,
    ranks: int = 1,
    eager: bool = False,
    make: Callable[[torch.device], Recorder] = CudaRecorder,
) -> Recorder | None:
    """Returns what records the steps, None where they are done as written.

    Args:
        settings: Training settings of the protocol.
        device: Device of the training.
        ranks: Processes that train together.
        eager: Whether an earlier attempt has found that the step cannot be recorded.
        make: Makes the recorder of a device.

    Raises:
        TrainingError: The protocol asks for recorded steps, which are impossible here.
    """
    if settings.step == "eager":
        return None
    obstacle = _obstacle(settings, device, ranks)
    if settings.step == "auto":
        return None if obstacle or eager else make(device)
    if obstacle:
        raise TrainingError(
            f"`training.step: recorded` is impossible here: {obstacle}.",
            hint="Set `training.step: auto` in the protocol, which records wherever that is possible.",
        )
    return make(device)


def _obstacle(settings: TrainingSettings, device: torch.device, ranks: int) -> str:
    """Returns why no step can be recorded, whatever the network; empty if it can."""
    if device.type != "cuda":
        return f"only a CUDA GPU records, and this cell runs on the device `{device.type}`"
    if ranks > 1:
        return f"{ranks} GPUs train the cell together, and their exchange is not recorded"
    if settings.compile == "cuda-graphs":
        return "`compile: cuda-graphs` records by itself"
    return ""
