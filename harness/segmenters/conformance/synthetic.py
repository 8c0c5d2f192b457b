"""Shared by the checks: networks from fixed seeds, images of blobs in noise, and comparisons."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.errors import HarnessError
from harness.segmenters.contract import Segmenter, Task

_DEVICE = ContextVar("device", default="cpu")


@contextmanager
def computing_on(device: str) -> Iterator[None]:
    """Lets the checks in the block compute on a device: networks, images and labels come there.

    They are drawn on the CPU, so that they are the same everywhere.
    """
    token = _DEVICE.set(device)
    try:
        yield
    finally:
        _DEVICE.reset(token)


class ConformanceError(HarnessError):
    """A network breaks the segmenter contract."""


def build(segmenter: Segmenter, task: Task, options: Mapping[str, Any], seed: int = 0) -> nn.Module:
    """Builds a network from a seed; the caller's random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return segmenter.build(task, options).to(_DEVICE.get())


def perturbed(network: nn.Module) -> nn.Module:
    """Adds small noise to every parameter, which opens gates that start closed."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator).to(parameter.device), alpha=0.02)
    return network


def target_of(task: Task, seed: int = 0, batch: int = 2) -> Tensor:
    """Returns labels ``(B, *spatial)``: background and one blob of each foreground class, along the diagonal.

    Blobs are large enough that their frequencies alone, without their places, explain less than half of the loss.
    """
    return _draw_labels(task, seed, batch).to(_DEVICE.get())


def _draw_labels(task: Task, seed: int, batch: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    grid = torch.stack(torch.meshgrid(*(torch.linspace(0, 1, side) for side in task.patch_size), indexing="ij"), dim=-1)
    labels = torch.zeros(batch, *task.patch_size, dtype=torch.long)
    for image in labels:
        for label in range(1, task.out_channels):
            centre = label / task.out_channels + 0.1 * (torch.rand(task.spatial_dims, generator=generator) - 0.5)
            image[(grid - centre).norm(dim=-1) < 0.1 * task.spatial_dims] = label
    return labels


def images_of(task: Task, seed: int = 0, batch: int = 2) -> Tensor:
    """Returns images ``(B, M, *spatial)``: the blobs of :func:`target_of` in noise, in a contrast a modality."""
    generator = torch.Generator().manual_seed(1000 + seed)
    labels = _draw_labels(task, seed, batch)
    channels = [torch.rand(task.out_channels, generator=generator)[labels] for _ in task.modalities]
    contrast = torch.stack(channels, dim=1) * 4 - 2
    return (contrast + 0.3 * torch.randn(contrast.shape, generator=generator)).to(_DEVICE.get())


def loss_of(network: nn.Module, output: Tensor | list[Tensor], target: Tensor) -> Tensor:
    """Returns the cross-entropy, weighted over outputs where there are several; an output of weight 0 has no part."""
    if isinstance(output, Tensor):
        return functional.cross_entropy(output.float(), target)
    weights: list[float] = network.deep_supervision_weights  # type: ignore[assignment]
    terms = []
    for logits, weight in zip(output, weights, strict=True):
        if weight > 0:
            resized = functional.interpolate(target[:, None].float(), logits.shape[2:], mode="nearest-exact")
            terms.append(weight * functional.cross_entropy(logits.float(), resized[:, 0].long()))
    return torch.stack(terms).sum()


def predict(network: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Returns the output, without gradients."""
    with torch.no_grad():
        return network(images)


def as_list(output: Tensor | list[Tensor]) -> list[Tensor]:
    """Returns all outputs, also where there is only one."""
    return [output] if isinstance(output, Tensor) else list(output)


def are_probabilities(output: Tensor) -> bool:
    """Returns whether values (B, K, *spatial) add up to 1 over the classes; the loss applies the softmax itself."""
    totals = output.sum(dim=1)
    return bool(output.min() >= 0) and torch.allclose(totals, torch.ones_like(totals), atol=1e-4)


def close(one: Tensor, other: Tensor) -> bool:
    """Whether two outputs differ by no more than the rounding of another order of summation."""
    tolerance = 1e-4 * max(float(one.abs().max()), 1e-6)
    return one.shape == other.shape and bool(torch.allclose(one, other, rtol=0.0, atol=tolerance))


def require(kept: object, message: str, hint: str = "") -> None:
    """Raises :class:`ConformanceError` where a promise is not kept.

    Args:
        kept: Whether the promise is kept, as a truth value.
        message: What is wrong otherwise.
        hint: What to do about it.
    """
    if not kept:
        raise ConformanceError(message, hint=hint)


def require_finite(what: str, *tensors: Tensor) -> None:
    """Raises :class:`ConformanceError` where a value is not finite."""
    require(all(bool(tensor.isfinite().all()) for tensor in tensors), f"the {what} is not finite.")


def some(names: list[str], most: int = 4) -> str:
    """Returns the first names, and how many more there are."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def mode_name(training: bool) -> str:
    """Returns the network's mode in words."""
    return "in training mode" if training else "in eval mode"
