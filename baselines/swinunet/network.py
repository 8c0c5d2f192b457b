"""Swin-Unet, built from timm's Swin blocks.

Source: Cao et al., Swin-Unet: Unet-like Pure Transformer for Medical Image Segmentation, ECCV Workshops 2022;
``networks/swin_transformer_unet_skip_expand_decoder_sys.py`` of HuCaoFighting/Swin-Unet, commit f48f623, which carries
no licence file. Nothing is copied: blocks, patch embedding and patch merging are timm's (Apache-2.0), the rest is
written from the published facts.

Kept: Swin-Tiny with two blocks a level, patch merging and expanding, the concatenation with a linear layer after it,
the final expansion by 4, a 1x1 head without bias, drop-path rates mirrored in the decoder, truncated-normal linear
layers.

Decided, each as in the released code:

* Skips are the inputs of the encoder's levels (the embedding and the merged maps), not the outputs of their blocks.
* The decoder has the encoder's depths; the released setting ``DECODER_DEPTHS`` is ignored there. The paper's figure
  differs: option ``decoder_depths``.
* A grid that one window covers is not shifted and has a smaller bias table.

Ours: windows that fit patches other than 224, square or not (:mod:`baselines.swinunet.windows`); any number of
modalities.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from timm.layers.patch_embed import PatchEmbed
from timm.layers.weight_init import trunc_normal_
from timm.models.swin_transformer import PatchMerging, SwinTransformerBlock
from torch import Tensor, nn

from baselines.shared.patch_expanding import PatchExpanding
from baselines.shared.pretrained import wanted
from baselines.swinunet.pretrained import load_swin
from baselines.swinunet.windows import TOKEN_SIDE, choose

if TYPE_CHECKING:
    from baselines.swinunet import SwinUNetOptions
    from harness.segmenters.contract import Task


class EncoderLevel(nn.Module):
    """Blocks, then patch merging.

    Args:
        blocks: Swin blocks on this level's grid.
        merge: Patch merging to the next level; the identity at the deepest.
    """

    def __init__(self, blocks: nn.Sequential, merge: nn.Module) -> None:
        super().__init__()
        self.blocks = blocks
        self.merge = merge

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(B, H, W, C)`` to ``(B, H / 2, W / 2, 2 C)``; to its own shape at the deepest level."""
        output: Tensor = self.merge(self.blocks(x))
        return output


class DecoderLevel(nn.Module):
    """Concatenation with the skip, blocks, then patch expanding.

    Args:
        channels: Width C of a token, of the input and of the skip.
        blocks: Swin blocks on this level's grid.
        expand: Patch expansion to the next finer level; the identity at the finest.
    """

    def __init__(self, channels: int, blocks: nn.Sequential, expand: nn.Module) -> None:
        super().__init__()
        self.fuse = nn.Linear(2 * channels, channels)
        self.blocks = blocks
        self.expand = expand

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Maps twice ``(B, H, W, C)`` to ``(B, 2 H, 2 W, C / 2)``; to the input's shape at the finest level."""
        output: Tensor = self.expand(self.blocks(self.fuse(torch.cat([x, skip], dim=-1))))
        return output


class SwinUNet(nn.Module):
    """Swin-Unet.

    Args:
        in_channels: Number of modalities M.
        out_channels: Number of output channels K.
        patch_size: Height and width of the input in pixels, multiples of 32.
        window: Tokens of a window along each axis.
        options: Widths, depths and drop-path.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        patch_size: tuple[int, ...],
        window: tuple[int, int],
        options: SwinUNetOptions,
    ) -> None:
        super().__init__()
        depths = options.depths
        levels = range(len(depths))
        widths = [options.embed_dim * 2**level for level in levels]
        ends = [sum(depths[:level]) for level in range(len(depths) + 1)]
        rates = _ramp(0.0, options.drop_path, ends[-1])
        level_rates = [rates[start:end] for start, end in pairwise(ends)]

        none, shift = (0, 0), (window[0] // 2, window[1] // 2)

        def blocks(level: int, drop_paths: Sequence[float]) -> nn.Sequential:
            grid = tuple(side // TOKEN_SIDE // 2**level for side in patch_size)
            return nn.Sequential(
                *(
                    SwinTransformerBlock(
                        widths[level],
                        grid,
                        num_heads=options.heads * 2**level,
                        window_size=window,
                        shift_size=shift if index % 2 else none,  # type: ignore[arg-type]
                        drop_path=drop_path,
                    )
                    for index, drop_path in enumerate(drop_paths)
                )
            )

        def decoder_blocks(level: int) -> nn.Sequential:
            depth = depths[level] if options.decoder_depths is None else options.decoder_depths[level]
            first, last = level_rates[level][0], level_rates[level][-1]
            return blocks(level, _ramp(first, last, depth))

        self.embed = PatchEmbed(
            None, TOKEN_SIDE, in_channels, widths[0], norm_layer=nn.LayerNorm, output_fmt="NHWC", strict_img_size=False
        )
        self.encoder = nn.ModuleList(
            EncoderLevel(
                blocks(level, level_rates[level]),
                PatchMerging(widths[level]) if level < levels[-1] else nn.Identity(),
            )
            for level in levels
        )
        self.norm = nn.LayerNorm(widths[-1])
        self.expand = PatchExpanding(widths[-1], widths[-2])
        self.decoder = nn.ModuleList(
            DecoderLevel(
                widths[level],
                decoder_blocks(level),
                PatchExpanding(widths[level], widths[level - 1]) if level else nn.Identity(),
            )
            for level in reversed(levels[:-1])
        )
        self.norm_up = nn.LayerNorm(widths[0])
        self.up = PatchExpanding(widths[0], widths[0], TOKEN_SIDE)
        self.head = nn.Conv2d(widths[0], out_channels, 1, bias=False)
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor:
        """Maps images ``(B, M, H, W)`` to logits ``(B, K, H, W)``."""
        x = self.embed(x)
        skips = []
        for level in self.encoder:
            skips.append(x)
            x = level(x)
        x = self.expand(self.norm(x))
        for level, skip in zip(self.decoder, reversed(skips[:-1]), strict=True):
            x = level(x, skip)
        x = self.up(self.norm_up(x))
        logits: Tensor = self.head(x.permute(0, 3, 1, 2))
        return logits


def build(task: Task, options: SwinUNetOptions) -> SwinUNet:
    """Builds Swin-Unet for a task.

    Args:
        task: Segmentation task.
        options: Widths, depths, window, drop-path and the start.

    Raises:
        StudyError: A side of the patch is not a multiple of 32, the window does not tile it, or the pretrained weights
            do not fit.
    """
    window = choose(task.patch_size, options.window)
    network = SwinUNet(task.in_channels, task.out_channels, task.patch_size, window, options)
    if wanted(options.pretrained):
        load_swin(network, Path(options.pretrained))
    return network


def _ramp(first: float, last: float, count: int) -> list[float]:
    return [first + (last - first) * index / max(count - 1, 1) for index in range(count)]


def _initialise(module: nn.Module) -> None:
    """Draws linear layers as the released code does; everything else keeps its own initialisation."""
    if isinstance(module, nn.Linear):
        trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
