"""A network's forward pass over windows, recorded once and replayed."""

import torch
from torch import Tensor, nn

from harness.errors import RecordingError
from harness.recording.host_contact import host_contact
from harness.recording.recorder import Recorder
from harness.recording.work import RecordedWork


class RecordedWindows(nn.Module):
    """Maps windows (B, M, *spatial) to logits as a network in evaluation mode does, from one recording for all cases.

    B of the first call is the size of the recording: fewer windows are padded, more are computed as written. Weights
    may change between calls if they stay in their tensors.

    Args:
        network: Network on the device; its output in evaluation mode is one tensor.
        recorder: Records the pass.
    """

    def __init__(self, network: nn.Module, recorder: Recorder) -> None:
        super().__init__()
        self.network = network
        self._pass = RecordedWork(network, recorder, warm_up=1)
        self._size = 0

    def forward(self, windows: Tensor) -> Tensor:
        """Returns the logits (B, K, *spatial).

        Raises:
            RecordingError: The pass cannot be recorded.
        """
        if not self._size:
            with host_contact(self.network, windows.device) as found:
                self.network(windows)
            if found:
                raise RecordingError.because(f"in evaluation mode, {'; '.join(found)}")
            self._size = len(windows)
        missing = max(self._size - len(windows), 0)
        whole = torch.cat([windows, windows[-1:].expand(missing, *windows.shape[1:])]) if missing else windows
        logits = self._pass(whole)
        assert logits is not None
        return logits[: len(windows)]
