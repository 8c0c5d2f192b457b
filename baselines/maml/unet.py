"""The U-Net of one modality: nnU-Net v1's, which also hands out its last decoder features."""

from collections.abc import Sequence
from typing import Any

import torch
from dynamic_network_architectures.building_blocks.helper import (
    convert_dim_to_conv_op,
    get_matching_convtransp,
    get_matching_instancenorm,
)
from dynamic_network_architectures.building_blocks.plain_conv_encoder import PlainConvEncoder
from dynamic_network_architectures.building_blocks.simple_conv_blocks import StackedConvBlocks
from torch import Tensor, nn

SLOPE = 1e-2
"""Negative slope of every LeakyReLU."""


class ModalityUNet(nn.Module):
    """U-Net of one modality: strided convolutions down, transposed convolutions up, a head at every decoder level.

    Encoder and convolution blocks are those of ``dynamic_network_architectures``. Its decoder is not used, because it
    hides the last features and gives transposed convolutions and heads a bias, which nnU-Net v1's have not.

    Source: ``Generic_UNet`` as ``Generic_MAML`` of YaoZhang93/MAML uses it.

    Args:
        out_channels: Number of classes K.
        features: Channels of every level, finest first.
        strides: Stride into every level, finest first; one number per axis, all 1 for the finest.
        convs_per_stage: Convolutions of a stage.
    """

    def __init__(
        self, out_channels: int, features: Sequence[int], strides: Sequence[Sequence[int]], convs_per_stage: int
    ) -> None:
        super().__init__()
        dims = len(strides[0])
        conv = convert_dim_to_conv_op(dims)
        blocks: dict[str, Any] = {
            "conv_bias": True,
            "norm_op": get_matching_instancenorm(conv),
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "nonlin": nn.LeakyReLU,
            "nonlin_kwargs": {"negative_slope": SLOPE, "inplace": True},
        }
        levels = len(features)
        self.encoder = PlainConvEncoder(
            input_channels=1,
            n_stages=levels,
            features_per_stage=list(features),
            conv_op=conv,
            kernel_sizes=3,
            strides=[list(stride) for stride in strides],
            n_conv_per_stage=convs_per_stage,
            return_skips=True,
            **blocks,
        )
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
                    **blocks,
                )
            )
            self.heads.append(conv(features[level], out_channels, 1, bias=False))
        self.apply(_initialise)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Returns the decoder's features, finest first.

        Args:
            image: (B, 1, *spatial).

        Returns:
            (B, features[level], *spatial of the level) for every level but the coarsest, level 0 first.
        """
        *skips, x = self.encoder(image)
        features: list[Tensor] = []
        for up, stage, skip in zip(self.ups, self.stages, reversed(skips), strict=True):
            x = stage(torch.cat([up(x), skip], dim=1))
            features.append(x)
        return features[::-1]

    def classify(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Returns the modality's own logits, finest first.

        Args:
            features: Output of :meth:`forward`.

        Returns:
            (B, K, *spatial of the level) for every level but the coarsest.
        """
        return [head(x) for head, x in zip(reversed(self.heads), features, strict=True)]


def _initialise(module: nn.Module) -> None:
    """He's initialisation for LeakyReLU, biases 0; nnU-Net v1's ``InitWeights_He``."""
    if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        nn.init.kaiming_normal_(module.weight, a=SLOPE)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
