"""mmFormer: an encoder and a Transformer per modality, a Transformer across them, one decoder."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from baselines.shared.monai_blocks import transformer_block
from baselines.shared.norm_units import (
    DecoderStep,
    ModalityEncoder,
    SeparateDecoder,
    draw_kernels,
    finer_logits,
    fusion_layers,
)
from baselines.shared.patches import require_at_least, require_multiples
from baselines.shared.presence import draw_sets, keep, modalities_present, without_gradient_where_absent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from baselines.mmformer import MMFormerOptions
    from harness.segmenters.contract import Task

LEVELS = 5
TOKEN_SIDE = 2 ** (LEVELS - 1)
"""Voxels per side of what becomes one token."""


class MMFormer(nn.Module):
    """mmFormer (Zhang et al., MICCAI 2022), in two or three dimensions, for any number of modalities.

    Official code: YaoZhang93/mmFormer (Apache-2.0); no line of it was copied, Transformer blocks are MONAI's. Kept:
    every layer, its order and padding, the way tokens are put back, all auxiliary outputs of the training. Decided:

    - Logits are returned, where the released network ends in a softmax. Auxiliary outputs are upsampled after the
      softmax as there, and returned as logarithms.
    - A modality is dropped by a product with 0 or 1 instead of Boolean indexing, so that a step can be recorded.
    - An image that lacks a modality sends no gradient through that modality's own decoder; the authors train on
      complete images only.
    - Convolutions that are never called (262 656 parameters) are not built.
    - Modalities, classes and positions follow the task instead of being constants.

    Args:
        modalities: Number of modalities M.
        out_channels: Number of classes K.
        patch_size: Spatial size of the input; a multiple of 16 along each axis.
        options: Widths, dropout, and whether training draws sets of modalities.
    """

    takes_present = True

    def __init__(self, modalities: int, out_channels: int, patch_size: Sequence[int], options: MMFormerOptions) -> None:
        super().__init__()
        dims, hidden = len(patch_size), options.hidden_size
        convolution = Conv["conv", dims]
        widths = [options.width * 2**level for level in range(LEVELS)]
        self.drop_modalities = options.drop_modalities
        self.grid = tuple(side // TOKEN_SIDE for side in patch_size)

        def block() -> nn.Module:
            return transformer_block(hidden, options.mlp_dim, options.num_heads, options.dropout)

        self.encoders = nn.ModuleList(ModalityEncoder(dims, widths, "norm-conv") for _ in range(modalities))
        self.embeds = nn.ModuleList(convolution(widths[-1], hidden, 1) for _ in range(modalities))
        self.positions = nn.ParameterList(torch.zeros(1, math.prod(self.grid), hidden) for _ in range(modalities))
        self.within = nn.ModuleList(block() for _ in range(modalities))
        self.between = block()
        self.unembed = convolution(modalities * hidden, hidden, 1)

        sources = [*(modalities * width for width in widths[:-1]), hidden]
        self.fusions = nn.ModuleList(
            fusion_layers(dims, (source, width, width, width), "norm-conv", padding_mode="zeros")
            for source, width in zip(reversed(sources), reversed(widths), strict=True)
        )
        self.steps = nn.ModuleList(DecoderStep(dims, width, "norm-conv") for width in reversed(widths[1:]))
        self.coarse_heads = nn.ModuleList(convolution(width, out_channels, 1) for width in reversed(widths[1:]))
        self.head = convolution(widths[0], out_channels, 1)
        self.separate = SeparateDecoder(dims, widths, out_channels, "norm-conv")
        self.deep_supervision_weights = [1.0] * (modalities + LEVELS)
        draw_kernels(self)

    def forward(self, images: Tensor, present: Tensor | None = None) -> Tensor | list[Tensor]:
        """Segments images.

        Args:
            images: ``(B, M, *patch_size)``.
            present: ``(B, M)``, 1 where a modality is present and 0 where not; default: all are.

        Returns:
            Logits ``(B, K, *patch_size)``; in training mode a list: these, every modality's own, and those of coarser
            levels, finest first, all at full resolution.
        """
        fused = modalities_present(images, present, draw_sets if self.training and self.drop_modalities else None)
        columns = torch.split(images, 1, dim=1)
        features = [encoder(image) for encoder, image in zip(self.encoders, columns, strict=True)]
        skips = [
            keep(torch.stack(level, dim=1), fused).flatten(1, 2) for level in list(zip(*features, strict=True))[:-1]
        ]
        logits, coarse = self._decode([*skips, self._attend([levels[-1] for levels in features], fused)])
        if not self.training:
            return logits
        given = modalities_present(images, present)
        own = [
            without_gradient_where_absent(self.separate(levels), given[:, modality])
            for modality, levels in enumerate(features)
        ]
        return [logits, *own, *(finer_logits(each, 2 ** (level + 1)) for level, each in enumerate(coarse))]

    def _attend(self, features: Sequence[Tensor], present: Tensor) -> Tensor:
        """Maps the coarsest features of every modality to ``(B, hidden, *grid)`` through the Transformers."""
        tokens = [
            block(embed(x).flatten(2).transpose(1, 2) + positions)
            for x, embed, block, positions in zip(features, self.embeds, self.within, self.positions, strict=True)
        ]
        together = keep(torch.stack(tokens, dim=1), present).flatten(1, 2) + torch.cat([*self.positions], dim=1)
        attended = self.between(together)
        placed = attended.reshape(len(attended), math.prod(self.grid), -1).transpose(1, 2)
        unembedded: Tensor = self.unembed(placed.unflatten(2, self.grid))
        return unembedded

    def _decode(self, features: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Returns logits, and logits of coarser levels, finest first.

        Args:
            features: Of every level, finest first, those of the modalities side by side.
        """
        coarse: list[Tensor] = []
        x: Tensor = self.fusions[0](features[-1])
        levels = zip(self.steps, self.coarse_heads, self.fusions[1:], reversed(features[:-1]), strict=True)
        for step, head, fuse, skip in levels:
            assert isinstance(step, DecoderStep)
            coarse.insert(0, head(x))
            x = step.merge(fuse(skip), step.rise(x))
        return self.head(x), coarse


def build(task: Task, options: MMFormerOptions) -> MMFormer:
    """Builds mmFormer for a task.

    Args:
        task: Segmentation task.
        options: Widths, dropout, and whether training draws sets of modalities.

    Raises:
        StudyError: A side of the patch is not a multiple of 16, or below 32.
    """
    require_multiples(task.patch_size, TOKEN_SIDE, f"mmformer makes one token of {TOKEN_SIDE} voxels per side")
    require_at_least(task.patch_size, 2 * TOKEN_SIDE, "mmformer reflects its coarsest map at the border")
    return MMFormer(task.in_channels, task.out_channels, task.patch_size, options)
