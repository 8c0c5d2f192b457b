"""Whether a CUDA graph of a network computes what the network computes."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from harness.recording.host_contact import host_contact
from harness.recording.recorder import CudaRecorder
from harness.recording.tape import TapeRecorder
from harness.recording.work import RecordedWork
from harness.segmenters.conformance.synthetic import build, close, images_of, loss_of, require, target_of
from harness.segmenters.contract import Segmenter, Task

_HOST = "Compute with tensors on the device, and draw from torch's generator there (`torch.rand(..., device=...)`)."


def check_recorded(segmenter: Segmenter, task: Task, options: Mapping[str, Any]) -> None:
    """A pass forward and backward that is recorded and replayed gives what it gives as written, for two seeds.

    A CUDA graph freezes every number of the host; on a CPU the recording is a list of operators.
    """
    eager, recorded = (build(segmenter, task, options).train() for _ in range(2))
    device = images_of(task).device
    on_gpu = device.type == "cuda"
    passes = RecordedWork(
        lambda images, target: _pass(recorded, images, target),
        CudaRecorder(device) if on_gpu else TapeRecorder(),
        before_recording=recorded.zero_grad,
        warm_up=int(on_gpu),  # libraries start, which no recording can hold
    )
    for seed in range(2 + on_gpu):
        images, target = images_of(task, seed), target_of(task, seed)
        torch.manual_seed(seed)
        with host_contact(eager, images.device) as found:
            expected = _pass(eager, images, target)
        require(not found, f"a recording would break on it or freeze it: {'; '.join(found)}.", hint=_HOST)
        torch.manual_seed(seed)
        result = passes(images, target)
        require(
            result is not None and close(result, expected) and _same_gradients(eager, recorded),
            "replayed, a recorded pass gives other numbers than as written: something of the host is frozen in it.",
            hint=_HOST,
        )


def _pass(network: nn.Module, images: Tensor, target: Tensor) -> Tensor:
    """Sets the gradients of a batch; returns the loss."""
    network.zero_grad(set_to_none=True)
    loss = loss_of(network, network(images), target)
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach()


def _same_gradients(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return all(
        mine.grad is theirs.grad
        or (mine.grad is not None and theirs.grad is not None and close(mine.grad, theirs.grad))
        for mine, theirs in pairs
    )
