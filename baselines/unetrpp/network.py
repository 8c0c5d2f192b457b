"""UNETR++: blocks of paired attention between convolutional ends."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from monai.networks.blocks.dynunet_block import UnetResBlock
from monai.networks.layers.factories import Conv, Dropout
from torch import Tensor, nn
from torch.nn import functional

from baselines.shared.patches import require_more_than_one_voxel, require_multiples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from baselines.unetrpp import UNETRPPOptions
    from harness.segmenters.contract import Task

TOKEN_SIDE = 4
"""Voxels per side of a token at the finest level; each coarser level doubles it."""
LEVELS = 4
FIRST_SCALE = 1e-6
"""Initial scale of a residual branch of attention."""


class PairedAttention(nn.Module):
    """Attention between channels, and between places on few projected tokens; queries and keys are shared.

    Args:
        tokens: Number of tokens N.
        channels: Width C of a token.
        projected: Number of tokens that keys and values are projected to.
        heads: Attention heads.
        dropout: Dropout of both attentions.
    """

    def __init__(self, tokens: int, channels: int, projected: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.channel_temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.place_temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkvv = nn.Linear(channels, 4 * channels, bias=False)
        limit = 1 / math.sqrt(projected)
        self.project = nn.Parameter(nn.init.uniform_(torch.empty(tokens, projected), -limit, limit))
        self.channel_dropout = nn.Dropout(dropout)
        self.place_dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """Maps ``(B, N, C)`` to the same shape."""
        batch, number, channels = tokens.shape
        split = self.qkvv(tokens).reshape(batch, number, 4, self.heads, channels // self.heads)
        query, key, of_channels, of_places = split.permute(2, 0, 3, 4, 1).unbind(0)  # each (B, heads, C / heads, N)
        fewer_keys, fewer_values = key @ self.project, of_places @ self.project
        query, key = functional.normalize(query, dim=-1), functional.normalize(key, dim=-1)

        weights = (query @ key.transpose(-2, -1) * self.channel_temperature).softmax(dim=-1)
        by_channel = self.channel_dropout(weights) @ of_channels
        weights = (query.transpose(-2, -1) @ fewer_keys * self.place_temperature).softmax(dim=-1)
        by_place = self.place_dropout(weights) @ fewer_values.transpose(-2, -1)
        # The second is put back as released: with tokens and channels mixed.
        mixed: Tensor = by_place.permute(0, 3, 1, 2).reshape(tokens.shape)
        return by_channel.permute(0, 3, 1, 2).reshape(tokens.shape) + mixed


class PairedBlock(nn.Module):
    """Paired attention on tokens with positions, then a residual block of convolutions.

    Args:
        grid: Size of the map, one token a place.
        channels: Channels.
        projected: Number of tokens that keys and values are projected to.
        options: Heads and dropout.
    """

    def __init__(self, grid: Sequence[int], channels: int, projected: int, options: UNETRPPOptions) -> None:
        super().__init__()
        dims = len(grid)
        self.positions = nn.Parameter(torch.zeros(1, math.prod(grid), channels))
        self.norm = nn.LayerNorm(channels)
        self.scale = nn.Parameter(torch.full((channels,), FIRST_SCALE))
        self.attention = PairedAttention(math.prod(grid), channels, projected, options.num_heads, options.dropout)
        self.convs = UnetResBlock(dims, channels, channels, kernel_size=3, stride=1, norm_name="batch")
        self.finish = nn.Sequential(
            Dropout["dropout", dims](options.dropout), Conv["conv", dims](channels, channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(B, C, *grid)`` to the same shape."""
        tokens = x.flatten(2).transpose(1, 2) + self.positions
        tokens = tokens + self.scale * self.attention(self.norm(tokens))
        attended = tokens.transpose(1, 2).reshape(x.shape)
        output: Tensor = attended + self.finish(self.convs(attended))
        return output


