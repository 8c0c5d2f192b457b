"""AAHN (IEEE TMI 2025): one leading modality in a CNN, the auxiliary ones in a Transformer, fused at every level.

Nothing here imports torch; the network is in :mod:`aahn.network`.
"""

from aahn.options import AAHNOptions
from harness.segmenters.contract import Segmenter, Source, Task

__all__ = ["SEGMENTER", "AAHNOptions"]

SEGMENTER = Segmenter(
    name="aahn",
    title="AAHN",
    summary="A CNN for the leading modality and a Transformer for the auxiliary ones, fused at every level.",
    source=Source(
        paper="Asymmetric Adaptive Heterogeneous Network for Multi-Modality Medical Image Segmentation, IEEE TMI 2025",
        repository="joker-527/AAHN",
        licence="Apache-2.0",
    ),
    factory="aahn.network:build",
    pretrained_option="leading_weights",
    pretrained_finder="aahn.leading_encoder:pretrained_file",
    options=AAHNOptions,
    presets={
        "paper": {},
        "small": {
            "width": 32,
            "vit_depth": 4,
            "vit_dim": 192,
            "vit_heads": 6,
            "vit_head_dim": 32,
            "vit_mlp_dim": 256,
        },
        # At most 30 M parameters and 15 GFLOPs at 4 x 128 x 128; docs/aahn.md argues each number.
        "lite": {
            "width": 48,
            "token_patch": 2,
            "vit_depth": 4,
            "vit_dim": 192,
            "vit_heads": 6,
            "vit_head_dim": 32,
            "vit_mlp_dim": 384,
        },
        "tiny": {
            "width": 16,
            "leading_depths": (1, 1, 1, 1),
            "vit_depth": 2,
            "vit_dim": 96,
            "vit_heads": 4,
            "vit_head_dim": 24,
            "vit_mlp_dim": 96,
            "token_patch": 4,
            "head_width": 16,
            "dropout": 0.0,
        },
    },
    spatial_dims=frozenset({2}),
    modality_counts=(1, 8),
    uses_leading=True,
    official_task=Task(("t1", "t1ce", "t2", "flair"), leading=1, out_channels=4, patch_size=(128, 128)),
    official_parameters=407_692_692,
    translator="aahn.released_checkpoint:translate",
    notes=(
        "Written from the paper and from measurements of the released code; equal to it within rounding.",
        "Not built: 2 828 640 parameters of the released code (410 521 332 in all) that no gradient reaches.",
        "As released, the Transformer branch receives every modality; `auxiliary: others` gives the paper's figure.",
        "Patch sides are multiples of 16 times token_patch; positions and graph nodes are tied to the patch size.",
    ),
)
