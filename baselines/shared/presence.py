"""Modalities present: masks that networks for missing modalities take, drawn in training and applied by a product."""

from collections.abc import Callable

import torch
from torch import Tensor

#: Draws sets of modalities: number of images, number of modalities and device to ``(B, M)`` of 0 and 1, on the device,
#: so that a step can be recorded.
Draw = Callable[[int, int, torch.device], Tensor]


def modalities_present(images: Tensor, present: Tensor | None, draw: Draw | None = None) -> Tensor:
    """Returns which modalities a network may fuse, of each image.

    Args:
        images: ``(B, M, *spatial)``.
        present: ``(B, M)``, 1 where a modality is present and 0 where not; ``None``: all are.
        draw: Draws those of which no other is fused; default: all that are present are. Where none of the drawn is
            present, all that are present stay.

    Returns:
        ``(B, M)`` of 0 and 1, with at least one 1 where ``present`` has one.
    """
    given = images.new_ones(images.shape[:2]) if present is None else present.to(images.dtype)
    if draw is None:
        return given
    kept = given * draw(images.shape[0], images.shape[1], images.device).to(images.dtype)
    return torch.where(kept.sum(dim=1, keepdim=True) > 0, kept, given)


def draw_sets(batch: int, modalities: int, device: torch.device) -> Tensor:
    """Draws non-empty sets of modalities, each with equal chance; a :data:`Draw`."""
    numbers = torch.randint(1, 2**modalities, (batch, 1), device=device)
    return (numbers >> torch.arange(modalities, device=device)) & 1


def draw_all_or_sizes(batch: int, modalities: int, device: torch.device) -> Tensor:
    """Draws all modalities half of the time, else fewer: each number, then each set of it, with equal chance."""
    if modalities == 1:
        return torch.ones(batch, 1, device=device)
    sizes = torch.randint(1, modalities, (batch, 1), device=device)
    ranks = torch.rand(batch, modalities, device=device).argsort(dim=1).argsort(dim=1)
    everything = torch.rand(batch, 1, device=device) < 0.5
    return (everything | (ranks < sizes)).float()


def keep(features: Tensor, present: Tensor) -> Tensor:
    """Sets the features of absent modalities to 0.

    Args:
        features: ``(B, M, ...)``.
        present: ``(B, M)`` of 0 and 1.
    """
    return features * present.to(features.dtype).view(*present.shape, *[1] * (features.ndim - 2))


def without_gradient_where_absent(logits: Tensor, present: Tensor) -> Tensor:
    """Returns logits that send no gradient back where the modality they come from is absent.

    Args:
        logits: ``(B, K, *spatial)``, of one modality.
        present: ``(B,)`` of 0 and 1.
    """
    return torch.where(present.view(-1, *[1] * (logits.ndim - 1)) > 0, logits, logits.detach())
