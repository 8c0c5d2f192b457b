"""TransUNet's ResNet, from timm's parts: weight-standardised convolutions, group norm, three stages."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch.nn.functional as F
from timm.layers.norm_act import GroupNormAct
from timm.layers.std_conv import StdConv2d
from timm.models.resnetv2 import Bottleneck, DownsampleConv
from torch import Tensor, nn

GROUPS = 32
conv = partial(StdConv2d, eps=1e-5)
norm = partial(GroupNormAct, num_groups=GROUPS, eps=1e-6)


class ResNet(nn.Module):
    """A stem and three stages of bottlenecks, post-activation although the released class is called otherwise.

    Against timm's hybrid ResNet-50, which has the same tensors: padding is symmetric, the max-pooling has none, and the
    shortcuts' group norm has one group per channel.

    Args:
        in_channels: Number of modalities M.
        width: Channels of the stem, a multiple of 32.
        depths: Bottlenecks of each stage.
    """

    def __init__(self, in_channels: int, width: int, depths: Sequence[int]) -> None:
        super().__init__()
        self.channels = [width, *(4 * width * 2**stage for stage in range(len(depths)))]
        self.stem = nn.Sequential(conv(in_channels, width, 7, stride=2), norm(width))
        self.pool = nn.MaxPool2d(3, stride=2, padding=0)
        self.stages = nn.ModuleList(
            _stage(before, after, depth, stride=1 if stage == 0 else 2)
            for stage, ((before, after), depth) in enumerate(zip(pairwise(self.channels), depths, strict=True))
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Returns the maps at 1/2, 1/4, 1/8 and 1/16 of the resolution of ``(B, M, H, W)``.

        The pooling without padding leaves the map at 1/4 one row and one column short; they are filled with zeros for
        the decoder, while the next stage reads the map as it is.
        """
        height, width = x.shape[-2:]
        x = self.stem(x)
        maps = [x]
        x = self.pool(x)
        for level, stage in enumerate(self.stages, start=2):
            x = stage(x)
            short = (height // 2**level - x.shape[-2], width // 2**level - x.shape[-1])
            maps.append(F.pad(x, (0, short[1], 0, short[0])) if any(short) else x)
        return maps


def _stage(before: int, after: int, depth: int, stride: int) -> nn.Sequential:
    first = Bottleneck(before, after, stride=stride, conv_layer=conv, norm_layer=norm, proj_layer=_shortcut)
    rest = (Bottleneck(after, after, conv_layer=conv, norm_layer=norm) for _ in range(depth - 1))
    return nn.Sequential(first, *rest)


def _shortcut(before: int, after: int, **given: Any) -> DownsampleConv:
    return DownsampleConv(before, after, **given | {"norm_layer": partial(GroupNormAct, num_groups=after)})
