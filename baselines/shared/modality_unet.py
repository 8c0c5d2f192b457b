"""The U-Net of one modality: nnU-Net v1's, which also hands out its decoder's features; for MAML and A2FSeg."""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from dynamic_network_architectures.building_blocks.helper import (
    convert_dim_to_conv_op,
    get_matching_convtransp,
    get_matching_instancenorm,
)
from dynamic_network_architectures.building_blocks.plain_conv_encoder import PlainConvEncoder
from dynamic_network_architectures.building_blocks.simple_conv_blocks import StackedConvBlocks
from nnunetv2.experiment_planning.experiment_planners.network_topology import get_pool_and_conv_props
from torch import Tensor, nn

from harness.errors import StudyError

SLOPE = 1e-2
"""Negative slope of every LeakyReLU."""
MIN_FEATURE_MAP = 4
"""No axis is pooled below this many voxels by nnU-Net's planners."""
UNLIMITED = 999999
"""Poolings an axis may have in nnU-Net's planners."""
MAX_FEATURES = {2: 480, 3: 320}
"""Cap of the channels by dimension in nnU-Net v1."""


class UNetDecoder(nn.Module):
    """Decoder of nnU-Net v1: transposed convolutions up, convolutions, a head at every level.

    Convolution blocks are those of ``dynamic_network_architectures``. Its decoder is not used, because it hides the
    last features and gives transposed convolutions and heads a bias, which nnU-Net v1's have not.

    Args:
        out_channels: Number of classes K.
        features: Channels of every level, finest first.
        strides: Stride into every level, finest first; one number per axis, all 1 for the finest.
        convs_per_stage: Convolutions of a stage.
        encoder: The encoder whose features are decoded, if it is part of this module.
    """

    def __init__(
        self,
        out_channels: int,
        features: Sequence[int],
        strides: Sequence[Sequence[int]],
        convs_per_stage: int,
        encoder: nn.Module | None = None,
    ) -> None:
        super().__init__()
        conv = convert_dim_to_conv_op(len(strides[0]))
        levels = len(features)
        if encoder is not None:
            self.encoder = encoder
        self.ups = nn.ModuleList()
        self.stages = nn.ModuleList()
        self.heads = nn.ModuleList()
        for level in reversed(range(levels - 1)):  # coarse to fine, as they are run
            up = get_matching_convtransp(conv)
            stride = tuple(strides[level + 1])
            self.ups.append(up(features[level + 1], features[level], stride, stride, bias=False))
            self.stages.append(
                StackedConvBlocks(
                    num_convs=convs_per_stage,
                    conv_op=conv,
                    input_channels=2 * features[level],
                    output_channels=features[level],
                    kernel_size=3,
                    initial_stride=1,
                    **_blocks(conv),
                )
            )
            self.heads.append(conv(features[level], out_channels, 1, bias=False))
        self.apply(_initialise)

    def decode(self, skips: Sequence[Tensor], x: Tensor) -> list[Tensor]:
        """Returns the decoder's features, finest first.

        Args:
            skips: ``(B, features[level], *spatial of the level)`` for every level but the coarsest, level 0 first.
            x: ``(B, features[-1], *spatial of the coarsest level)``.

        Returns:
            Of the shapes of ``skips``.
        """
        features: list[Tensor] = []
        for up, stage, skip in zip(self.ups, self.stages, reversed(skips), strict=True):
            x = stage(torch.cat([up(x), skip], dim=1))
            features.append(x)
        return features[::-1]

    def classify(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Returns logits of every level, finest first.

        Args:
            features: Output of :meth:`decode`.

        Returns:
            (B, K, *spatial of the level) for every level but the coarsest.
        """
        return [head(x) for head, x in zip(reversed(self.heads), features, strict=True)]


class ModalityUNet(UNetDecoder):
    """U-Net of one modality: strided convolutions down, transposed convolutions up, a head at every decoder level.

    Source: ``Generic_UNet`` as ``Generic_MAML`` of YaoZhang93/MAML uses it.

    Args:
        out_channels: Number of classes K.
        features: Channels of every level, finest first.
        strides: Stride into every level, finest first; one number per axis, all 1 for the finest.
        convs_per_stage: Convolutions of a stage.
    """

    encoder: nn.Module

    def __init__(
        self, out_channels: int, features: Sequence[int], strides: Sequence[Sequence[int]], convs_per_stage: int
    ) -> None:
        conv = convert_dim_to_conv_op(len(strides[0]))
        encoder = PlainConvEncoder(
            input_channels=1,
            n_stages=len(features),
            features_per_stage=list(features),
            conv_op=conv,
            kernel_sizes=3,
            strides=[list(stride) for stride in strides],
            n_conv_per_stage=convs_per_stage,
            return_skips=True,
            **_blocks(conv),
        )
        super().__init__(out_channels, features, strides, convs_per_stage, encoder)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Returns the decoder's features, finest first.

        Args:
            image: (B, 1, *spatial).

        Returns:
            (B, features[level], *spatial of the level) for every level but the coarsest, level 0 first.
        """
        *skips, x = self.encoder(image)
        return self.decode(skips, x)


def _blocks(conv: type[nn.Module]) -> dict[str, Any]:
    """Returns what all convolution blocks have in common."""
    return {
        "conv_bias": True,
        "norm_op": get_matching_instancenorm(conv),
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "nonlin": nn.LeakyReLU,
        "nonlin_kwargs": {"negative_slope": SLOPE, "inplace": True},
    }


def _initialise(module: nn.Module) -> None:
    """He's initialisation for LeakyReLU, biases 0; nnU-Net v1's ``InitWeights_He``."""
    if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        nn.init.kaiming_normal_(module.weight, a=SLOPE)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def plan_strides(patch_size: Sequence[int], poolings: int | None, name: str) -> list[tuple[int, ...]]:
    """Returns the stride into every level of the U-Nets, finest first.

    Args:
        patch_size: Spatial size of the input in voxels.
        poolings: Number of halvings of every axis. ``None``: as nnU-Net plans it for isotropic spacing.
        name: Name of the network, for the message.

    Raises:
        StudyError: A side leaves a remainder, or the coarsest level would be a single voxel, which instance norm
            cannot normalise.
    """
    dims = len(patch_size)
    if poolings is None:
        _, strides, _, padded, _ = get_pool_and_conv_props((1.0,) * dims, tuple(patch_size), MIN_FEATURE_MAP, UNLIMITED)
        valid = tuple(int(side) for side in padded)
        if len(strides) == 1:
            valid = (2 * MIN_FEATURE_MAP,) * dims
    else:
        strides = [(1,) * dims] + [(2,) * dims] * poolings
        unit = 2**poolings
        valid = tuple(max(unit, (side + unit // 2) // unit * unit) for side in patch_size)
        if prod(valid) == unit**dims:
            valid = (2 * unit,) * dims
    if valid != tuple(patch_size):
        given, nearest = (" x ".join(map(str, sides)) for sides in (patch_size, valid))
        times = "as often as nnU-Net plans" if poolings is None else f"{poolings} times"
        raise StudyError(
            f"{name} cannot halve a patch of {given} {times}.", hint=f"Nearest valid patch_size: {nearest}."
        )
    return [tuple(int(step) for step in stride) for stride in strides]
