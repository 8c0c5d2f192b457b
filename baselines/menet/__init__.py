"""ME-Net (2021): one convolutional encoder per modality, one decoder for what all of them found.

From the paper: no code to compare with. The authors published none. Known are four encoders, one per modality, whose
feature maps are merged for one decoder, and a loss that weighs the regions. Every gap is filled by the plainest choice:

- Five levels of two 3-wide convolutions, each with instance norm and LeakyReLU 0.01; 16 channels, doubled per level.
- The first convolution of a level halves the resolution by its stride.
- The maps of all modalities are concatenated, at every level; two convolutions merge the coarsest ones.
- The decoder doubles the resolution by a transposed convolution, and joins the concatenated maps by two convolutions.
- Any number of modalities; absent ones are images like others, since the paper tests with all of them.
- torch's initialisation; no dropout; no deep supervision.
- The weights of the loss "Categorical Dice" are not known to us, so there is no recipe of the authors' own.
- 2D is the same network with two-dimensional layers.

Nothing here imports torch; the network is in :mod:`baselines.menet.network`.
"""

from pydantic import Field

from harness.segmenters.contract import Options, Segmenter, Source

__all__ = ["SEGMENTER", "MENetOptions"]


class MENetOptions(Options):
    """Options of ME-Net; the defaults are ours."""

    width: int = Field(
        default=16,
        ge=1,
        le=65536,
        description="Channels at full resolution; each of the four coarser levels doubles them.",
    )


SEGMENTER = Segmenter(
    name="menet",
    title="ME-Net",
    summary="One convolutional encoder per modality, merged at every level, one decoder.",
    source=Source(
        paper="ME-Net: Multi-encoder net framework for brain tumor segmentation, International Journal of Imaging "
        "Systems and Technology 2021",
        paper_only=True,
    ),
    factory="baselines.menet.network:build",
    options=MENetOptions,
    presets={"paper": {}, "tiny": {"width": 4}},
    spatial_dims=frozenset({2, 3}),
    adapted_dims=frozenset({2}),
    contiguous_dims=frozenset({3}),
    notes=(
        "Known from the paper: an encoder per modality, one decoder for their merged maps. Widths, layers, norm and "
        "the way of merging are the plainest choice.",
        "The weights of the authors' loss are not known to us: `protocol: native` is protocol paper.",
        "Patch sides are multiples of 16.",
        "2D is the same network with two-dimensional layers, which the authors never had.",
    ),
)
