"""IVD-Net: one encoder per modality, linked to all others at every level, and one decoder.

Dolz, Desrosiers and Ben Ayed, *IVD-Net: Intervertebral disc localization and segmentation in MRI with a multi-modal
UNet*, 2018. Official code: josedolz/IVD-Net (class ``IVD_Net_asym``), without a licence: written from a description of
what it computes, and no line was copied.

Kept: the function and the parameters, compared with the released code tensor by tensor and level by level; Xavier's
initialisation of convolutions and N(1, 0.02) of batch norms.

Decided:

* Any number of modalities M: the released widths are those of M = 4 of a general rule (see :class:`IVDNet`).
* A level's input is handed on by its central half, as in the released code, although that does not lie over the
  pooled maps it is joined with; ``crop`` offers two ways that do.
* Sides are multiples of 32, as the released code needs; 16 is enough where nothing is cropped.
* The released code's inputs are scaled to [0, 1]; that belongs to the data here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.ivdnet.blocks import Block
from harness.errors import StudyError

if TYPE_CHECKING:
    from baselines.ivdnet import IVDNetOptions
    from harness.segmenters.contract import Task

LEVELS = 4
"""Encoder levels above the bridge, each followed by max pooling."""
SMALLEST = 2 ** (LEVELS + 1)
"""Smallest side; the bridge then sees two pixels. Central halves can be cut only from sides that it divides."""


class IVDNet(nn.Module):
    """One encoder per modality, a bridge and a decoder.

    With M modalities and width g, an encoder block of level n has 2^n g channels. Level 0 sees its modality. Level n
    of modality m sees the pooled outputs of all modalities on level n - 1, in cyclic order from m on, and, from level
    2 on, what its own level n - 1 saw: M g, 3 M g, 7 M g channels. The bridge continues modality 0: 15 M g. In the
    decoder the mean of the upsampled features and of the M encoder maps enters each block.

    Source: ``IVD_Net_asym`` of josedolz/IVD-Net.

    Args:
        modalities: Number of modalities M.
        out_channels: Number of classes K.
        width: Channels at full resolution, g.
        crop: Crop that brings the output of a level to the size of the next one.
    """

    def __init__(
        self, modalities: int, out_channels: int, width: int, crop: Literal["centre", "pool", "resize"]
    ) -> None:
        super().__init__()
        self._crop = crop
        widths = [width * 2**level for level in range(LEVELS + 1)]
        seen = [1, *((2**level - 1) * modalities * width for level in range(1, LEVELS + 1))]
        self.encoders = nn.ModuleList(
            nn.ModuleList(Block(seen[level], widths[level], asymmetric=True) for _ in range(modalities))
            for level in range(LEVELS)
        )
        self.bridge = Block(seen[LEVELS], widths[LEVELS], asymmetric=True)
        self.ups = nn.ModuleList()
        self.decoders = nn.ModuleList()
        for level in reversed(range(LEVELS)):
            self.ups.append(
                nn.Sequential(
                    nn.ConvTranspose2d(widths[level + 1], widths[level], 3, stride=2, padding=1, output_padding=1),
                    nn.BatchNorm2d(widths[level]),
                    nn.ReLU(inplace=True),
                )
            )
            self.decoders.append(Block(widths[level], widths[level], asymmetric=False))
        self.head = nn.Conv2d(width, out_channels, 3, padding=1)
        self.apply(_initialise)

    def forward(self, image: Tensor) -> Tensor:
        """Returns logits.

        Args:
            image: (B, M, H, W), sides multiples of 32.

        Returns:
            (B, K, H, W).
        """
        modalities = image.shape[1]
        seen = list(torch.split(image, 1, dim=1))
        skips: list[list[Tensor]] = []
        for level, encoders in enumerate(self.encoders):
            maps = [encoder(x) for encoder, x in zip(encoders, seen, strict=True)]  # type: ignore[call-overload]
            skips.append(maps)
            pooled = [functional.max_pool2d(x, 2) for x in maps]
            heirs = range(modalities if level < LEVELS - 1 else 1)
            handed_on = [[] if level == 0 else [self.shrink(seen[m])] for m in heirs]
            seen = [torch.cat([*pooled[m:], *pooled[:m], *handed_on[m]], dim=1) for m in heirs]
        x: Tensor = self.bridge(seen[0])
        for up, decoder, maps in zip(self.ups, self.decoders, reversed(skips), strict=True):
            x = decoder(sum(maps, start=up(x)) / (modalities + 1))
        return self.head(x)  # type: ignore[no-any-return]

    def shrink(self, x: Tensor) -> Tensor:
        """Returns the input of a level, (B, C, H, W), at half its size."""
        if self._crop == "pool":
            return functional.max_pool2d(x, 2)
        height, width = x.shape[2] // 2, x.shape[3] // 2
        if self._crop == "resize":
            return functional.interpolate(x, (height, width), mode="bilinear", align_corners=False)
        top, left = height // 2, width // 2
        return x[:, :, top : top + height, left : left + width]


def build(task: Task, options: IVDNetOptions) -> IVDNet:
    """Builds IVD-Net for a task.

    Args:
        task: Segmentation task.
        options: Width and how levels are linked.

    Raises:
        StudyError: A side of the patch is below 32 or no multiple of 32 (of 16 where nothing is cropped).
    """
    unit = SMALLEST if options.crop == "centre" else 2**LEVELS
    nearest = tuple(max(SMALLEST, (side + unit // 2) // unit * unit) for side in task.patch_size)
    if nearest != task.patch_size:
        given, valid = (" x ".join(map(str, sides)) for sides in (task.patch_size, nearest))
        raise StudyError(
            f"ivdnet needs sides that are multiples of {unit}, at least {SMALLEST}, so it cannot take {given}.",
            hint=f"Nearest valid patch_size: {valid}.",
        )
    return IVDNet(task.in_channels, task.out_channels, options.width, options.crop)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.xavier_normal_(module.weight)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
