"""Options of AAHN: every size and every ablation switch, with the released code's values as defaults."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from harness.segmenters.contract import Options

LEVELS = 4
"""Resolutions of the encoder: sides of 1/2, 1/4, 1/8 and 1/16 of the patch."""

Depth = Annotated[int, Field(ge=0, le=1024)]


class AAHNOptions(Options):
    """Sizes and switches of AAHN; the defaults are the authors' released code."""

    width: int = Field(
        default=128,
        ge=8,
        le=65536,
        multiple_of=8,
        description="Channels of both branches at level 1; each deeper level doubles them. Parameters grow with its "
        "square: the answer to the 411 M parameters the paper calls its first weakness.",
    )
    leading_depths: tuple[Depth, Depth, Depth, Depth] = Field(
        default=(3, 4, 6, 2),
        description="Residual blocks of the leading branch's group at levels 1 to 4. The first number also sets the "
        "depth of the group that reduces the fused map of level 1.",
    )
    leading_encoder: str = Field(
        default="native",
        pattern=r"^(native|smp/[A-Za-z0-9_.-]+)$",
        description="`native`: the released residual CNN. `smp/NAME`: an encoder of segmentation_models_pytorch, e.g. "
        "`smp/resnet34`, `smp/efficientnet-b0`, `smp/mit_b1`; T-CFAF and CMHGF are attached at its stages, and of "
        "leading_depths only the first number still acts. The swap that the authors suggest.",
    )
    leading_weights: str = Field(
        default="none",
        min_length=1,
        description="Pretrained weights of an `smp/` encoder: `none`, `imagenet` (only if already in the Hugging Face "
        "or torch hub cache; nothing is ever downloaded), or a file's path.",
    )
    vit_depth: int = Field(default=8, ge=1, le=1024, description="Transformer blocks in each of the three ViTs.")
    vit_dim: int = Field(default=768, ge=1, le=65536, description="Width of a token.")
    vit_heads: int = Field(default=12, ge=1, le=1024, description="Attention heads of a Transformer block.")
    vit_head_dim: int = Field(default=64, ge=1, le=65536, description="Width of one attention head.")
    vit_mlp_dim: int = Field(default=512, ge=1, le=65536, description="Hidden width of a Transformer block's MLP.")
    token_patch: int = Field(
        default=8,
        ge=1,
        le=1024,
        description="Pixels a side that one token gathers. Patch sides must be multiples of 16 times this number.",
    )
    head_width: int = Field(
        default=32,
        ge=2,
        le=65536,
        multiple_of=2,
        description="Channels of the decoder's full-resolution head (the head uses it once, twice and half).",
    )
    dropout: float = Field(
        default=0.3, ge=0.0, lt=1.0, description="Probability of dropping a channel in the decoder's head."
    )
    tcfaf: Literal["none", "ca", "cma", "full"] = Field(
        default="full",
        description="Ablation 'T-CFAF' (and its half of 'modules'). `full`: channel attention on the concatenated "
        "branches, then cross-modality attention. `ca`: cross-modality attention replaced by addition. `cma`: no "
        "channel attention before the projection. `none`: both, that is concatenation, projection, addition.",
    )
    cmhgf: Literal["full", "concat", "cma", "no_skip", "no_gnn"] = Field(
        default="full",
        description="Ablation 'CMHGF' (and its half of 'modules'). `full`: the graph fusion. `concat`: channel "
        "concatenation and a 1x1 convolution instead. `cma`: cross-modality attention instead. `no_skip`: the graph "
        "without adding the incoming leading map. `no_gnn`: the graph without the convolutional node update.",
    )
    auxiliary: Literal["all", "others"] = Field(
        default="all",
        description="What the Transformer branch sees. `all`: every modality, the leading one included (released "
        "code). `others`: every modality but the leading one (the paper's figure). Ablation 'leading modality'.",
    )
    leading_stem: Literal["repeat3", "single"] = Field(
        default="repeat3",
        description="How the leading modality enters. `repeat3`: its channel three times (released code). `single`: "
        "once. Without a leading modality every modality enters once, whatever this says.",
    )
    checkpointing: bool = Field(
        default=False,
        description="Gradient checkpointing: activations inside the large modules are computed again in the backward "
        "pass instead of kept. Less memory, about a third more compute, the same numbers. Ignored under torch.compile.",
    )

    @model_validator(mode="after")
    def _weights_need_an_encoder(self) -> AAHNOptions:
        if self.leading_encoder == "native" and self.leading_weights != "none":
            raise ValueError("leading_weights needs a leading_encoder of `smp/`; the native one has none")
        return self
