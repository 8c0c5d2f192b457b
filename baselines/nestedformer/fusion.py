"""Nested modality-aware feature aggregation (NMaFA): attention within the joint maps, then to each modality."""

from collections.abc import Sequence
from math import prod

import torch
from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from baselines.nestedformer.attention import EPSILON, Attention, WindowAttention, mlp
from baselines.shared.precision import in_full_precision_on_cpu
from baselines.shared.windows import in_windows

BLOCKS = 2
"""Blocks of tri-oriented attention."""


class TriOrientedBlock(nn.Module):
    """A pre-norm Transformer block whose attention is a sum over three neighbourhoods.

    They are the slice across the first axis, the line along the first axis, and a window. In two dimensions a slice is
    a row and a line is a column.

    Source: ``medical/model/fusion/multi_spatial_att.py`` of 920232796/NestedFormer.

    Args:
        channels: Width of a token.
        grid: Tokens along each axis.
        window: Tokens of a window along each axis.
        heads: Attention heads.
        dropout: Dropout of the MLP.
        positions: Whether embeddings of the positions in slice and line are added.
    """

    def __init__(
        self,
        channels: int,
        grid: Sequence[int],
        window: Sequence[int],
        heads: int,
        dropout: float,
        positions: bool,
    ) -> None:
        super().__init__()
        self._slice = (1, *grid[1:])
        self._line = (grid[0], *(1 for _ in grid[1:]))
        self._window = tuple(window)
        self.attention_norm = nn.LayerNorm(channels, eps=EPSILON)
        self.slice_attention = Attention(channels, heads, prod(self._slice) if positions else 0)
        self.line_attention = Attention(channels, heads, prod(self._line) if positions else 0)
        self.window_attention = WindowAttention(channels, window, heads)
        self.mlp_norm = nn.LayerNorm(channels, eps=EPSILON)
        self.mlp = mlp(channels, dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(B, *grid, channels)`` to the same shape."""
        normed = self.attention_norm(x)
        x = (
            x
            + in_windows(self.slice_attention, normed, window=self._slice)
            + in_windows(self.line_attention, normed, window=self._line)
            + in_windows(self.window_attention, normed, window=self._window)
        )
        return x + self.mlp(self.mlp_norm(x))  # type: ignore[no-any-return]


class SpatialAttention(nn.Module):
    """Joins the modalities' coarsest maps and relates every place to others.

    Args:
        modalities: Number of modalities M.
        channels: Channels of a modality's maps.
        grid: Voxels along each axis.
        window: Tokens of a window along each axis.
        heads: Attention heads.
        dropout: Dropout of the MLPs.
    """

    def __init__(
        self, modalities: int, channels: int, grid: Sequence[int], window: Sequence[int], heads: int, dropout: float
    ) -> None:
        super().__init__()
        self.embed = Conv[Conv.CONV, len(grid)](modalities * channels, channels, 1)
        self.blocks = nn.Sequential(
            *(TriOrientedBlock(channels, grid, window, heads, dropout, positions=index == 0) for index in range(BLOCKS))
        )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps M of ``(B, channels, *grid)`` to one of the same shape."""
        x = self.embed(torch.cat(list(maps), dim=1))
        return self.blocks(x.movedim(1, -1)).movedim(-1, 1)  # type: ignore[no-any-return]


class TokenLearner(nn.Module):
    """Sums a map up in a few tokens: each is the mean of the map, weighted with a mask the map gives.

    Args:
        channels: Channels of the maps.
        tokens: Number of tokens.
        dims: Spatial dimensions.
    """

    def __init__(self, channels: int, tokens: int, dims: int) -> None:
        super().__init__()
        self.masks = Conv[Conv.CONV, dims](channels, tokens, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(B, channels, *grid)`` to ``(B, tokens, channels)``."""
        masks = in_full_precision_on_cpu(self.masks, x).sigmoid().flatten(2)
        return masks @ x.flatten(2).transpose(1, 2) / masks.shape[2]


class CrossModalityAttention(nn.Module):
    """Post-norm Transformer block: every position of the joint maps attends to tokens of every modality.

    Source: ``medical/model/fusion/cross_modality_att.py`` of 920232796/NestedFormer.

    Args:
        modalities: Number of modalities M.
        channels: Channels of the maps.
        grid: Voxels along each axis.
        heads: Attention heads.
        tokens: Tokens of a modality.
        dropout: Dropout of the MLP.
    """

    def __init__(
        self, modalities: int, channels: int, grid: Sequence[int], heads: int, tokens: int, dropout: float
    ) -> None:
        super().__init__()
        conv = Conv[Conv.CONV, len(grid)]
        self.embeds = nn.ModuleList(conv(channels, channels, 1) for _ in range(modalities))
        self.positions = nn.ParameterList(torch.zeros(1, prod(grid), channels) for _ in range(modalities))
        self.learn_tokens = TokenLearner(channels, tokens, len(grid))
        self.unused_norm = nn.LayerNorm(channels, eps=EPSILON)
        self.attention = Attention(channels, heads)
        self.attention_norm = nn.LayerNorm(channels, eps=EPSILON)
        self.mlp = mlp(channels, dropout)
        self.mlp_norm = nn.LayerNorm(channels, eps=EPSILON)

    def forward(self, x: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """Returns the joint maps, complemented by each modality.

        Args:
            x: (B, channels, *grid), the joint maps.
            maps: M of (B, channels, *grid), the modalities'.

        Returns:
            (B, channels, *grid).
        """
        tokens = []
        for embed, positions, each in zip(self.embeds, self.positions, maps, strict=True):
            placed = embed(each) + positions.transpose(1, 2).reshape(1, *each.shape[1:])
            tokens.append(self.learn_tokens(placed))
        queries = x.flatten(2).transpose(1, 2)
        queries = self.attention_norm(queries + self.attention(queries, torch.cat(tokens, dim=1)))
        queries = self.mlp_norm(queries + self.mlp(queries))
        return queries.transpose(1, 2).reshape(x.shape)  # type: ignore[no-any-return]


class NMaFA(nn.Module):
    """Spatial attention within the joint maps, then attention from them to each modality.

    Args:
        modalities: Number of modalities M.
        channels: Channels of a modality's maps.
        grid: Voxels along each axis.
        window: Tokens of a window along each axis.
        heads: Attention heads.
        tokens: Tokens of a modality.
        dropout: Dropout of the MLPs.
    """

    def __init__(
        self,
        modalities: int,
        channels: int,
        grid: Sequence[int],
        window: Sequence[int],
        heads: int,
        tokens: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.spatial = SpatialAttention(modalities, channels, grid, window, heads, dropout)
        self.cross = CrossModalityAttention(modalities, channels, grid, heads, tokens, dropout)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps M of ``(B, channels, *grid)`` to one of the same shape."""
        return self.cross(self.spatial(maps), maps)  # type: ignore[no-any-return]
