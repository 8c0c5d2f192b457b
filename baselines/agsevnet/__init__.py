"""3D AGSE-VNet (2022): a V-Net with squeeze-excite in its encoder and an attention guided filter in its decoder.

From the paper: no code to compare with. The authors published none. Known are a V-Net for all modalities together, a
squeeze-excite block in every stage of the encoder and an "attention guide filter" in every stage of the decoder, which
shall guide edges and remove noise. Every gap is filled by the plainest choice:

- Stages as in V-Net (3DV 2016): 16 to 256 channels; 1, 2, 3, 3, 3 convolutions in the encoder and 3, 3, 2, 1 in the
  decoder, 5 wide, and the input of a stage added to its output; strided and transposed convolutions between stages.
- Each convolution has an instance norm without parameters and a LeakyReLU 0.01 (V-Net: PReLU and no norm).
- Squeeze-excite on the output of a stage of the encoder, 1/16 of its channels wide, with LeakyReLU 0.01
  so that a block of one unit cannot die.
- The filter is He's guided filter (TPAMI 2013) channel by channel, with the encoder's map as guide, on the decoder's
  upsampled map; each place of a 3-wide window weighs as an additive attention gate (1-wide convolutions of both maps,
  ReLU, one channel, sigmoid) says; regularisation 0.01. Its result stands where V-Net has the encoder's map.
- torch's initialisation; no dropout; no deep supervision. No recipe of the authors' is known to us.
- 2D is the same network with two-dimensional layers.

Nothing here imports torch; the network is in :mod:`baselines.agsevnet.network`.
"""

from typing import Literal

from pydantic import Field

from harness.segmenters.contract import Options, Segmenter, Source

__all__ = ["SEGMENTER", "AGSEVNetOptions"]


class AGSEVNetOptions(Options):
    """Options of 3D AGSE-VNet; the defaults are V-Net's."""

    width: int = Field(
        default=16,
        ge=1,
        le=65536,
        description="Channels at full resolution; each of the four coarser levels doubles them.",
    )
    kernel: Literal[3, 5] = Field(default=5, description="Side of the kernels of a stage.")


SEGMENTER = Segmenter(
    name="agsevnet",
    title="AGSE-VNet",
    summary="A V-Net with squeeze-excite in the encoder and a guided filter, weighed by attention, in the decoder.",
    source=Source(
        paper="3D AGSE-VNet: an automatic brain tumor MRI data segmentation framework, BMC Medical Imaging 2022",
        paper_only=True,
    ),
    factory="baselines.agsevnet.network:build",
    options=AGSEVNetOptions,
    presets={"paper": {}, "tiny": {"width": 4, "kernel": 3}},
    spatial_dims=frozenset({2, 3}),
    adapted_dims=frozenset({2}),
    contiguous_dims=frozenset({3}),
    notes=(
        "Known from the paper: a V-Net, squeeze-excite in the encoder, an attention guided filter in the decoder. How "
        "the filter works, widths and norm are the plainest choice.",
        "The authors' training is not known to us: `protocol: native` is protocol paper.",
        "Patch sides are multiples of 16.",
        "2D is the same network with two-dimensional layers, which the authors never had.",
    ),
)
