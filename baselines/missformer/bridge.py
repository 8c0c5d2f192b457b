"""The paper's Enhanced Transformer Context Bridge: attention among the tokens of all scales.

The map of every scale is cut into tokens as wide as the finest map: a pixel of C channels becomes C / width consecutive
tokens. The tokens of all scales, finest first, form one sequence.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.missformer.blocks import FeedForward

Sizes = Sequence[tuple[int, int]]


def join(maps: Sequence[Tensor]) -> Tensor:
    """Turns maps ``(B, H, W, C)``, finest first, into one sequence ``(B, N, width)``; width is the finest map's C."""
    width = maps[0].shape[-1]
    return torch.cat([scale.reshape(len(scale), -1, width) for scale in maps], dim=1)


def split(tokens: Tensor, channels: Sequence[int], sizes: Sizes) -> list[Tensor]:
    """Turns a sequence back into maps ``(B, H, W, C)``; the inverse of :func:`join`.

    Args:
        tokens: ``(B, N, width)``.
        channels: C of every scale.
        sizes: H and W of every scale.
    """
    width = tokens.shape[-1]
    lengths = [math.prod(size) * count // width for size, count in zip(sizes, channels, strict=True)]
    parts = torch.split(tokens, lengths, dim=1)
    return [part.reshape(len(tokens), *size, -1) for part, size in zip(parts, sizes, strict=True)]


class ScaleReduction(nn.Module):
    """Reduces the finer scales to the grid of the coarsest, for keys and values.

    The strided convolution's output ``(B, C, h, w)`` is reread as ``(B, width, C / width * h * w)``: a token then holds
    every (C / width)-th channel, not the consecutive channels of a query's token. So does the released code.

    Args:
        channels: C of every scale.
        reductions: Factors to the coarsest grid, of all scales but the coarsest.
    """

    def __init__(self, channels: Sequence[int], reductions: Sequence[int]) -> None:
        super().__init__()
        self.channels = list(channels)
        self.convs = nn.ModuleList(
            nn.Conv2d(count, count, factor, stride=factor)
            for count, factor in zip(channels[:-1], reductions, strict=True)
        )
        self.norm = nn.LayerNorm(channels[0])

    def forward(self, tokens: Tensor, sizes: Sizes) -> Tensor:
        """Maps the sequence ``(B, N, width)`` of maps of the given sizes to ``(B, N', width)``."""
        *finer, coarsest = split(tokens, self.channels, sizes)
        batch, _, width = tokens.shape
        reduced = [
            conv(scale.permute(0, 3, 1, 2)).reshape(batch, width, -1).transpose(1, 2)
            for conv, scale in zip(self.convs, finer, strict=True)
        ]
        output: Tensor = self.norm(torch.cat([*reduced, coarsest.reshape(batch, -1, width)], dim=1))
        return output


class BridgeAttention(nn.Module):
    """Attention of one head from the tokens of all scales to their reduction.

    Args:
        channels: C of every scale.
        reductions: See :class:`ScaleReduction`.
    """

    def __init__(self, channels: Sequence[int], reductions: Sequence[int]) -> None:
        super().__init__()
        width = channels[0]
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)
        self.reduce = ScaleReduction(channels, reductions)

    def forward(self, tokens: Tensor, sizes: Sizes) -> Tensor:
        """Maps the sequence ``(B, N, width)`` of maps of the given sizes to the same shape."""
        query = self.q(tokens)
        key, value = self.kv(self.reduce(tokens, sizes)).chunk(2, dim=-1)
        attended = F.scaled_dot_product_attention(query[:, None], key[:, None], value[:, None])[:, 0]
        output: Tensor = self.proj(attended)
        return output


class BridgeLayer(nn.Module):
    """Attention among all scales, then a feed-forward on each scale's map, pre-norm and with identities.

    Args:
        channels: C of every scale.
        reductions: See :class:`ScaleReduction`.
        spares: See :class:`baselines.missformer.blocks.FeedForward`.
    """

    def __init__(self, channels: Sequence[int], reductions: Sequence[int], spares: bool) -> None:
        super().__init__()
        self.channels = list(channels)
        self.norm1 = nn.LayerNorm(channels[0])
        self.attn = BridgeAttention(channels, reductions)
        self.norm2 = nn.LayerNorm(channels[0])
        self.ffns = nn.ModuleList(FeedForward(count, spares) for count in channels)

    def forward(self, tokens: Tensor, sizes: Sizes) -> Tensor:
        """Maps the sequence ``(B, N, width)`` of maps of the given sizes to the same shape."""
        tokens = tokens + self.attn(self.norm1(tokens), sizes)
        maps = split(self.norm2(tokens), self.channels, sizes)
        return tokens + join([ffn(scale) for ffn, scale in zip(self.ffns, maps, strict=True)])
