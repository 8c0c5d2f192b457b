"""The leading modality's branch: a residual CNN that keeps local detail.

Source: the released code's ``nnunet/network_architecture/transunet/trans_disunet_grpah_transfuse.py``.

The network drives the branch level by level, because T-CFAF sits between the entry of a level and its residual group. A
different encoder joins by offering the same two things, see :mod:`aahn.leading_encoder`: ``levels``, each with an
``entry`` and a ``refine`` module of the shapes given in :class:`LeadingLevel`, and ``stages``, what is added to each
level's entry.
"""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from aahn.blocks import ResidualGroup, conv_bn_relu
from aahn.options import LEVELS, AAHNOptions


class LeadingLevel(nn.Module):
    """One level of the leading branch; called in two steps, with the fusion between them.

    Args:
        entry: Halves the sides: ``(B, in, 2 H, 2 W) -> (B, C, H, W)``.
        refine: Keeps the shape: ``(B, C, H, W) -> (B, C, H, W)``.
    """

    def __init__(self, entry: nn.Module, refine: nn.Module) -> None:
        super().__init__()
        self.entry = entry
        self.refine = refine


class LeadingBranch(nn.Module):
    """Four levels of ``width * 2^l`` channels at 1/2, 1/4, 1/8 and 1/16 of the patch's sides.

    Args:
        in_channels: Channels the stem receives.
        options: Widths and depths.
    """

    def __init__(self, in_channels: int, options: AAHNOptions) -> None:
        super().__init__()
        widths = [options.width << level for level in range(LEVELS)]
        self.levels = nn.ModuleList(
            LeadingLevel(entry, ResidualGroup(width, width, depth))
            for entry, width, depth in zip(
                native_entries(in_channels, widths), widths, options.leading_depths, strict=True
            )
        )

    def stages(self, x: Tensor) -> list[Tensor | None]:  # noqa: ARG002 - an encoder of its own would need it
        """Returns nothing for each level: its entry alone feeds it."""
        return [None] * LEVELS


def native_entries(in_channels: int, widths: Sequence[int]) -> list[nn.Sequential]:
    """Returns the modules that begin the levels, each halving the sides.

    Args:
        in_channels: Channels the first one receives.
        widths: Channels of the levels.
    """
    first = conv_bn_relu(in_channels, widths[0], kernel=7, stride=2, bias=False)
    return [first, *(_downsample(narrow, wide) for narrow, wide in pairwise(widths))]


def _downsample(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1),
        nn.BatchNorm2d(out_channels),
        nn.LeakyReLU(0.01, inplace=True),
    )
