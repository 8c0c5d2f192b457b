"""M2FTrans's attention: masked between tokens at the coarsest level, and between channels in the decoder."""

import math

import torch
from monai.networks.layers.factories import Conv
from torch import Tensor, nn
from torch.nn import functional

from baselines.shared.channel_norm import ChannelNorm

EPSILON = 1e-6
"""Of the norms in the decoder's attention."""
EXPANSION = 4
"""Hidden width of the decoder's feed-forward layers, in widths of their input."""


class MaskedAttention(nn.Module):
    """A residual branch: norm, attention among the tokens that a mask allows, dropout.

    Args:
        channels: Width of a token.
        heads: Attention heads.
        dropout: Of the weights, of the output, and of the branch.
    """

    def __init__(self, channels: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.project = nn.Linear(channels, channels)
        self.drop_weights = nn.Dropout(dropout)
        self.drop_output = nn.Sequential(nn.Dropout(dropout), nn.Dropout(dropout))

    def forward(self, tokens: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor]:
        """Returns tokens ``(B, N, C)`` and attention weights ``(B, heads, N, N)``.

        Args:
            tokens: ``(B, N, C)``.
            allowed: ``(B, N, N)`` bool: whether a token (row) sees another (column).
        """
        batch, number, channels = tokens.shape
        split = self.qkv(self.norm(tokens)).reshape(batch, number, 3, self.heads, channels // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        scores = query @ key.transpose(-2, -1) * (channels // self.heads) ** -0.5
        weights = self.drop_weights(scores.masked_fill(~allowed[:, None], float("-inf")).softmax(dim=-1))
        attended = (weights @ value).transpose(1, 2).reshape(tokens.shape)
        return tokens + self.drop_output(self.project(attended)), weights


class MaskedTransformer(nn.Module):
    """Blocks of masked attention and MLP.

    Args:
        channels: Width of a token.
        heads: Attention heads.
        mlp_dim: Hidden width of the MLPs.
        layers: Blocks.
        dropout: Of attention and MLPs.
    """

    def __init__(self, channels: int, heads: int, mlp_dim: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.attentions = nn.ModuleList(MaskedAttention(channels, heads, dropout) for _ in range(layers))
        self.mlps = nn.ModuleList(Mlp(channels, mlp_dim, dropout) for _ in range(layers))

    def forward(self, tokens: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor]:
        """Returns tokens ``(B, N, C)`` and the first block's attention weights ``(B, heads, N, N)``."""
        found: list[Tensor] = []
        for attention, mlp in zip(self.attentions, self.mlps, strict=True):
            tokens, weights = attention(tokens, allowed)
            found.append(weights)
            tokens = mlp(tokens)
        return tokens, found[0]


class Mlp(nn.Module):
    """A residual branch of two linear layers after a norm.

    Args:
        channels: Width of a token.
        hidden: Hidden width.
        dropout: After both.
    """

    def __init__(self, channels: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.layers = nn.Sequential(
            nn.Linear(channels, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, channels),
            nn.Dropout(dropout),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Maps ``(B, N, C)`` to the same shape."""
        output: Tensor = tokens + self.layers(self.norm(tokens))
        return output


class NormedConvs(nn.Module):
    """Convolutions 1, 3 (grouped) and 1 wide, each followed by a norm over channels, the first two by GELU.

    Args:
        spatial_dims: 2 or 3.
        channels: Channels in and out.
        hidden: Channels within.
        groups: Groups of the 3-wide convolution.
    """

    def __init__(self, spatial_dims: int, channels: int, hidden: int, groups: int) -> None:
        super().__init__()
        conv = Conv["conv", spatial_dims]
        self.convs = nn.ModuleList(
            [conv(channels, hidden, 1), conv(hidden, hidden, 3, padding=1, groups=groups), conv(hidden, channels, 1)]
        )
        self.norms = nn.ModuleList(ChannelNorm(width, eps=EPSILON) for width in (hidden, hidden, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(B, channels, *spatial)`` to the same shape."""
        x = functional.gelu(self.norms[0](self.convs[0](x)))
        x = functional.gelu(self.norms[1](self.convs[1](x)))
        output: Tensor = self.norms[2](self.convs[2](x))
        return output


class FeedForward(NormedConvs):
    """Wider convolutions, their input added, and GELU at the end.

    Args:
        spatial_dims: 2 or 3.
        channels: Channels in and out.
    """

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__(spatial_dims, channels, EXPANSION * channels, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(B, channels, *spatial)`` to the same shape."""
        return functional.gelu(super().forward(x) + x)


class ChannelAttention(nn.Module):
    """Attention of the fused map's channels to the channels of the modalities present.

    Args:
        spatial_dims: 2 or 3.
        modalities: Number of modalities M.
        channels: Channels C of every map.
        dropout: Of what is added.
    """

    def __init__(self, spatial_dims: int, modalities: int, channels: int, dropout: float) -> None:
        super().__init__()

        def convs() -> NormedConvs:
            return NormedConvs(spatial_dims, channels, channels, groups=channels)

        self.query = convs()
        self.keys = nn.ModuleList(convs() for _ in range(modalities))
        self.values = nn.ModuleList(convs() for _ in range(modalities))
        self.project = convs()
        self.drop = nn.Dropout(dropout)

    def forward(self, fused: Tensor, maps: list[Tensor], present: Tensor) -> Tensor:
        """Returns the fused map with what it attends to, ``(B, C, *spatial)``.

        Args:
            fused: ``(B, C, *spatial)``.
            maps: Of every modality, ``(B, C, *spatial)``.
            present: ``(B, M)`` of 0 and 1.
        """
        query = self.query(fused).flatten(2)
        keys = torch.cat([key(x).flatten(2) for key, x in zip(self.keys, maps, strict=True)], dim=1)
        values = torch.cat([value(x).flatten(2) for value, x in zip(self.values, maps, strict=True)], dim=1)
        absent = present.repeat_interleave(fused.shape[1], dim=1)[:, None] == 0
        scores = query @ keys.transpose(1, 2) / math.sqrt(query.shape[2])
        weights = scores.masked_fill(absent, float("-inf")).softmax(dim=-1)
        output: Tensor = fused + self.drop(self.project((weights @ values).reshape(fused.shape)))
        return output


class CrossLayer(nn.Module):
    """Attention between channels and a feed-forward layer, of the fused map, and of the modalities' maps if wanted.

    Args:
        spatial_dims: 2 or 3.
        modalities: Number of modalities M.
        channels: Channels of every map.
        dropout: Of the attention's branch.
        last: Whether no layer follows, so that the modalities' maps are not needed any more.
    """

    def __init__(self, spatial_dims: int, modalities: int, channels: int, dropout: float, last: bool) -> None:
        super().__init__()
        self.attention = ChannelAttention(spatial_dims, modalities, channels, dropout)
        self.of_fused = FeedForward(spatial_dims, channels)
        self.of_maps = None if last else FeedForward(spatial_dims, channels)

    def forward(self, fused: Tensor, maps: list[Tensor], present: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Returns the fused map and those of the modalities, of the same shapes."""
        fused = self.of_fused(self.attention(fused, maps, present))
        return fused, maps if self.of_maps is None else [self.of_maps(x) for x in maps]


class CrossToken(nn.Module):
    """Two such layers.

    Args:
        spatial_dims: 2 or 3.
        modalities: Number of modalities M.
        channels: Channels of every map.
        dropout: Of the attention's branches.
    """

    def __init__(self, spatial_dims: int, modalities: int, channels: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            CrossLayer(spatial_dims, modalities, channels, dropout, last) for last in (False, True)
        )

    def forward(self, fused: Tensor, maps: list[Tensor], present: Tensor) -> Tensor:
        """Returns the fused map ``(B, C, *spatial)``; see :class:`ChannelAttention`."""
        for layer in self.layers:
            fused, maps = layer(fused, maps, present)
        return fused