class UNETRPP(nn.Module):
    """UNETR++ (Shaker et al., TMI 2024), in two or three dimensions.

    Official code: Amshaker/unetr_plus_plus (Apache-2.0), network for brain tumours; no line of it was copied, blocks
    of convolutions are MONAI's. Kept: every layer and its order, initialisations and dropouts, and how the result of
    attention between places is put back. Decided:

    - With deep supervision three outputs are returned in training mode only, with weights 1, 1/2 and 1/4, normalised.
    - Group norms have as many groups as channels come in, as released, as far as those divide the width.
    - Modalities, classes and both tables follow the task instead of being constants.

    Args:
        in_channels: Number of modalities.
        out_channels: Number of classes.
        patch_size: Spatial size of the input; a multiple of 32 along each axis.
        options: Widths, depths, heads, dropout and deep supervision.
    """

    def __init__(self, in_channels: int, out_channels: int, patch_size: Sequence[int], options: UNETRPPOptions) -> None:
        super().__init__()
        dims = len(patch_size)
        conv, up = Conv["conv", dims], Conv["convtrans", dims]
        widths = [options.width * 2**level for level in range(LEVELS)]
        grids = [tuple(side // (TOKEN_SIDE * 2**level) for side in patch_size) for level in range(LEVELS)]
        projected = [*[options.tokens] * (LEVELS - 1), options.coarsest_tokens]

        before = [in_channels, *widths[:-1]]
        strides = [TOKEN_SIDE, *[2] * (LEVELS - 1)]
        self.downs = nn.ModuleList(
            nn.Sequential(conv(come, go, stride, stride=stride, bias=False), nn.GroupNorm(math.gcd(come, go), go))
            for come, go, stride in zip(before, widths, strides, strict=True)
        )
        self.levels = nn.ModuleList(
            nn.Sequential(*(PairedBlock(grid, width, tokens, options) for _ in range(depth)))
            for grid, width, tokens, depth in zip(grids, widths, projected, options.depths, strict=True)
        )
        self.ups = nn.ModuleList(up(width, width // 2, 2, stride=2, bias=False) for width in widths[:0:-1])
        self.decoder = nn.ModuleList(
            nn.Sequential(*(PairedBlock(grid, width, options.tokens, options) for _ in range(options.decoder_depth)))
            for grid, width in zip(grids[-2::-1], widths[-2::-1], strict=True)
        )
        fine = options.width // 2
        self.image = UnetResBlock(dims, in_channels, fine, kernel_size=3, stride=1, norm_name="instance")
        self.last_up = up(options.width, fine, TOKEN_SIDE, stride=TOKEN_SIDE, bias=False)
        self.last = UnetResBlock(dims, fine, fine, kernel_size=3, stride=1, norm_name="instance")
        self.head = conv(fine, out_channels, 1)
        self._supervise_deeply = options.deep_supervision
        if options.deep_supervision:
            self.coarse_heads = nn.ModuleList(conv(width, out_channels, 1) for width in widths[:2])
            self.deep_supervision_weights = [4 / 7, 2 / 7, 1 / 7]
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)

    def forward(self, images: Tensor) -> Tensor | list[Tensor]:
        """Segments images.

        Args:
            images: ``(B, M, *patch_size)``.

        Returns:
            Logits ``(B, K, *patch_size)``; in training mode with deep supervision a list: these, those at a quarter
            and at an eighth of the resolution.
        """
        features = []
        x = images
        for down, level in zip(self.downs, self.levels, strict=True):
            x = level(down(x))
            features.append(x)
        decoded = []
        for up, level, skip in zip(self.ups, self.decoder, features[-2::-1], strict=True):
            x = level(up(x) + skip)
            decoded.append(x)
        logits: Tensor = self.head(self.last(self.last_up(x) + self.image(images)))
        if not (self.training and self._supervise_deeply):
            return logits
        coarse = zip(self.coarse_heads, reversed(decoded), strict=False)
        return [logits, *(head(features) for head, features in coarse)]


def build(task: Task, options: UNETRPPOptions) -> UNETRPP:
    """Builds UNETR++ for a task.

    Args:
        task: Segmentation task.
        options: Widths, depths, heads, dropout and deep supervision.

    Raises:
        StudyError: A side of the patch is not a multiple of 32, or the coarsest map would be a single voxel.
    """
    unit = TOKEN_SIDE * 2 ** (LEVELS - 1)
    require_multiples(task.patch_size, unit, f"unetrpp makes one token of {unit} voxels per side at its coarsest level")
    require_more_than_one_voxel(task.patch_size, unit, "unetrpp")
    return UNETRPP(task.in_channels, task.out_channels, task.patch_size, options)
