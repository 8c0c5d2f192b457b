"""AAHN: the Asymmetric Adaptive Heterogeneous Network, assembled.

Source: *Asymmetric Adaptive Heterogeneous Network for Multi-Modality Medical Image Segmentation*, IEEE TMI 2025, and
the authors' code, ``joker-527/AAHN``. Where the released code departs from the paper's figure, the released code is the
default:

- the Transformer branch receives every modality, not the auxiliary ones only (option ``auxiliary``);
- the leading modality enters as one channel repeated three times (option ``leading_stem``);
- tokens are strided samples of the whole map, not blocks (:mod:`aahn.transformer_branch`);
- level 1 has no cross-modality attention (:mod:`aahn.tcfaf`);
- the reduced graphs are re-read in memory order, not transposed (:mod:`aahn.cmhgf`).

Modules that the released code builds and never uses (2 828 640 parameters that no gradient reaches) are not built.
"""

import torch
from torch import Tensor, nn

from aahn.blocks import run
from aahn.cmhgf import build_fusion
from aahn.decoder import Decoder
from aahn.leading_branch import LeadingBranch, LeadingLevel
from aahn.leading_encoder import EncoderLeadingBranch
from aahn.options import LEVELS, AAHNOptions
from aahn.tcfaf import TCFAF
from aahn.transformer_branch import TransformerBranch
from harness.errors import StudyError
from harness.segmenters.contract import Options, Task


class AAHN(nn.Module):
    """Two asymmetric encoders, fused at every level, and one decoder.

    Args:
        task: Two-dimensional segmentation task.
        options: Sizes and switches.

    Raises:
        StudyError: The patch size does not suit the strides and the token patch, or ``auxiliary: others`` leaves the
            Transformer branch without a modality, or the leading encoder or its weights are not there.
    """

    def __init__(self, task: Task, options: AAHNOptions) -> None:
        super().__init__()
        self.patch_size = check_patch_size(task.patch_size, options.token_patch)
        self.in_channels = task.in_channels
        self.options = options
        self.modalities = ModalitySplit(task, options)
        deepest = (self.patch_size[0] >> LEVELS, self.patch_size[1] >> LEVELS)
        self.transformer = TransformerBranch(self.modalities.auxiliary_channels, self.patch_size, options)
        self.leading = _build_leading(self.modalities.leading_channels, options)
        self.tcfaf = nn.ModuleList(TCFAF.at_level(level, options) for level in range(LEVELS))
        self.cmhgf = build_fusion(options.width << (LEVELS - 1), deepest, options)
        self.decoder = Decoder(task.out_channels, options)

    def forward(self, x: Tensor) -> Tensor:
        """Segments.

        Args:
            x: ``(B, M, H, W)``, modalities in the task's order, ``(H, W)`` the task's patch size.

        Returns:
            Logits ``(B, K, H, W)``.

        Raises:
            ValueError: The input has another number of modalities or another size than the network was built for.
        """
        if x.ndim != 4 or x.shape[1] != self.in_channels or tuple(x.shape[2:]) != self.patch_size:
            raise ValueError(
                f"AAHN was built for (B, {self.in_channels}, {self.patch_size[0]}, {self.patch_size[1]}) and was given "
                f"{tuple(x.shape)}; positions and graph nodes are tied to the patch size"
            )
        own, others = self.modalities(x)
        context = self.transformer(others)
        stages = self.leading.stages(own)  # of an encoder that runs on its own; the native branch has none
        checkpointing = self.options.checkpointing
        maps: list[Tensor] = []
        for level, fuse, stage, from_transformer in zip(self.leading.levels, self.tcfaf, stages, context, strict=True):
            assert isinstance(level, LeadingLevel)
            own = level.entry(own)  # (B, width * 2^l, H / 2^(l+1), W / 2^(l+1)), as all that follows at level l
            if stage is not None:
                own = own + stage
            own = run(fuse, own, from_transformer, checkpointing=checkpointing)
            own = run(level.refine, own, checkpointing=checkpointing)
            maps.append(own)
        fused = run(self.cmhgf, own, context[-1], checkpointing=checkpointing)  # (B, 8 width, H / 16, W / 16)
        logits: Tensor = self.decoder(fused, maps[:-1])
        return logits


class ModalitySplit(nn.Module):
    """Deals the modalities out to the two branches; has no parameters.

    Args:
        task: Names and the leading index. Without a leading modality there is no discrimination: every modality enters
            both branches, whatever the options say.
        options: ``auxiliary`` and ``leading_stem``.

    Raises:
        StudyError: ``auxiliary: others`` with a leading modality that has no other beside it.
    """

    def __init__(self, task: Task, options: AAHNOptions) -> None:
        super().__init__()
        self.leading = task.leading
        self.repeats = 3 if options.leading_stem == "repeat3" else 1
        self.leading_channels = task.in_channels if task.leading is None else self.repeats
        self.others = task.leading is not None and options.auxiliary == "others"
        self.auxiliary_channels = task.in_channels - self.others
        if self.auxiliary_channels == 0:
            raise StudyError(
                f"aahn: `auxiliary: others` leaves the Transformer branch nothing beside '{task.modalities[0]}'.",
                hint="Use `auxiliary: all`, or a dataset with more than one modality.",
            )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Maps ``(B, M, H, W)`` to the leading branch's input and the Transformer branch's input."""
        if self.leading is None:
            return x, x
        own = x[:, self.leading : self.leading + 1].expand(-1, self.repeats, -1, -1)
        if not self.others:
            return own, x
        return own, torch.cat([x[:, : self.leading], x[:, self.leading + 1 :]], dim=1)


def check_patch_size(patch_size: tuple[int, ...], token_patch: int) -> tuple[int, int]:
    """Returns the patch size if the network can be built for it.

    Args:
        patch_size: Height and width in pixels.
        token_patch: Pixels a side that one token gathers.

    Raises:
        StudyError: There are not two sides, or a side is not a multiple of 16 times the token patch; the hint names the
            nearest valid size.
    """
    if len(patch_size) != 2:
        raise StudyError(f"aahn works in 2D, not in {len(patch_size)}D.", hint="Choose a 2D protocol.")
    height, width = patch_size
    unit = (1 << LEVELS) * token_patch
    if height < 1 or width < 1 or height % unit or width % unit:
        nearest = "x".join(str(max(1, (side + unit // 2) // unit) * unit) for side in patch_size)
        raise StudyError(
            f"aahn with token_patch {token_patch} needs patch sides in multiples of {unit}, not {height}x{width}.",
            hint=f"The nearest valid patch_size is {nearest}; a smaller token_patch allows finer steps.",
        )
    return height, width


def _build_leading(in_channels: int, options: AAHNOptions) -> LeadingBranch | EncoderLeadingBranch:
    if options.leading_encoder == "native":
        return LeadingBranch(in_channels, options)
    return EncoderLeadingBranch(in_channels, options)


def build(task: Task, options: Options) -> AAHN:
    """Builds AAHN; the factory behind :data:`aahn.SEGMENTER`.

    Args:
        task: Segmentation task.
        options: :class:`~aahn.options.AAHNOptions`.

    Raises:
        StudyError: See :class:`AAHN`.
        TypeError: The options are another segmenter's.
    """
    if not isinstance(options, AAHNOptions):
        raise TypeError(f"AAHN needs AAHNOptions, not {type(options).__name__}")
    return AAHN(task, options)
