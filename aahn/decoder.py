"""The decoder: three steps up with the leading branch's maps as skip connections, then a full-resolution head.

Source: the released code's ``nnunet/network_architecture/transunet/trans_disunet_grpah_transfuse.py``.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from aahn.blocks import conv_bn_relu, double_conv, run
from aahn.options import LEVELS, AAHNOptions


class UpBlock(nn.Module):
    """Transposed convolution to twice the sides, concatenation of the skip connection, two convolutions.

    Args:
        in_channels: Channels of the deeper map.
        out_channels: Channels of the skip connection and of the output.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.up = _upsample(in_channels, out_channels)
        self.conv = double_conv(2 * out_channels, out_channels)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Maps ``(B, in, H, W)`` and ``(B, out, 2 H, 2 W)`` to ``(B, out, 2 H, 2 W)``."""
        out: Tensor = self.conv(torch.cat([self.up(x), skip], dim=1))
        return out


class Decoder(nn.Module):
    """From the fused deepest map to logits.

    Args:
        out_channels: Number of output channels K.
        options: Widths and dropout.
    """

    def __init__(self, out_channels: int, options: AAHNOptions) -> None:
        super().__init__()
        self.checkpointing = options.checkpointing
        widths = [options.width << level for level in reversed(range(LEVELS))]
        self.ups = nn.ModuleList(UpBlock(wide, narrow) for wide, narrow in pairwise(widths))
        self.head = segmentation_head(options.width, options.head_width, options.dropout)
        self.classify = nn.Sequential(
            *conv_bn_relu(2 * options.head_width, options.head_width),
            *conv_bn_relu(options.head_width, options.head_width // 2),
            nn.Conv2d(options.head_width // 2, out_channels, 1),
        )

    def forward(self, x: Tensor, skips: Sequence[Tensor]) -> Tensor:
        """Decodes.

        Args:
            x: The fused map ``(B, 8 width, H / 16, W / 16)``.
            skips: Leading maps of levels 1 to 3: ``(B, width * 2^l, H / 2^(l+1), W / 2^(l+1))`` for l = 0..2.

        Returns:
            Logits ``(B, K, H, W)``.
        """
        for up, skip in zip(self.ups, reversed(skips), strict=True):
            x = run(up, x, skip, checkpointing=self.checkpointing)
        x = run(self.head, x, checkpointing=self.checkpointing)  # (B, 2 head_width, H, W)
        return run(self.classify, x, checkpointing=self.checkpointing)


def segmentation_head(in_channels: int, width: int, dropout: float) -> nn.Sequential:
    """Returns the step to full resolution: ``(B, in, H, W) -> (B, 2 width, 2 H, 2 W)``.

    Args:
        in_channels: Channels of the decoder's last map.
        width: Channels inside.
        dropout: Probability of dropping a channel, three times.
    """
    return nn.Sequential(
        nn.Conv2d(in_channels, width, 1),
        *_norm_drop_relu(width, dropout),
        _upsample(width, width),
        *_norm_drop_relu(width, dropout),
        nn.Conv2d(width, 2 * width, 1),
        *_norm_drop_relu(2 * width, dropout),
    )


def _norm_drop_relu(channels: int, dropout: float) -> tuple[nn.Module, ...]:
    return nn.BatchNorm2d(channels), nn.Dropout2d(dropout), nn.ReLU(inplace=True)


def _upsample(in_channels: int, out_channels: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(in_channels, out_channels, 3, stride=2, padding=1, output_padding=1)
