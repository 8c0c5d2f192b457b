"""Builds MONAI's MedNeXt with the authors' expansions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from monai.networks.blocks.mednext_block import MedNeXtDownBlock
from monai.networks.nets import MedNeXt
from torch import Tensor, nn

from baselines.shared.patches import require_more_than_one_voxel, require_multiples
from baselines.shared.supervision import output_weights

if TYPE_CHECKING:
    from baselines.mednext import MedNeXtOptions
    from harness.segmenters.contract import Task

UNIT = 16
"""Every axis is halved four times."""


@dataclass(frozen=True)
class Size:
    """One of the authors' networks.

    Attributes:
        expansions: Expansion of each level's blocks, finest first; the decoder's are the same.
        blocks: Blocks of each level, finest first; the decoder's are the same.
    """

    expansions: tuple[int, int, int, int, int]
    blocks: tuple[int, int, int, int, int]


SIZES = {
    "S": Size((2, 2, 2, 2, 2), (2, 2, 2, 2, 2)),
    "B": Size((2, 3, 4, 4, 4), (2, 2, 2, 2, 2)),
    "M": Size((2, 3, 4, 4, 4), (3, 4, 4, 4, 4)),
    "L": Size((3, 4, 8, 8, 8), (3, 4, 8, 8, 8)),
}


class SupervisedMedNeXt(MedNeXt):  # type: ignore[misc]
    """MONAI's MedNeXt, with a list of logits in training mode under deep supervision.

    Args:
        **kwargs: See MONAI's ``MedNeXt``.
    """

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        if self.do_ds:
            levels = len(self.out_blocks) + 1
            self.deep_supervision_weights = output_weights(levels)
            self.dead_parameters = frozenset(f"out_blocks.0.conv_out.{name}" for name in ("weight", "bias"))
            """The coarsest head, whose weight in the loss is 0 as in nnU-Net."""

    def forward(self, images: Tensor) -> Tensor | list[Tensor]:
        """Returns logits ``(B, K, *spatial)`` of images ``(B, M, *spatial)``; a list of them under supervision."""
        output = super().forward(images)
        return output if isinstance(output, Tensor) else list(output)


def build(task: Task, options: MedNeXtOptions) -> nn.Module:
    """Builds MedNeXt for a task.

    Source: Roy et al., MICCAI 2023; ``monai/networks/nets/mednext.py``; expansions of ``MedNextV1.py`` of
    MIC-DKFZ/MedNeXt.

    Args:
        task: Segmentation task.
        options: Size, width, kernel and deep supervision.

    Raises:
        StudyError: A side of the patch is not a multiple of 16, or the coarsest map would be a single voxel.
    """
    require_multiples(task.patch_size, UNIT, f"mednext halves every axis {UNIT.bit_length() - 1} times")
    require_more_than_one_voxel(task.patch_size, UNIT, "mednext")
    size = SIZES[options.size]
    *expansions, bottleneck = size.expansions
    *blocks, bottleneck_blocks = size.blocks
    network = SupervisedMedNeXt(
        spatial_dims=task.spatial_dims,
        init_filters=options.width,
        in_channels=task.in_channels,
        out_channels=task.out_channels,
        encoder_expansion_ratio=expansions,
        decoder_expansion_ratio=expansions[::-1],
        bottleneck_expansion_ratio=bottleneck,
        kernel_size=options.kernel,
        deep_supervision=options.deep_supervision,
        use_residual_connection=True,
        blocks_down=blocks,
        blocks_bottleneck=bottleneck_blocks,
        blocks_up=blocks[::-1],
    )
    if options.down_expansion == "released":
        for level, expansion in enumerate(size.expansions[1:]):
            if expansion != size.expansions[level]:
                network.down_blocks[level] = _down_block(task.spatial_dims, options, level, expansion)
    return network


def _down_block(spatial_dims: int, options: MedNeXtOptions, level: int, expansion: int) -> nn.Module:
    """Returns MONAI's downsampling block out of a level with another expansion."""
    return MedNeXtDownBlock(  # type: ignore[no-any-return]
        in_channels=options.width * 2**level,
        out_channels=options.width * 2 ** (level + 1),
        expansion_ratio=expansion,
        kernel_size=options.kernel,
        use_residual_connection=True,
        norm_type="group",
        dim=f"{spatial_dims}d",
    )
