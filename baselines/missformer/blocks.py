"""The block of encoder and decoder: attention with reduced keys, and a feed-forward with a convolution in it."""

import torch.nn.functional as F
from timm.models.pvt_v2 import Attention
from torch import Tensor, nn

EXPANSION = 4
"""Hidden width of a feed-forward, in widths of its input."""


class FeedForward(nn.Module):
    """The paper's Enhanced Mix-FFN: linear, depthwise convolution with identity, layer norm, GELU, linear.

    Args:
        channels: Width of a token.
        spares: Whether to hold the two layer norms that the released code builds and never calls.
    """

    def __init__(self, channels: int, spares: bool) -> None:
        super().__init__()
        hidden = EXPANSION * channels
        self.fc1 = nn.Linear(channels, hidden)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.norm = nn.LayerNorm(hidden)
        self.fc2 = nn.Linear(hidden, channels)
        self.spares = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(2 * spares))

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(B, H, W, C)`` to the same shape."""
        x = self.fc1(x)
        x = self.norm(x + self.depthwise(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        output: Tensor = self.fc2(F.gelu(x))
        return output


class Block(nn.Module):
    """Pre-norm attention, whose keys and values come from a coarser grid, and :class:`FeedForward`.

    Attention is timm's of PVT v2, which computes what SegFormer's does.

    Args:
        channels: Width of a token.
        heads: Attention heads.
        reduction: Tokens along each axis that become one for keys and values.
        spares: See :class:`FeedForward`.
    """

    def __init__(self, channels: int, heads: int, reduction: int, spares: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attn = Attention(channels, heads, sr_ratio=reduction)
        self.norm2 = nn.LayerNorm(channels)
        self.ffn = FeedForward(channels, spares)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(B, H, W, C)`` to the same shape."""
        tokens = self.norm1(x).flatten(1, 2)
        x = x + self.attn(tokens, list(x.shape[1:3])).reshape(x.shape)
        output: Tensor = x + self.ffn(self.norm2(x))
        return output
