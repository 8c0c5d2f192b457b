"""NestedFormer: one encoder per modality, attention within and between modalities, one decoder.

Xing et al., *NestedFormer: Nested Modality-Aware Transformer for Brain Tumor Segmentation*, MICCAI 2022. Official
code: 920232796/NestedFormer, Apache-2.0. No line of it is copied; convolution blocks are MONAI's (``TwoConv``),
windows are cut by :mod:`baselines.shared.windows`. MONAI's ``UpCat`` would compute the decoder's blocks too, but
``torch.compile`` cannot capture it.

Kept: the function, the initialisation (torch's defaults, positions 0, window biases N(0, 1)) and the parameters,
compared with the released code tensor by tensor.

Decided:

* *Modality-sensitive gating* of the skip connections is in the paper and not in the code; its authors confirmed that
  theirs "only uses the convolutional network fusion method" (issue 3 of the repository). The default is the code.
  What the paper's abstract says of it is that it is applied "at lower scales for more effective skip connections";
  ``gating: paper`` reads that as a sigmoid gate for every modality, channel and voxel, computed from all modalities'
  maps of the level by a 1x1 convolution, in front of the released fusion. It is our reading, not the paper's formula.
* Attention windows are 4 x 4 x 4 as in the training script, not 2 x 4 x 4 as in the class's default. They are no larger
  than the grid and must divide it.
* A linear layer from a channel's mean to every voxel ties the weights to the patch size, as released.
* One layer norm of the cross-attention is never used; it is kept for the sake of checkpoints and counts, and declared.
* 2D, which the authors never had, is the same code with two axes: slices become rows, depth lines become columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from monai.networks.layers.factories import Conv
from monai.networks.nets.basic_unet import TwoConv
from torch import Tensor, nn

from baselines.nestedformer.encoder import ACTIVATION, NORM, ModalityEncoder
from baselines.nestedformer.fusion import NMaFA
from baselines.shared.precision import in_full_precision_on_cpu
from harness.errors import StudyError

if TYPE_CHECKING:
    from baselines.nestedformer import NestedFormerOptions
    from harness.segmenters.contract import Task

WIDTHS = (1, 1, 2, 4, 8)
"""Channels of every level, full resolution first, in units of the width."""
REDUCTION = 2 ** (len(WIDTHS) - 1)
"""How many times finer the image is than the coarsest maps."""


class SkipFusion(nn.Module):
    """Joins the modalities' maps of one level.

    Args:
        modalities: Number of modalities M.
        channels: Channels of a modality's maps and of the output.
        dims: Spatial dimensions.
        gated: Whether each modality's maps pass a gate first.
    """

    def __init__(self, modalities: int, channels: int, dims: int, gated: bool) -> None:
        super().__init__()
        joint = modalities * channels
        self.gate = nn.Sequential(Conv[Conv.CONV, dims](joint, joint, 1), nn.Sigmoid()) if gated else None
        self.convs = TwoConv(dims, joint, channels, ACTIVATION, NORM, bias=True)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps M of ``(B, channels, *spatial)`` to one of the same shape."""
        joint = torch.cat(list(maps), dim=1)
        if self.gate is not None:
            joint = joint * self.gate(joint)
        return self.convs(joint)  # type: ignore[no-any-return]


