"""Replacement of absent modalities in the input of a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.data.preparation.cache import PreparedCase
from harness.data.preparation.normalisation import Normaliser
from harness.data.settings import Fill


@dataclass(frozen=True)
class Filling:
    """One value per modality, in normalised units, that fills its image where the modality is absent.

    Attributes:
        kind: ``zeros``, ``mean`` or ``token``.
        values: Fill value of each modality, in channel order.
    """

    kind: Fill
    values: tuple[float, ...]

    @classmethod
    def zeros(cls, modalities: int) -> Filling:
        """Returns zeros: the background of every modality, and the mean of the body by z-score."""
        return cls("zeros", (0.0,) * modalities)


class FillsAbsent(nn.Module):
    """Fills absent modalities of images and passes the images to a network.

    Images without an absent modality reach the network unchanged. A network made for missing modalities
    (``takes_present``, see :class:`harness.segmenters.contract.Segmenter`) is also told which are present.

    Args:
        network: Maps (B, M, *spatial) to logits.
        filling: Values that replace absent modalities; the values of a token are parameters, trained with the network.
    """

    def __init__(self, network: nn.Module, filling: Filling) -> None:
        super().__init__()
        self.network = network
        self._tells_present = bool(getattr(network, "takes_present", False))
        self.kind: Fill = filling.kind
        values = torch.tensor(filling.values, dtype=torch.float32)
        if filling.kind == "token":
            self.values = nn.Parameter(values)
        else:
            self.register_buffer("values", values)

    @property
    def deep_supervision_weights(self) -> Sequence[float]:
        """Weights of the outputs that the network declares; empty where there is one output."""
        weights: Sequence[float] = getattr(self.network, "deep_supervision_weights", ())
        return weights

    @property
    def filling(self) -> Filling:
        """Current fill values."""
        return Filling(self.kind, tuple(self.values.detach().cpu().tolist()))

    def forward(self, images: Tensor) -> Any:
        """Maps images (B, M, *spatial), NaN in absent channels, to the output of the network.

        What was padded around an absent channel is filled too: in training a patch lacks the channel as a whole.
        """
        absent = images.isnan().flatten(2).any(dim=2)
        spatial = [1] * (images.ndim - 2)
        values = self.values.to(images.dtype).view(1, -1, *spatial)
        filled = torch.where(absent.view(*absent.shape, *spatial), values, images)
        return self.network(filled, (~absent).to(images.dtype)) if self._tells_present else self.network(filled)


def filling_for(kind: Fill, normaliser: Normaliser, training: Sequence[PreparedCase]) -> Filling:
    """Returns the initial filling of a training.

    Args:
        kind: Kind of fill in the protocol. A token begins as zeros.
        normaliser: Normaliser fitted on the training cases.
        training: Training cases.
    """
    if kind == "mean":
        return Filling("mean", mean_images(normaliser, training))
    return Filling(kind, (0.0,) * len(normaliser.kinds))


def mean_images(normaliser: Normaliser, training: Sequence[PreparedCase]) -> tuple[float, ...]:
    """Returns the mean of each modality's normalised images over the training cases that have it, each case alike.

    By z-score it lies near 0, because the body's mean is 0 and so is what lies outside; CT's does not.
    """
    means = [
        normaliser(case.images, case).reshape(len(normaliser.kinds), -1).mean(axis=1, dtype=np.float64)
        for case in training
    ]
    for values, case in zip(means, training, strict=True):
        values[list(case.absent)] = np.nan
    # In single precision, so that the stored values equal those that the network receives.
    return tuple(float(np.float32(value)) for value in np.nanmean(means, axis=0))
