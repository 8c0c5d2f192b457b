"""RFNet: an encoder per modality, region-aware fusion at every level, one decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from baselines.shared.norm_units import (
    SLOPE,
    DecoderStep,
    ModalityEncoder,
    NormUnit,
    SeparateDecoder,
    draw_kernels,
    finer_logits,
    fusion_layers,
)
from baselines.shared.patches import require_at_least, require_multiples
from baselines.shared.presence import draw_sets, keep, modalities_present, without_gradient_where_absent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from baselines.rfnet import RFNetOptions
    from harness.segmenters.contract import Task

LEVELS = 4
MAP_WIDTH = 16
"""Channels before the classes of a region map."""
WEIGHT_WIDTH = 128
"""Hidden width of what weighs the modalities of a region."""
SMALLEST_REGION = 1e-7
"""Added to the share of a region, by which sums over it are divided."""


class RegionMap(nn.Module):
    """Probabilities of the classes at one level, from what is present of all modalities and the coarser features.

    Args:
        spatial_dims: 2 or 3.
        modalities: Number of modalities M.
        channels: Channels of a modality's features.
        out_channels: Number of classes K.
        coarsest: Whether there are no coarser features.
    """

    def __init__(self, spatial_dims: int, modalities: int, channels: int, out_channels: int, coarsest: bool) -> None:
        super().__init__()
        narrow = channels // 4
        self.embed = fusion_layers(spatial_dims, (modalities * channels, narrow, narrow, channels))
        self.classify = nn.Sequential(
            NormUnit(spatial_dims, channels if coarsest else 2 * channels, MAP_WIDTH, kernel=1),
            Conv["conv", spatial_dims](MAP_WIDTH, out_channels, 1),
        )

    def forward(self, features: Tensor, coarser: Tensor | None) -> Tensor:
        """Returns logits of the regions.

        Args:
            features: ``(B, M, C, *spatial)``, absent modalities 0.
            coarser: ``(B, C, *spatial)`` of the decoder.
        """
        embedded = self.embed(features.flatten(1, 2))
        joined = embedded if coarser is None else torch.cat((coarser, embedded), dim=1)
        logits: Tensor = self.classify(joined)
        return logits


class RegionWeighing(nn.Module):
    """Weighs the modalities in one region.

    Args:
        modalities: Number of modalities M.
        channels: Channels of a modality's features.
    """

    def __init__(self, modalities: int, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(modalities * channels + 1, WEIGHT_WIDTH),
            nn.LeakyReLU(SLOPE),
            nn.Linear(WEIGHT_WIDTH, modalities),
            nn.Sigmoid(),
        )

    def forward(self, features: Tensor, region: Tensor) -> Tensor:
        """Returns the weighed sum of the modalities in the region, ``(B, C, *spatial)``.

        Args:
            features: ``(B, M, C, *spatial)``, absent modalities 0.
            region: Probabilities ``(B, 1, *spatial)``.
        """
        axes = tuple(range(3, features.ndim))
        share = region.mean(dim=tuple(range(2, region.ndim)))
        within = (features * region[:, None]).mean(dim=axes).flatten(1) / (share + SMALLEST_REGION)
        weights = self.layers(torch.cat((within, share), dim=1))
        weighed = features * weights.view(*weights.shape, *[1] * (features.ndim - 2))
        fused: Tensor = weighed.sum(dim=1) * region
        return fused


class RegionFusion(nn.Module):
    """Weighs the modalities in every region, joins the regions, and adds a way past the regions.

    Args:
        spatial_dims: 2 or 3.
        modalities: Number of modalities M.
        channels: Channels of a modality's features, and of the output.
        regions: Number of regions K.
    """

    def __init__(self, spatial_dims: int, modalities: int, channels: int, regions: int) -> None:
        super().__init__()
        self.weigh = nn.ModuleList(RegionWeighing(modalities, channels) for _ in range(regions))
        half = channels // 2
        self.join = fusion_layers(spatial_dims, (regions * channels, channels, channels, half))
        self.short_cut = fusion_layers(spatial_dims, (modalities * channels, channels, channels, half))

    def forward(self, features: Tensor, regions: Tensor) -> Tensor:
        """Returns fused features ``(B, C, *spatial)``.

        Args:
            features: ``(B, M, C, *spatial)``, absent modalities 0.
            regions: Probabilities ``(B, K, *spatial)``.
        """
        fused = [
            weigh(features, region) for weigh, region in zip(self.weigh, torch.split(regions, 1, dim=1), strict=True)
        ]
        return torch.cat((self.join(torch.cat(fused, dim=1)), self.short_cut(features.flatten(1, 2))), dim=1)


class RFNet(nn.Module):
    """RFNet (Ding et al., ICCV 2021), in two or three dimensions, for any number of modalities.

    Official code: dyh127/RFNet, without a licence; no line of it was copied. Kept: every layer, its order and padding,
    the detachment of region maps, all auxiliary outputs of the training. Decided:

    - Logits are returned, where the released network ends in a softmax. Auxiliary maps are upsampled after the softmax
      as there, and returned as logarithms.
    - A modality is dropped by a product with 0 or 1 instead of Boolean indexing, so that a step can be recorded.
    - An image that lacks a modality sends no gradient through that modality's own decoder; the authors train on
      complete images only.
    - Modalities and classes follow the task instead of being constants.

    Args:
        spatial_dims: 2 or 3.
        modalities: Number of modalities M.
        out_channels: Number of classes K.
        options: Width, and whether training draws sets of modalities.
    """

    takes_present = True

    def __init__(self, spatial_dims: int, modalities: int, out_channels: int, options: RFNetOptions) -> None:
        super().__init__()
        self.drop_modalities = options.drop_modalities
        widths = [options.width * 2**level for level in range(LEVELS)]
        self.encoders = nn.ModuleList(ModalityEncoder(spatial_dims, widths) for _ in range(modalities))
        self.maps = nn.ModuleList(
            RegionMap(spatial_dims, modalities, width, out_channels, coarsest=width == widths[-1])
            for width in reversed(widths)
        )
        self.fusions = nn.ModuleList(
            RegionFusion(spatial_dims, modalities, width, out_channels) for width in reversed(widths)
        )
        self.steps = nn.ModuleList(DecoderStep(spatial_dims, width) for width in reversed(widths[1:]))
        self.head = Conv["conv", spatial_dims](widths[0], out_channels, 1)
        self.separate = SeparateDecoder(spatial_dims, widths, out_channels)
        self.deep_supervision_weights = [1.0] * (1 + modalities + LEVELS)
        draw_kernels(self)
        for module in self.fusions.modules():
            if isinstance(module, nn.Linear):  # a 1-wide convolution in the released code
                nn.init.kaiming_normal_(module.weight)

    def forward(self, images: Tensor, present: Tensor | None = None) -> Tensor | list[Tensor]:
        """Segments images.

        Args:
            images: ``(B, M, *spatial)``.
            present: ``(B, M)``, 1 where a modality is present and 0 where not; default: all are.

        Returns:
            Logits ``(B, K, *spatial)``; in training mode a list: these, every modality's own, and those of the region
            maps, finest first, all at full resolution.
        """
        fused = modalities_present(images, present, draw_sets if self.training and self.drop_modalities else None)
        features = [encoder(image) for encoder, image in zip(self.encoders, torch.split(images, 1, dim=1), strict=True)]
        logits, maps = self._fuse(features, fused)
        if not self.training:
            return logits
        given = modalities_present(images, present)
        own = [
            without_gradient_where_absent(self.separate(levels), given[:, modality])
            for modality, levels in enumerate(features)
        ]
        return [logits, *own, *(finer_logits(each, 2**level) for level, each in enumerate(maps))]

    def _fuse(self, features: Sequence[Sequence[Tensor]], present: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Returns logits, and logits of the region maps, finest first."""
        stacked = [keep(torch.stack(level, dim=1), present) for level in zip(*features, strict=True)]
        maps: list[Tensor] = []
        x: Tensor | None = None
        for number, (level, make_map, fuse) in enumerate(zip(reversed(stacked), self.maps, self.fusions, strict=True)):
            maps.insert(0, make_map(level, x))
            merged = fuse(level, maps[0].softmax(dim=1).detach())
            if x is not None:
                step = self.steps[number - 1]
                assert isinstance(step, DecoderStep)
                merged = step.merge(merged, x)
            if number < len(self.steps):
                step = self.steps[number]
                assert isinstance(step, DecoderStep)
                x = step.rise(merged)
        return self.head(merged), maps


def build(task: Task, options: RFNetOptions) -> RFNet:
    """Builds RFNet for a task.

    Args:
        task: Segmentation task.
        options: Width, and whether training draws sets of modalities.

    Raises:
        StudyError: A side of the patch is not a multiple of 8, or below 16.
    """
    unit = 2 ** (LEVELS - 1)
    require_multiples(task.patch_size, unit, f"rfnet halves every axis {LEVELS - 1} times")
    require_at_least(task.patch_size, 2 * unit, "rfnet reflects its coarsest map at the border")
    return RFNet(task.spatial_dims, task.in_channels, task.out_channels, options)
