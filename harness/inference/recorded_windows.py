"""A network's forward pass over windows, recorded once and replayed."""

import torch
from torch import Tensor, nn

from harness.errors import RecordingError
from harness.recording.host_contact import host_contact
from harness.recording.recorder import Recorder
from harness.recording.work import RecordedWork


class RecordedWindows(nn.Module):
    """Maps windows (B, M, *spatial) to logits as a network in evaluation mode does, from one recording for all cases.

    Fewer windows than the recording holds are padded, more are computed as written. Weights may change between calls if
    they stay in their tensors.

    Args:
        network: Network on the device; its output in evaluation mode is one tensor.
        recorder: Records the pass.
        size: Windows of the recording. It does not depend on the case that comes first, and neither do the numbers,
            whose last bits depend on the size.
    """

    def __init__(self, network: nn.Module, recorder: Recorder, size: int) -> None:
        super().__init__()
        self.network = network
        self._pass = RecordedWork(network, recorder, warm_up=1)
        self._size = size
        self._unchecked = True

    def forward(self, windows: Tensor) -> Tensor:
        """Returns the logits (B, K, *spatial).

        Raises:
            RecordingError: The pass cannot be recorded.
        """
        if self._unchecked:
            with host_contact(self.network, windows.device) as found:
                self.network(windows)
            if found:
                raise RecordingError.because(f"in evaluation mode, {'; '.join(found)}")
            self._unchecked = False
        missing = max(self._size - len(windows), 0)
        whole = torch.cat([windows, windows[-1:].expand(missing, *windows.shape[1:])]) if missing else windows
        logits = self._pass(whole)
        assert logits is not None
        return logits[: len(windows)]