class Up(nn.Module):
    """Doubles every axis, halves the channels and joins the skip connection.

    Args:
        in_channels: Channels of the coarser maps.
        channels: Channels of the skip connection and of the output.
        dims: Spatial dimensions.
    """

    def __init__(self, in_channels: int, channels: int, dims: int) -> None:
        super().__init__()
        self.up = Conv[Conv.CONVTRANS, dims](in_channels, in_channels // 2, 2, stride=2)
        self.convs = TwoConv(dims, channels + in_channels // 2, channels, ACTIVATION, NORM, bias=True)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Maps ``(B, in_channels, *spatial)`` and ``(B, channels, *finer)`` to ``(B, channels, *finer)``."""
        return self.convs(torch.cat([skip, self.up(x)], dim=1))  # type: ignore[no-any-return]


class NestedFormer(nn.Module):
    """One encoder per modality, NMaFA on their coarsest maps, one decoder.

    Source: ``medical/model/nested_former.py`` of 920232796/NestedFormer.

    Args:
        modalities: Number of modalities M.
        out_channels: Number of classes K.
        patch_size: Voxels of the image along each axis.
        options: Widths, heads, windows, dropout and gating.
    """

    def __init__(
        self, modalities: int, out_channels: int, patch_size: Sequence[int], options: NestedFormerOptions
    ) -> None:
        super().__init__()
        dims = len(patch_size)
        widths = [options.width * factor for factor in WIDTHS]
        grid = [side // REDUCTION for side in patch_size]
        self.encoders = nn.ModuleList(ModalityEncoder(widths, patch_size, options.dropout) for _ in range(modalities))
        self.nmafa = NMaFA(
            modalities,
            widths[-1],
            grid,
            window_for(grid, options),
            options.heads,
            options.tokens,
            options.dropout,
        )
        self.fuse = TwoConv(dims, modalities * widths[-1], widths[-1], ACTIVATION, NORM, bias=True)
        self.skips = nn.ModuleList(
            SkipFusion(modalities, channels, dims, gated=options.gating == "paper") for channels in widths[:-1]
        )
        self.ups = nn.ModuleList(
            Up(widths[level + 1], widths[level], dims) for level in reversed(range(len(widths) - 1))
        )
        self.head = Conv[Conv.CONV, dims](widths[0], out_channels, 1)
        self.dead_parameters = frozenset(f"nmafa.cross.unused_norm.{name}" for name in ("weight", "bias"))
        """Built and never used by the released code."""

    def forward(self, image: Tensor) -> Tensor:
        """Returns logits.

        Args:
            image: (B, M, *spatial), of the patch size it was built for.

        Returns:
            (B, K, *spatial).
        """
        maps = [encoder(image[:, m : m + 1]) for m, encoder in enumerate(self.encoders)]
        levels = list(zip(*maps, strict=True))
        skips = [fuse(level) for fuse, level in zip(self.skips, levels[:-1], strict=True)]
        x: Tensor = self.nmafa(levels[-1]) + in_full_precision_on_cpu(self.fuse, torch.cat(levels[-1], dim=1))
        for up, skip in zip(self.ups, reversed(skips), strict=True):
            x = up(x, skip)
        return self.head(x)  # type: ignore[no-any-return]


def build(task: Task, options: NestedFormerOptions) -> NestedFormer:
    """Builds NestedFormer for a task.

    Args:
        task: Segmentation task.
        options: Widths, heads, windows, dropout and gating.

    Raises:
        StudyError: A side of the patch cannot be halved four times, or windows do not divide the coarsest grid.
    """
    nearest = tuple(
        min(
            (REDUCTION * cells for cells in valid_cells(side, axis, options)),
            key=lambda valid: (abs(valid - side), valid),
        )
        for axis, side in enumerate(task.patch_size)
    )
    if nearest != task.patch_size:
        given, valid = (" x ".join(map(str, sides)) for sides in (task.patch_size, nearest))
        raise StudyError(
            f"nestedformer cannot take a patch of {given}: a {REDUCTION}th of each side must be a number of at least 2 "
            "that attention windows divide.",
            hint=f"Nearest valid patch_size: {valid}. Options `window_side` and `window_depth` set the windows.",
        )
    return NestedFormer(task.in_channels, task.out_channels, task.patch_size, options)


def window_for(grid: Sequence[int], options: NestedFormerOptions) -> list[int]:
    """Returns the tokens of a window along each axis: as the options say, and no more than there are.

    Args:
        grid: Tokens along each axis.
        options: Side and depth of a window.
    """
    wanted = [options.window_depth] + [options.window_side] * (len(grid) - 1)
    return [min(side, length) for side, length in zip(wanted, grid, strict=True)]


def valid_cells(side: int, axis: int, options: NestedFormerOptions) -> list[int]:
    """Returns numbers of tokens along an axis that windows divide, around the one a side would give.

    Args:
        side: Voxels of the image along the axis.
        axis: Index of the axis.
        options: Side and depth of a window.
    """
    window = options.window_side if axis else options.window_depth
    most = side // REDUCTION + window + 2
    return [cells for cells in range(2, most + 1) if cells <= window or cells % window == 0]
