"""Modalities present: masks that networks for missing modalities take, drawn in training and applied by a product."""

import torch
from torch import Tensor


def modalities_present(images: Tensor, present: Tensor | None, *, draw: bool) -> Tensor:
    """Returns which modalities a network may fuse, of each image.

    Args:
        images: ``(B, M, *spatial)``.
        present: ``(B, M)``, 1 where a modality is present and 0 where not; ``None``: all are.
        draw: Whether to take away some of them at random: each set of modalities but the empty one has equal chance.
            Where none of the drawn is present, all that are present stay.

    Returns:
        ``(B, M)`` of 0 and 1, with at least one 1 where ``present`` has one.
    """
    given = images.new_ones(images.shape[:2]) if present is None else present.to(images.dtype)
    if not draw:
        return given
    kept = given * draw_sets(images.shape[0], images.shape[1], images.device).to(images.dtype)
    return torch.where(kept.sum(dim=1, keepdim=True) > 0, kept, given)


def draw_sets(batch: int, modalities: int, device: torch.device) -> Tensor:
    """Draws non-empty sets of modalities, each with equal chance, on the device: a step can be recorded.

    Args:
        batch: Number of sets.
        modalities: Number of modalities.
        device: Where they are drawn.

    Returns:
        ``(B, M)`` int64 of 0 and 1.
    """
    numbers = torch.randint(1, 2**modalities, (batch, 1), device=device)
    return (numbers >> torch.arange(modalities, device=device)) & 1


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
