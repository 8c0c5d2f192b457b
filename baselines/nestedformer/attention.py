"""Attention as NestedFormer uses it: along one orientation, in windows, and from one set of tokens to another."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from baselines.shared.windows import attend, relative_position_index

EPSILON = 1e-6
"""Of every layer norm in a Transformer block, as in the released code; those of the embeddings have PyTorch's 1e-5."""


def mlp(channels: int, dropout: float) -> nn.Sequential:
    """Returns the MLP of a Transformer block, twice as wide inside.

    Args:
        channels: Width of a token.
        dropout: Dropout probability after either layer.
    """
    return nn.Sequential(
        nn.Linear(channels, 2 * channels),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Linear(2 * channels, channels),
        nn.Dropout(dropout),
    )


class Attention(nn.Module):
    """Multi-head attention with four separate projections, to itself or to other tokens.

    Args:
        channels: Width of a token.
        heads: Attention heads.
        positions: Number of tokens, where a learned embedding of their positions is added first; otherwise 0.
    """

    def __init__(self, channels: int, heads: int, positions: int = 0) -> None:
        super().__init__()
        self.heads = heads
        self.positions = nn.Parameter(torch.zeros(1, positions, channels)) if positions else None
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Returns the attended tokens.

        Args:
            x: (B, N, channels).
            context: (B, N', channels), where to gather it; ``x`` itself where not given.

        Returns:
            (B, N, channels).
        """
        if self.positions is not None:
            x = x + self.positions
        context = x if context is None else context
        gathered = attend(self.query(x), self.key(context), self.value(context), self.heads)
        return self.out(gathered)  # type: ignore[no-any-return]


class WindowAttention(nn.Module):
    """Attention within a window, with a bias for every offset that all heads share.

    Args:
        channels: Width of a token.
        window: Tokens of a window along each axis.
        heads: Attention heads.
    """

    index: Tensor

    def __init__(self, channels: int, window: Sequence[int], heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.bias = nn.Parameter(torch.randn([2 * side - 1 for side in window]))
        # an offset is counted from the query to the key here, the other way round in Swin
        self.register_buffer("index", relative_position_index(window).T, persistent=False)
        self.qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(B * windows, N, channels)`` to the same shape."""
        query, key, value = self.qkv(x).chunk(3, dim=-1)
        return self.out(attend(query, key, value, self.heads, self.bias.flatten()[self.index][None]))  # type: ignore[no-any-return]
