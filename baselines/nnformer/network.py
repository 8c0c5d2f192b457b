"""nnFormer: convolutional embedding, window attention at four resolutions, skip attention on the way back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from baselines.nnformer.attention import Geometry, SelfAttentionBlock, SkipAttentionBlock
from baselines.shared.channel_norm import ChannelNorm
from harness.errors import StudyError

if TYPE_CHECKING:
    from baselines.nnformer import NnFormerOptions
    from harness.segmenters.contract import Task

LEVELS = 4
"""Resolutions of the encoder; the decoder has all but the coarsest."""
BLOCKS = 2
"""Blocks of a level, in the encoder and in the decoder; the second of a pair is shifted."""


class NnFormer(nn.Module):
    """nnFormer (Zhou et al., arXiv 2021, TIP 2023), in two or three dimensions.

    Official code: 282857341/nnFormer (MIT), ``nnFormer_tumor.py``; no line of it is copied. Kept: the function,
    parameters and initialisation (bias tables truncated normal, the rest PyTorch's own), dropped paths. Decided:

    - The relative position index is the released one by default, collisions included; ``relative_index: correct`` gives
      every offset its row. Tables have the same shape either way.
    - The decoder's heads are the released tumour network's by default (6, 12, 24 at widths 96, 192, 384);
      ``decoder_heads: matched`` gives 3, 6, 12 as the authors' Synapse network does in its own widths. Weights differ
      in the number of columns of the bias tables only.
    - The released constructor loads weights from a private path; here the network starts from its initialisation.
    - Modalities, classes and patch follow the task. A map smaller than a window is one window; an axis with a single
      window is not shifted; a map that windows do not divide is padded with zeros behind the norm, as in the released
      code, which neither masks them.
    - Deep supervision is off by default, as for tumours. On, it adds outputs at a half and a quarter of the resolution
      with weights 1, 1/2, 1/4, normalised, in training mode only.

    Args:
        in_channels: Number of modalities.
        out_channels: Number of classes.
        patch_size: Spatial size of the input; a multiple of 8 tokens along each axis.
        token_size: Voxels of a token along each axis at the finest level; 1, 2 or 4.
        options: Widths, heads, windows and variants.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        patch_size: Sequence[int],
        token_size: Sequence[int],
        options: NnFormerOptions,
    ) -> None:
        super().__init__()
        dims = len(patch_size)
        widths = [options.width * 2**level for level in range(LEVELS)]
        heads = [options.num_heads * 2**level for level in range(LEVELS)]
        tokens = [side // token for side, token in zip(patch_size, token_size, strict=True)]

        def geometry(level: int, heads: int) -> Geometry:
            grid = tuple(side // 2**level for side in tokens)
            window = options.windows[level]
            return Geometry(widths[level], grid, window, heads, options.mlp_ratio, options.relative_index)

        self.embed = _embedding(dims, in_channels, options.width, token_size)
        self.levels = nn.ModuleList()
        for level, rates in enumerate(_drop_path_rates(options.drop_path, LEVELS)):
            place = geometry(level, heads[level])
            self.levels.append(
                nn.Sequential(*(SelfAttentionBlock(place, index % 2 == 1, rate) for index, rate in enumerate(rates)))
            )
        self.downs = nn.ModuleList(_Down(dims, width) for width in widths[:-1])
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in widths)

        self.decoder = nn.ModuleList()
        coarser = 1 if options.decoder_heads == "released" else 0
        decoder_levels = range(LEVELS - 2, -1, -1)
        for level, rates in zip(decoder_levels, _drop_path_rates(options.drop_path, LEVELS - 1), strict=True):
            self.decoder.append(_DecoderLevel(dims, geometry(level, heads[level + coarser]), rates))

        outputs = LEVELS - 1 if options.deep_supervision else 1
        self.heads = nn.ModuleList(
            Conv["convtrans", dims](width, out_channels, tuple(token_size), stride=tuple(token_size))
            for width in widths[:outputs]
        )
        if options.deep_supervision:
            weights = [0.5**output for output in range(outputs)]
            self.deep_supervision_weights = [weight / sum(weights) for weight in weights]
        self.dead_parameters = frozenset(
            name
            for name, parameter in self.named_parameters()
            if name.endswith("position_bias.table") and len(parameter) == 1
        )
        """Biases of windows of one token, where attention has nothing to choose from."""

    def forward(self, images: Tensor) -> Tensor | list[Tensor]:
        """Segments images.

        Args:
            images: ``(B, M, *patch_size)``.

        Returns:
            Logits ``(B, K, *patch_size)``; in training mode with deep supervision a list of three, the second and third
            at a half and a quarter of the resolution.
        """
        x = self.embed(images).movedim(1, -1)
        skips = []
        for index, (level, norm) in enumerate(zip(self.levels, self.norms, strict=True)):
            x = level(x)
            skips.append(norm(x))
            if index < len(self.downs):
                x = self.downs[index](x)
        x = skips.pop()
        maps = []
        for level in self.decoder:
            x = level(x, skips.pop())
            maps.append(x)
        if not self.training or len(self.heads) == 1:
            finest: Tensor = self.heads[0](x.movedim(-1, 1))
            return finest
        return [head(x.movedim(-1, 1)) for head, x in zip(self.heads, reversed(maps), strict=True)]


class _Down(nn.Module):
    """Halves the resolution of ``(B, *grid, C)`` and doubles its channels."""

    def __init__(self, dims: int, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.conv = Conv["conv", dims](channels, 2 * channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(nn.functional.gelu(x))
        down: Tensor = self.conv(x.movedim(-1, 1)).movedim(1, -1)
        return down


class _Up(nn.Module):
    """Doubles the resolution of ``(B, *grid, 2 C)`` and halves its channels."""

    def __init__(self, dims: int, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(2 * channels)
        self.conv = Conv["convtrans", dims](2 * channels, channels, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        up: Tensor = self.conv(self.norm(x).movedim(-1, 1)).movedim(1, -1)
        return up


class _DecoderLevel(nn.Module):
    """Upsampling, skip attention and one ordinary, shifted block.

    Args:
        dims: 2 or 3.
        geometry: That of skip and output; the input has twice the channels and half the resolution.
        rates: Dropped paths of the two blocks.
    """

    def __init__(self, dims: int, geometry: Geometry, rates: Sequence[float]) -> None:
        super().__init__()
        self.up = _Up(dims, geometry.channels)
        self.fuse = SkipAttentionBlock(geometry, shifted=False, drop_path=rates[0])
        self.refine = SelfAttentionBlock(geometry, shifted=True, drop_path=rates[1])

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        refined: Tensor = self.refine(self.fuse(skip, self.up(x)))
        return refined


def build(task: Task, options: NnFormerOptions) -> NnFormer:
    """Builds nnFormer for a task.

    Args:
        task: Segmentation task.
        options: Widths, heads, windows and variants.

    Raises:
        StudyError: ``token_size`` has another number of axes, or a side of the patch is not a multiple of 8 tokens.
    """
    given = options.token_size
    token_size = (given,) * task.spatial_dims if isinstance(given, int) else given
    if len(token_size) != task.spatial_dims:
        raise StudyError(
            f"nnformer: token_size {list(token_size)} does not fit a patch of {task.spatial_dims} axes.",
            hint="Give one number, or one for each axis of the protocol's patch_size.",
        )
    units = [token * 2 ** (LEVELS - 1) for token in token_size]
    nearest = tuple(
        max(unit, (side + unit // 2) // unit * unit) for side, unit in zip(task.patch_size, units, strict=True)
    )
    if nearest != task.patch_size:
        given, unit, valid = (" x ".join(map(str, sides)) for sides in (task.patch_size, units, nearest))
        raise StudyError(
            f"nnformer halves a map of tokens three times: a patch of {given} is not a multiple of {unit}.",
            hint=f"Nearest valid patch_size: {valid}.",
        )
    return NnFormer(task.in_channels, task.out_channels, task.patch_size, token_size, options)


def _embedding(dims: int, in_channels: int, width: int, token_size: Sequence[int]) -> nn.Sequential:
    """Returns four convolutions, of which the first and the third reduce ``token_size`` voxels to one."""
    convolution, half = Conv["conv", dims], width // 2
    first = tuple(min(token, 2) for token in token_size)
    third = tuple(token // step for token, step in zip(token_size, first, strict=True))
    return nn.Sequential(
        convolution(in_channels, half, 3, stride=first, padding=1),
        nn.GELU(),
        ChannelNorm(half),
        convolution(half, half, 3, padding=1),
        nn.GELU(),
        ChannelNorm(half),
        convolution(half, width, 3, stride=third, padding=1),
        nn.GELU(),
        ChannelNorm(width),
        convolution(width, width, 3, padding=1),
        ChannelNorm(width),
    )


def _drop_path_rates(last: float, levels: int) -> list[list[float]]:
    """Returns rates that rise evenly from 0 to ``last`` over the blocks of all levels, by level."""
    steps = levels * BLOCKS - 1
    return [[last * (level * BLOCKS + block) / steps for block in range(BLOCKS)] for level in range(levels)]
