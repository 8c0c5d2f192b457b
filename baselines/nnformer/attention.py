"""Attention blocks of nnFormer: windows of the map itself, and windows of the encoder's map."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from monai.networks.blocks.mlp import MLPBlock
from monai.networks.layers.drop_path import DropPath
from torch import Tensor, nn

from baselines.shared.windows import (
    RelativePositionBias,
    WindowAttention,
    attend,
    fit,
    in_windows,
    relative_position_index,
    shift_mask,
)


def released_index(window: Sequence[int]) -> Tensor:
    """Returns the rows of the position bias as the authors' code computes them.

    In three dimensions offsets along the first two axes are multiplied by 3 w - 1 and 2 w - 1 (w is the second axis'
    length) where (2 w - 1)(2 w - 1) and 2 w - 1 would give each offset a row of its own. Offsets collide, and only the
    first rows are ever read. In two dimensions the formula they extended is right. So it is taken here, as it is where
    theirs would leave the table (windows one token deep), which the authors never met.

    Args:
        window: Tokens of the window along each axis.

    Returns:
        ``(N, N)`` integers.
    """
    correct = relative_position_index(window)
    if len(window) != 3:
        return correct
    tokens = torch.cartesian_prod(*(torch.arange(length) for length in window))
    offsets = tokens[:, None] - tokens[None] + torch.tensor(window) - 1
    factors = (3 * window[1] - 1, 2 * window[1] - 1, 1)
    largest = sum((2 * length - 2) * factor for length, factor in zip(window, factors, strict=True))
    if largest >= math.prod(2 * length - 1 for length in window):
        return correct
    return (offsets * torch.tensor(factors)).sum(dim=-1)


class SkipAttention(nn.Module):
    """Attention within windows whose queries are the decoder's tokens themselves; keys and values are the encoder's.

    Args:
        channels: Width of a token.
        window: Tokens of the window along each axis.
        heads: Attention heads.
        index: Rows of the position bias, ``(N, N)``.
    """

    def __init__(self, channels: int, window: Sequence[int], heads: int, index: Tensor) -> None:
        super().__init__()
        self.heads = heads
        self.position_bias = RelativePositionBias(window, heads, index)
        self.kv = nn.Linear(channels, 2 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, skip: Tensor, up: Tensor, mask: Tensor | None = None) -> Tensor:
        """Maps two ``(B * windows, N, C)``, of the encoder and of the decoder, to one of that shape."""
        key, value = self.kv(skip).chunk(2, dim=-1)
        output: Tensor = self.proj(attend(up, key, value, self.heads, self.position_bias(), mask))
        return output


@dataclass(frozen=True)
class Geometry:
    """Shared settings of the blocks of one level of encoder or decoder.

    Attributes:
        channels: Width of a token.
        grid: Tokens along each axis of the map.
        window: Tokens a side of a window; a smaller map is one window.
        heads: Attention heads.
        mlp_ratio: Hidden width of the MLP in ``channels``.
        relative_index: Row of the position bias of two tokens.
    """

    channels: int
    grid: tuple[int, ...]
    window: int
    heads: int
    mlp_ratio: int
    relative_index: Literal["released", "correct"]


class _WindowBlock(nn.Module):
    """Shared parts of both blocks: norms, window partition, residual branches.

    Args:
        kind: Class of the attention.
        geometry: That of the level.
        shifted: Whether windows are shifted by half a window, along the axes that hold more than one.
        drop_path: Share of images that skip a residual branch in training.
    """

    def __init__(
        self, kind: type[WindowAttention] | type[SkipAttention], geometry: Geometry, shifted: bool, drop_path: float
    ) -> None:
        super().__init__()
        channels, grid = geometry.channels, geometry.grid
        half = geometry.window // 2 if shifted else 0
        self.window, self.shift = fit(grid, [geometry.window] * len(grid), [half] * len(grid))
        self.padding = [-side % length for side, length in zip(grid, self.window, strict=True)]
        make_index = released_index if geometry.relative_index == "released" else relative_position_index
        self.norm1 = nn.LayerNorm(channels)
        self.attention = kind(channels, self.window, geometry.heads, index=make_index(self.window))
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = MLPBlock(channels, geometry.mlp_ratio * channels)
        self.drop_path = DropPath(drop_path)
        padded = [side + more for side, more in zip(grid, self.padding, strict=True)]
        self.register_buffer("mask", shift_mask(padded, self.window, self.shift), persistent=False)
        self.mask: Tensor | None

    def _attend(self, *inputs: Tensor) -> Tensor:
        """Maps maps ``(B, *grid, C)`` to one; as in the released code, padding is neither masked nor kept."""
        grid = inputs[0].shape[1:-1]
        normed = [self.norm1(x) for x in inputs]
        if any(self.padding):
            ends = [end for more in reversed(self.padding) for end in (0, more)]
            normed = [F.pad(x, (0, 0, *ends)) for x in normed]
        x = in_windows(lambda *cut: self.attention(*cut, mask=self.mask), *normed, window=self.window, shift=self.shift)
        for axis, side in enumerate(grid, start=1):
            x = x.narrow(axis, 0, side)
        return x

    def _add(self, x: Tensor, attended: Tensor) -> Tensor:
        x = x + self.drop_path(attended)
        total: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return total


class SelfAttentionBlock(_WindowBlock):
    """Swin's block: window attention and an MLP, each behind a norm and beside the identity.

    Args:
        geometry: That of the level.
        shifted: Whether windows are shifted by half a window, along the axes that hold more than one.
        drop_path: Share of images that skip a residual branch in training.
    """

    def __init__(self, geometry: Geometry, shifted: bool, drop_path: float) -> None:
        super().__init__(WindowAttention, geometry, shifted, drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(B, *grid, C)`` to the same shape."""
        return self._add(x, self._attend(x))


class SkipAttentionBlock(_WindowBlock):
    """nnFormer's skip attention: the decoder's map asks, the encoder's map of that resolution answers.

    Both maps share the first norm, and both are added to the answer.

    Args:
        geometry: That of the level.
        shifted: Whether windows are shifted by half a window, along the axes that hold more than one.
        drop_path: Share of images that skip a residual branch in training.
    """

    def __init__(self, geometry: Geometry, shifted: bool, drop_path: float) -> None:
        super().__init__(SkipAttention, geometry, shifted, drop_path)

    def forward(self, skip: Tensor, up: Tensor) -> Tensor:
        """Maps the encoder's and the decoder's ``(B, *grid, C)`` to one of that shape."""
        return self._add(skip + up, self._attend(skip, up))
