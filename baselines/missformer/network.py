"""MISSFormer, with attention and patch embedding of timm's PVT v2.

Source: Huang et al., MISSFormer: An Effective Medical Image Segmentation Transformer, arXiv 2021 (IEEE TMI 2023);
``networks/MISSFormer.py`` of ZhifangDeng/MISSFormer, commit 007424e, which carries no licence. Nothing is copied; the
code is written from the published facts. SegFormer's own encoder, which smp ships, is licensed for non-commercial use,
so attention and patch embedding, the same in function, are timm's (Apache-2.0).

Kept: an encoder of MiT-B1's layout, feed-forwards with a layer norm over convolution and identity, a bridge of four
layers over all scales, a decoder that expands patches and concatenates the bridge's maps. No positions, no dropout.

Decided, each as in the released code:

* The deepest decoder level only expands. The linear layer and the blocks that the released code builds there, and two
  layer norms of every feed-forward, are never called: option ``dead_layers``.
* Keys and values of the bridge mix channels with positions (:class:`baselines.missformer.bridge.ScaleReduction`).
* The decoder starts Xavier-uniform with biases at 0; encoder and bridge start with torch's defaults.

Ours: any number of modalities; any patch, square or not, with sides that are multiples of 32, where the released code
writes 224's token counts out. The first linear layer of a feed-forward is evaluated once, there twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from timm.models.pvt_v2 import OverlapPatchEmbed
from torch import Tensor, nn

from baselines.missformer.blocks import Block
from baselines.missformer.bridge import BridgeLayer, join, split
from baselines.shared.patch_expanding import PatchExpanding
from baselines.shared.patches import require_multiples

if TYPE_CHECKING:
    from baselines.missformer import MISSFormerOptions
    from harness.segmenters.contract import Task

WIDTHS = (1, 2, 5, 8)
"""Channels of the levels in units of the option ``width``, and their attention heads."""
REDUCTIONS = (8, 4, 2, 1)
"""Factors from the levels' grids to the coarsest one, on which keys and values lie."""
STRIDE = 4
"""From the image to the finest level."""
DECODER_DEPTH = 2
MULTIPLE = STRIDE * REDUCTIONS[0]


class EncoderLevel(nn.Module):
    """Overlapping patch embedding, blocks, layer norm.

    Args:
        embed: Patch embedding of the image or of the finer level.
        blocks: Blocks on this level's grid.
        channels: Width C of a token.
    """

    def __init__(self, embed: OverlapPatchEmbed, blocks: nn.Sequential, channels: int) -> None:
        super().__init__()
        self.embed = embed
        self.blocks = blocks
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(B, C', H, W)`` to ``(B, H / stride, W / stride, C)``."""
        output: Tensor = self.norm(self.blocks(self.embed(x)))
        return output


class DecoderLevel(nn.Module):
    """Concatenation with the skip, a linear layer, blocks, then patch expanding.

    Args:
        in_channels: Channels of the coarser level's output and of the skip together.
        channels: Width C of a token.
        blocks: Blocks on this level's grid.
        expand: Patch expansion to the next finer grid.
    """

    def __init__(self, in_channels: int, channels: int, blocks: nn.Sequential, expand: nn.Module) -> None:
        super().__init__()
        self.fuse = nn.Linear(in_channels, channels)
        self.blocks = blocks
        self.expand = expand

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Maps two ``(B, H, W, ...)`` to the expanded grid ``(B, factor * H, factor * W, ...)``."""
        output: Tensor = self.expand(self.blocks(self.fuse(torch.cat([x, skip], dim=-1))))
        return output


class MISSFormer(nn.Module):
    """MISSFormer.

    Attributes:
        dead_parameters: Names of the parameters that ``dead_layers: keep`` builds without any effect.

    Args:
        in_channels: Number of modalities M.
        out_channels: Number of output channels K.
        options: Widths, depths and what to do with the released code's dead layers.
    """

    def __init__(self, in_channels: int, out_channels: int, options: MISSFormerOptions) -> None:
        super().__init__()
        keep = options.dead_layers == "keep"
        channels = [options.width * factor for factor in WIDTHS]
        deepest = len(channels) - 1

        def blocks(level: int, depth: int) -> nn.Sequential:
            return nn.Sequential(
                *(Block(channels[level], WIDTHS[level], REDUCTIONS[level], spares=keep) for _ in range(depth))
            )

        def expand(level: int) -> PatchExpanding:
            if level == 0:
                return PatchExpanding(channels[0], channels[0], STRIDE)
            return PatchExpanding(channels[level], channels[level] // 2)

        self.channels = channels
        self.encoder = nn.ModuleList(
            EncoderLevel(_embedding(level, [in_channels, *channels]), blocks(level, depth), channels[level])
            for level, depth in enumerate(options.depths)
        )
        self.bridge = nn.ModuleList(
            BridgeLayer(channels, REDUCTIONS[:-1], spares=keep) for _ in range(options.bridge_depth)
        )
        self.expand = expand(deepest)
        self.decoder = nn.ModuleList(
            DecoderLevel(
                channels[level + 1] // 2 + channels[level], channels[level], blocks(level, DECODER_DEPTH), expand(level)
            )
            for level in reversed(range(deepest))
        )
        self.head = nn.Conv2d(channels[0], out_channels, 1)
        self.unused = nn.ModuleDict()
        if keep:
            self.unused["fuse"] = nn.Linear(2 * channels[-1], channels[-1])
            self.unused["blocks"] = blocks(deepest, DECODER_DEPTH)
        for part in (self.expand, self.decoder, self.head, self.unused):
            part.apply(_initialise)
        self.dead_parameters = frozenset(
            name for name, _ in self.named_parameters() if name.startswith("unused.") or ".spares." in name
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps images ``(B, M, H, W)`` to logits ``(B, K, H, W)``."""
        maps = []
        for level in self.encoder:
            maps.append(level(x))
            x = maps[-1].permute(0, 3, 1, 2)
        sizes = [(scale.shape[1], scale.shape[2]) for scale in maps]
        tokens = join(maps)
        for layer in self.bridge:
            tokens = layer(tokens, sizes)
        *skips, x = split(tokens, self.channels, sizes)
        x = self.expand(x)
        for level, skip in zip(self.decoder, reversed(skips), strict=True):
            x = level(x, skip)
        logits: Tensor = self.head(x.permute(0, 3, 1, 2))
        return logits


def build(task: Task, options: MISSFormerOptions) -> MISSFormer:
    """Builds MISSFormer for a task.

    Args:
        task: Segmentation task.
        options: Widths, depths and what to do with the released code's dead layers.

    Raises:
        StudyError: A side of the patch is not a multiple of 32.
    """
    require_multiples(task.patch_size, MULTIPLE, f"missformer shrinks its input by {MULTIPLE}")
    return MISSFormer(task.in_channels, task.out_channels, options)


def _embedding(level: int, channels: Sequence[int]) -> OverlapPatchEmbed:
    kernel, stride = (7, STRIDE) if level == 0 else (3, 2)
    return OverlapPatchEmbed(kernel, stride, channels[level], channels[level + 1])


def _initialise(module: nn.Module) -> None:
    """Draws the decoder's layers as the released code does."""
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
