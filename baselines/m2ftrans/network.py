"""M2FTrans: an encoder per modality, fusion tokens, and a decoder that attends to the modalities present."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from monai.networks.layers.factories import Conv
from torch import Tensor, nn
from torch.nn import functional

from baselines.m2ftrans.attention import CrossToken, MaskedTransformer
from baselines.shared.norm_units import (
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

    from baselines.m2ftrans import M2FTransOptions
    from harness.segmenters.contract import Task

LEVELS = 5
TOKEN_SIDE = 2 ** (LEVELS - 1)
"""Voxels per side of what becomes one token."""
CROSS_LEVELS = 2
"""Coarsest levels that are fused by attention between channels; the others by convolutions."""


class M2FTrans(nn.Module):
    """M2FTrans (Shi et al., IEEE JBHI 2024), in two or three dimensions, for any number of modalities.

    Official code: Jun-Jie-Shi/M2FTrans (MIT); no line of it was copied. Kept: every layer, its order and padding, the
    masks, the detachment of the attention that weighs features, all auxiliary outputs of the training. Decided:

    - Logits are returned, where the released network ends in a softmax. Coarser maps are upsampled after the softmax
      as there, and returned as logarithms.
    - A modality is dropped by a product with 0 or 1, or by a mask of scores, so that a step can be recorded.
    - An image that lacks a modality sends no gradient through that modality's own decoder; the authors train on
      complete images only.
    - Modalities, classes and positions follow the task instead of being constants.

    Args:
        modalities: Number of modalities M.
        out_channels: Number of classes K.
        patch_size: Spatial size of the input; a multiple of 16 along each axis.
        options: Widths, depth, dropout, and whether training draws sets of modalities.
    """

    takes_present = True
    group: Tensor

    def __init__(self, modalities: int, out_channels: int, patch_size: Sequence[int], options: M2FTransOptions) -> None:
        super().__init__()
        dims = len(patch_size)
        convolution = Conv["conv", dims]
        widths = [options.width * 2**level for level in range(LEVELS)]
        coarsest = widths[-1]
        self.drop_modalities = options.drop_modalities
        self.grid = tuple(side // TOKEN_SIDE for side in patch_size)
        tokens = math.prod(self.grid)

        self.encoders = nn.ModuleList(ModalityEncoder(dims, widths) for _ in range(modalities))
        self.fusion = nn.Parameter(torch.randn(1, tokens, coarsest))
        self.positions = nn.Parameter(torch.zeros(1, (modalities + 1) * tokens, coarsest))
        self.transformer = MaskedTransformer(
            coarsest, options.num_heads, options.mlp_dim, options.num_layers, options.dropout
        )
        self.crosses = nn.ModuleList(
            CrossToken(dims, modalities, width, options.dropout) for width in widths[: -1 - CROSS_LEVELS : -1]
        )
        self.fusions = nn.ModuleList(
            fusion_layers(dims, (modalities * width, width, width, width))
            for width in reversed(widths[: LEVELS - CROSS_LEVELS])
        )
        self.bottom = nn.Sequential(
            NormUnit(dims, 2 * coarsest, coarsest), NormUnit(dims, coarsest, coarsest, kernel=1)
        )
        self.steps = nn.ModuleList(DecoderStep(dims, width) for width in reversed(widths[1:]))
        self.maps = nn.ModuleList(
            nn.Sequential(NormUnit(dims, width, widths[0], kernel=1), convolution(widths[0], out_channels, 1))
            for width in reversed(widths)
        )
        self.head = convolution(widths[0], out_channels, 1)
        self.separate = SeparateDecoder(dims, widths, out_channels)
        self.deep_supervision_weights = [1.0] * (1 + modalities + LEVELS)
        self.register_buffer("group", torch.arange(modalities + 1).repeat_interleave(tokens), persistent=False)
        draw_kernels(self)

    def forward(self, images: Tensor, present: Tensor | None = None) -> Tensor | list[Tensor]:
        """Segments images.

        Args:
            images: ``(B, M, *patch_size)``.
            present: ``(B, M)``, 1 where a modality is present and 0 where not; default: all are.

        Returns:
            Logits ``(B, K, *patch_size)``; in training mode a list: these, every modality's own, and those of coarser
            maps, finest first, all at full resolution.
        """
        draw = draw_sets if self.training and self.drop_modalities else None
        fused = modalities_present(images, present, draw)
        columns = torch.split(images, 1, dim=1)
        features = [encoder(image) for encoder, image in zip(self.encoders, columns, strict=True)]
        *coarse, fusion, weights = self._attend([levels[-1] for levels in features], fused)
        levels = [*(torch.stack(level, dim=1) for level in list(zip(*features, strict=True))[:-1])]
        levels.append(torch.stack(coarse, dim=1))
        logits, maps = self._decode(_weigh(levels, weights), fusion, fused)
        if not self.training:
            return logits
        given = modalities_present(images, present)
        own = [
            without_gradient_where_absent(self.separate(each), given[:, modality])
            for modality, each in enumerate(features)
        ]
        return [logits, *own, *(finer_logits(each, 2**level) for level, each in enumerate(maps))]

    def _attend(self, features: Sequence[Tensor], present: Tensor) -> list[Tensor]:
        """Returns every modality's coarsest map, the fusion tokens' map, and what weighs the modalities.

        The last is ``(B, M, 1, *grid)``: how much attention the fusion tokens pay to a place of a modality.
        """
        batch, modalities = present.shape
        tokens = [x.flatten(2).transpose(1, 2) for x in features]
        together = torch.cat([*tokens, self.fusion.expand(batch, -1, -1)], dim=1) + self.positions
        attended, weights = self.transformer(together, self._allowed(present))
        maps = [part.transpose(1, 2).reshape(batch, -1, *self.grid) for part in attended.chunk(modalities + 1, dim=1)]
        paid = weights.detach()[:, :, -math.prod(self.grid) :].sum(dim=(1, 2))
        by_modality = torch.stack(paid.chunk(modalities + 1, dim=1)[:-1], dim=1)
        return [*maps, by_modality.reshape(batch, modalities, 1, *self.grid)]

    def _allowed(self, present: Tensor) -> Tensor:
        """Returns which token (row) sees which (column), ``(B, N, N)``.

        Tokens of a modality see each other; fusion tokens see each other and the modalities present.
        """
        fusing = self.group == present.shape[1]
        same = self.group[:, None] == self.group
        seen = functional.pad(present, (0, 1), value=1.0)[:, self.group] > 0
        return same | (fusing[:, None] & seen[:, None])

    def _decode(self, levels: Sequence[Tensor], fusion: Tensor, present: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Returns logits, and logits of coarser maps, finest first.

        Args:
            levels: Weighed features ``(B, M, C, *spatial)`` of every level, finest first.
            fusion: The fusion tokens' map.
            present: ``(B, M)`` of 0 and 1.
        """
        maps = [self.maps[0](fusion)]
        crossed = self.crosses[0](fusion, list(levels[-1].unbind(1)), present)
        x: Tensor = self.bottom(torch.cat((crossed, fusion), dim=1))
        for number, (step, level) in enumerate(zip(self.steps, reversed(levels[:-1]), strict=True), start=1):
            assert isinstance(step, DecoderStep)
            risen = step.rise(x)
            maps.insert(0, self.maps[number](risen))
            if number < CROSS_LEVELS:
                fused = self.crosses[number](risen, list(level.unbind(1)), present)
            else:
                fused = self.fusions[number - CROSS_LEVELS](keep(level, present).flatten(1, 2))
            x = step.merge(fused, risen)
        return self.head(x), maps


def _weigh(levels: Sequence[Tensor], weights: Tensor) -> list[Tensor]:
    """Weighs the features of every level, finest first, by attention at the coarsest, repeated to their size."""
    weighed: list[Tensor] = []
    for level in reversed(levels):
        weighed.insert(0, level * weights.to(level.dtype))
        for axis in range(3, weights.ndim):
            weights = weights.repeat_interleave(2, dim=axis)
    return weighed


def build(task: Task, options: M2FTransOptions) -> M2FTrans:
    """Builds M2FTrans for a task.

    Args:
        task: Segmentation task.
        options: Widths, depth, dropout, and whether training draws sets of modalities.

    Raises:
        StudyError: A side of the patch is not a multiple of 16, or below 32.
    """
    require_multiples(task.patch_size, TOKEN_SIDE, f"m2ftrans makes one token of {TOKEN_SIDE} voxels per side")
    require_at_least(task.patch_size, 2 * TOKEN_SIDE, "m2ftrans reflects its coarsest map at the border")
    return M2FTrans(task.in_channels, task.out_channels, task.patch_size, options)
