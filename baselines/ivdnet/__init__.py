"""IVD-Net (2018): one encoder per modality, densely linked across modalities and levels, and one decoder.

Nothing here imports torch; the network is in :mod:`baselines.ivdnet.network`.
"""

from typing import Literal

from pydantic import Field

from baselines.shared.recipes import recipe
from harness.segmenters.contract import Options, Segmenter, Source, Task

__all__ = ["SEGMENTER", "IVDNetOptions"]


class IVDNetOptions(Options):
    """Options of IVD-Net; the defaults are the released code's."""

    width: int = Field(
        default=32,
        ge=1,
        le=65536,
        description="Channels at full resolution; each pooling doubles them.",
    )
    crop: Literal["centre", "pool", "resize"] = Field(
        default="centre",
        description="How a level's input is brought to the size of the next one. `centre` (released): its central "
        "half is cut out, which does not lie over the pooled maps it joins. `pool`: max pooling. `resize`: bilinear.",
    )


SEGMENTER = Segmenter(
    name="ivdnet",
    title="IVD-Net",
    summary="One Inception-like encoder per modality, dense links between all of them, one decoder.",
    source=Source(
        paper="IVD-Net: Intervertebral disc localization and segmentation in MRI with a multi-modal UNet, arXiv 2018",
        repository="josedolz/IVD-Net",
        licence="none given",
    ),
    factory="baselines.ivdnet.network:build",
    options=IVDNetOptions,
    presets={
        "paper": {},
        "tiny": {"width": 4},
    },
    spatial_dims=frozenset({2}),
    official_task=Task(
        ("in_phase", "opposed_phase", "fat", "water"), leading=None, out_channels=2, patch_size=(256, 256)
    ),
    official_parameters=54_313_954,
    translator="baselines.ivdnet.released:translate",
    native_recipe=recipe(
        # Theirs: inputs scaled to [0, 1], which a protocol cannot ask for.
        batch_size=4,
        epochs=200,
        optimiser={"name": "adam", "lr": 1e-4, "betas": (0.9, 0.99), "weight_decay": 0},
        schedule={"name": "constant"},
        loss={"cross_entropy": 1, "dice": 0},
        augmentation={},
    ),
    notes=(
        "The released code takes exactly 4 modalities; its input widths generalise to any number.",
        "As released, dense links over levels are centre crops, which do not align with the maps they join (`crop`).",
        "2D only, as released. The repository carries no licence; nothing of it was copied.",
    ),
)
