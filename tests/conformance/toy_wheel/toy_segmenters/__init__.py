"""A third party's segmenter: two convolutions."""

from __future__ import annotations

from pydantic import Field

from harness.segmenters import Options, Segmenter, Source

__all__ = ["SEGMENTER", "ToyOptions"]


class ToyOptions(Options):
    """What can be changed."""

    width: int = Field(default=32, ge=1, description="Channels of the hidden layer.")


SEGMENTER = Segmenter(
    name="toy",
    title="Toy",
    summary="Two convolutions.",
    source=Source(paper="None; an example"),
    factory="toy_segmenters.network:build",
    options=ToyOptions,
    presets={"paper": {}, "tiny": {"width": 8}},
    spatial_dims=frozenset({2, 3}),
)
