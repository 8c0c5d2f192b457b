"""MBANet (2023): a U-shaped network of shuffle units, with shuffle attention in its encoder and its skips.

From the paper: no code to compare with. The authors published none, and we know the abstract alone: all modalities
enter together; the basic unit splits the channels, convolves in groups, fuses and shuffles the channels; 3D shuffle
attention (groups of channels, of each one half attends to channels and one half to places) follows in the encoder and
stands in the skips. Every gap is filled by the plainest choice:

- A U-Net of five levels; a 3-wide convolution to 32 channels, then a strided one per level, which doubles them.
- Each convolution has a batch norm, as in ShuffleNet v2 (ECCV 2018), and a LeakyReLU 0.01.
- A basic unit passes one half of its channels on, and leads the other through 1-, 3- (in groups) and 1-wide units; both
  are concatenated, then shuffled. Two such units per level, in encoder and decoder.
- Eight groups, of the convolution and of the attention.
- Shuffle attention as SA-Net (ICASSP 2021) has it: a scale and a bias per channel, on the mean of each channel or on
  its normalised map, a sigmoid, a shuffle; a scale starts at 0 and a bias at 1.
- The decoder doubles the resolution by a transposed convolution, and joins the skip by a 1-wide unit.
- torch's initialisation; no dropout; no deep supervision. No recipe of the authors' is known to us.
- 2D is the same network with two-dimensional layers.

Nothing here imports torch; the network is in :mod:`baselines.mbanet.network`.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from harness.segmenters.contract import Options, Segmenter, Source

__all__ = ["SEGMENTER", "MBANetOptions"]


class MBANetOptions(Options):
    """Options of MBANet; the defaults are ours."""

    width: int = Field(
        default=32,
        ge=2,
        le=65536,
        description="Channels at full resolution; each of the four coarser levels doubles them.",
    )
    groups: int = Field(default=8, ge=1, le=32768, description="Groups of channels in convolutions and attention.")

    @model_validator(mode="after")
    def _groups_divide_half_the_width(self) -> Self:
        if self.width % (2 * self.groups):
            raise ValueError(f"twice the groups, {2 * self.groups}, do not divide width {self.width}")
        return self


SEGMENTER = Segmenter(
    name="mbanet",
    title="MBANet",
    summary="Shuffle units in a U shape, with attention to channels and places in the encoder and the skips.",
    source=Source(
        paper="MBANet: A 3D convolutional neural network with multi-branch attention for brain tumor segmentation from "
        "MRI images, Biomedical Signal Processing and Control 2023",
        paper_only=True,
    ),
    factory="baselines.mbanet.network:build",
    options=MBANetOptions,
    presets={"paper": {}, "tiny": {"width": 16, "groups": 4}},
    spatial_dims=frozenset({2, 3}),
    adapted_dims=frozenset({2}),
    contiguous_dims=frozenset({3}),
    notes=(
        "Known from the abstract: shuffle units with group convolution, shuffle attention in encoder and skips, all "
        "modalities together. Depth, widths, groups and norm are the plainest choice.",
        "The authors' training is not known to us: `protocol: native` is protocol paper.",
        "Patch sides are multiples of 16.",
        "2D is the same network with two-dimensional layers, which the authors never had.",
    ),
)
