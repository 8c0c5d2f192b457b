"""The encoder of one modality: global pooling in place of attention."""

from collections.abc import Sequence
from math import prod

from monai.networks.layers.factories import Conv
from monai.networks.nets.basic_unet import TwoConv
from torch import Tensor, nn

from baselines.nestedformer.attention import EPSILON
from baselines.shared.channel_norm import ChannelNorm

ACTIVATION = ("relu", {"inplace": True})
NORM = ("instance", {"affine": False})
"""Activation and norm of every convolution outside the Transformers, in MONAI's words."""


class GlobalPooling(nn.Module):
    """Adds to every voxel a learned linear function of its channel's mean.

    The function is one slope and one offset per voxel, the same for all channels.

    Source: ``global_layer`` in ``medical/model/encoder/global_poolformer.py`` of 920232796/NestedFormer.

    Args:
        grid: Voxels along each axis.
    """

    def __init__(self, grid: Sequence[int]) -> None:
        super().__init__()
        self.spread = nn.Linear(1, prod(grid))

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(B, C, *grid)`` to the same shape."""
        means = x.flatten(2).mean(dim=2, keepdim=True)
        return x + self.spread(means).reshape(x.shape)  # type: ignore[no-any-return]


class PoolingBlock(nn.Module):
    """A pre-norm Transformer block with :class:`GlobalPooling` in place of attention.

    Args:
        channels: Channels of the maps.
        grid: Voxels along each axis.
        dropout: Dropout of the MLP.
    """

    def __init__(self, channels: int, grid: Sequence[int], dropout: float) -> None:
        super().__init__()
        conv = Conv[Conv.CONV, len(grid)]
        self.pooling_norm = ChannelNorm(channels, eps=EPSILON)
        self.pooling = GlobalPooling(grid)
        self.mlp_norm = ChannelNorm(channels, eps=EPSILON)
        self.mlp = nn.Sequential(
            conv(channels, 2 * channels, 1),
            nn.GELU(),
            nn.Dropout(dropout),
            conv(2 * channels, channels, 1),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(B, C, *grid)`` to the same shape."""
        x = x + self.pooling(self.pooling_norm(x))
        return x + self.mlp(self.mlp_norm(x))  # type: ignore[no-any-return]


class Stage(nn.Module):
    """Halves every axis and applies two blocks.

    Args:
        in_channels: Channels of the input.
        channels: Channels of the output.
        grid: Voxels of the output along each axis.
        dropout: Dropout of the MLPs.
    """

    def __init__(self, in_channels: int, channels: int, grid: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.embed = nn.Sequential(
            Conv[Conv.CONV, len(grid)](in_channels, channels, 2, stride=2),
            ChannelNorm(channels),
        )
        self.blocks = nn.Sequential(*(PoolingBlock(channels, grid, dropout) for _ in range(2)))

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(B, in_channels, *spatial)`` to ``(B, channels, *grid)``."""
        return self.blocks(self.embed(x))  # type: ignore[no-any-return]


class ModalityEncoder(nn.Module):
    """The encoder of one modality.

    Args:
        widths: Channels of every level, full resolution first.
        patch_size: Voxels of the image along each axis.
        dropout: Dropout of the MLPs.
    """

    def __init__(self, widths: Sequence[int], patch_size: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.stem = TwoConv(len(patch_size), 1, widths[0], ACTIVATION, NORM, bias=True)
        self.stages = nn.ModuleList(
            Stage(widths[level - 1], widths[level], [side // 2**level for side in patch_size], dropout)
            for level in range(1, len(widths))
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """Maps ``(B, 1, *spatial)`` to the maps of every level, full resolution first."""
        maps: list[Tensor] = [self.stem(image)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps
