"""TransBTS: a convolutional encoder, a Transformer on its coarsest map, a convolutional decoder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from monai.networks.layers.factories import Conv, Norm
from torch import Tensor, nn

from baselines.shared.monai_blocks import transformer_block
from baselines.shared.patches import require_multiples
from baselines.transbts.blocks import ChannelDropout, PostNormBlock, PreNormBlock, UpBlock, conv_norm_relu

if TYPE_CHECKING:
    from baselines.transbts import TransBTSOptions
    from harness.segmenters.contract import Task

BLOCKS_PER_LEVEL = (1, 2, 2, 4)
"""Residual blocks of the encoder, finest level first; each level but the first halves the resolution."""
TOKEN_SIDE = 2 ** (len(BLOCKS_PER_LEVEL) - 1)
"""Voxels per side of what becomes one token."""


class TransBTS(nn.Module):
    """TransBTS (Wang et al., MICCAI 2021), in two or three dimensions.

    Official code: Rubics-Xuan/TransBTS (Apache-2.0); no line of it is copied, the Transformer is MONAI's. Kept: every
    layer that enters its output, their order, all initialisations (PyTorch's own; positions start at 0) and dropouts.
    Decided:

    - The released stem drops channels in evaluation too (a functional dropout whose mode is never passed). Here it does
      so in training only, because a benchmark needs one prediction for one image; ``stem_dropout: always`` restores it.
    - The decoder reads the last Transformer block itself. The layer norm after it, and the linear patch encoder beside
      the convolutional one, never receive a gradient in the released code and are not built (263 680 parameters).
    - The softmax at the end, and the second one of the released test script, are left out: logits are returned.
    - Modalities, classes and positions follow the task instead of being constants.
    - The output of attention is dropped twice in the released code, by its own dropout and by that of its residual
      branch. Two dropouts in a row are one whose rate is the probability that either drops.

    Args:
        in_channels: Number of modalities.
        out_channels: Number of classes.
        patch_size: Spatial size of the input; a multiple of 8 along each axis.
        options: Widths, depth of the Transformer and dropouts.
    """

    def __init__(
        self, in_channels: int, out_channels: int, patch_size: Sequence[int], options: TransBTSOptions
    ) -> None:
        super().__init__()
        dims, hidden = len(patch_size), options.hidden_size
        convolution = Conv["conv", dims]
        widths = [options.width * 2**level for level in range(len(BLOCKS_PER_LEVEL))]
        self.grid = tuple(side // TOKEN_SIDE for side in patch_size)

        self.stem = convolution(in_channels, widths[0], 3, padding=1)
        self.stem_dropout = ChannelDropout(options.stem_dropout_rate, always=options.stem_dropout == "always")
        self.levels = nn.ModuleList(
            nn.Sequential(*(PreNormBlock(dims, width) for _ in range(blocks)))
            for width, blocks in zip(widths, BLOCKS_PER_LEVEL, strict=True)
        )
        self.downs = nn.ModuleList(convolution(width, 2 * width, 3, stride=2, padding=1) for width in widths[:-1])

        self.embed = nn.Sequential(
            Norm["batch", dims](widths[-1]), nn.ReLU(), convolution(widths[-1], hidden, 3, padding=1)
        )
        self.positions = nn.Parameter(torch.zeros(1, math.prod(self.grid), hidden))
        self.token_dropout = nn.Dropout(options.dropout)
        self.transformer = nn.Sequential(
            *(
                transformer_block(options.hidden_size, options.mlp_dim, options.num_heads, options.dropout)
                for _ in range(options.num_layers)
            )
        )
        self.unembed = nn.Sequential(
            conv_norm_relu(dims, hidden, widths[-1]), conv_norm_relu(dims, widths[-1], widths[-1])
        )
        self.neck = PostNormBlock(dims, widths[-1])

        self.ups = nn.ModuleList(UpBlock(dims, width) for width in widths[:0:-1])
        self.refinements = nn.ModuleList(PostNormBlock(dims, width) for width in widths[-2::-1])
        self.head = convolution(widths[0], out_channels, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Segments images.

        Args:
            images: ``(B, M, *patch_size)``.

        Returns:
            Logits ``(B, K, *patch_size)``.
        """
        x = self.stem_dropout(self.stem(images))
        skips = []
        for level, down in zip(self.levels, self.downs, strict=False):
            skips.append(level(x))
            x = down(skips[-1])
        x = self.neck(self.unembed(self._attend(self.levels[-1](x))))
        for up, refine, skip in zip(self.ups, self.refinements, reversed(skips), strict=True):
            x = refine(up(x, skip))
        logits: Tensor = self.head(x)
        return logits

    def _attend(self, x: Tensor) -> Tensor:
        """Maps ``(B, C, *grid)`` to ``(B, hidden, *grid)`` through the Transformer."""
        tokens = self.embed(x).flatten(2).transpose(1, 2)
        tokens = self.transformer(self.token_dropout(tokens + self.positions))
        attended: Tensor = tokens.transpose(1, 2).unflatten(2, self.grid)
        return attended


def build(task: Task, options: TransBTSOptions) -> TransBTS:
    """Builds TransBTS for a task.

    Args:
        task: Segmentation task.
        options: Widths, depth of the Transformer and dropouts.

    Raises:
        StudyError: A side of the patch is not a multiple of 8.
    """
    require_multiples(task.patch_size, TOKEN_SIDE, f"transbts makes one token of {TOKEN_SIDE} voxels per side")
    return TransBTS(task.in_channels, task.out_channels, task.patch_size, options)
