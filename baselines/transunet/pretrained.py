"""R50+ViT-B/16's ImageNet weights as a start for ResNet and Transformer, as in the released code.

The class token and its position are left out. A stem of another number of modalities gets the colour kernels in turn,
scaled to the same sum.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from timm.models import adapt_input_conv
from torch import Tensor

from baselines.shared.pretrained import load, read
from baselines.transunet.positions import resize

if TYPE_CHECKING:
    from baselines.transunet.network import TransUNet

STEM = "resnet.stem.0.weight"
TIMMS = {
    "patch_embed.backbone.stem.conv.": "resnet.stem.0.",
    "patch_embed.backbone.stem.norm.": "resnet.stem.1.",
    "patch_embed.backbone.stages.": "resnet.stages.",
    "patch_embed.proj.": "embed.",
    "pos_embed": "positions",
}
"""Beginnings of timm's names, and ours; blocks and norm have the same."""
GOOGLES = (
    (r"conv_root/", r"resnet.stem.0."),
    (r"gn_root/", r"resnet.stem.1."),
    (r"conv(\d)/", r"conv\1."),
    (r"gn(\d)/", r"norm\1."),
    (r"conv_proj/", r"downsample.conv."),
    (r"gn_proj/", r"downsample.norm."),
    (r"embedding/", r"embed."),
    (r"Transformer/posembed_input/pos_embedding", r"positions"),
    (r"Transformer/encoder_norm/", r"norm."),
    (r"Transformer/encoderblock_(\d+)/", r"blocks.\1."),
    (r"LayerNorm_0/", r"norm1."),
    (r"LayerNorm_2/", r"norm2."),
    (r"MlpBlock_3/Dense_0/", r"mlp.fc1."),
    (r"MlpBlock_3/Dense_1/", r"mlp.fc2."),
    (r"MultiHeadDotProductAttention_1/out/", r"attn.proj."),
    (r"(kernel|scale)$", r"weight"),
)
"""Parts of Google's names, and ours; query, key and value are joined before."""
ATTENTION = "MultiHeadDotProductAttention_1"


def load_r50_vit(network: TransUNet, path: Path) -> None:
    """Starts a network from R50+ViT-B/16's weights.

    Args:
        network: With the paper's widths, depths and heads.
        path: Google's ``R50+ViT-B_16.npz`` or the file of a timm ``vit_base_r50_s16_224``.

    Raises:
        StudyError: The file cannot be read, or holds no such weights.
    """
    given = read(path)
    weights = _from_google(given) if "conv_root/kernel" in given else _from_timm(given)
    expected = network.state_dict()
    if STEM in weights:
        weights[STEM] = adapt_input_conv(expected[STEM].shape[1], weights[STEM])
    if "positions" in weights:
        weights["positions"] = resize(weights["positions"][:, 1:], network.grid)
    needed = {name for name in expected if re.match(r"(resnet|embed|blocks|norm)\.|positions$", name)}
    load(network, weights, needed, "R50+ViT-B/16's weights")


def _from_timm(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    renamed = {}
    for name, tensor in given.items():
        beginning = next((theirs for theirs in TIMMS if name.startswith(theirs)), "")
        ours = TIMMS.get(beginning, "") + name.removeprefix(beginning)
        renamed[re.sub(r"(resnet\.stages\.\d\.)blocks\.", r"\1", ours)] = tensor
    return renamed


def _from_google(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames and turns Google's arrays: theirs are (height, width, in, out), (in, out) and (in, heads, head width)."""
    renamed = {}
    for name, array in given.items():
        if f"{ATTENTION}/key/" in name or f"{ATTENTION}/value/" in name:
            continue  # joined with the query
        if f"{ATTENTION}/query/" in name:
            parts = [given[name.replace("/query/", f"/{part}/")] for part in ("query", "key", "value")]
            ours = re.sub(rf"{ATTENTION}/query/", "attn.qkv.", name)
            tensor = torch.cat([part.flatten(1).T if part.ndim == 3 else part.flatten() for part in parts])
        elif f"{ATTENTION}/out/" in name and array.ndim == 3:
            ours, tensor = name, array.flatten(0, 1).T
        elif name.endswith("kernel"):
            ours, tensor = name, array.permute(3, 2, 0, 1) if array.ndim == 4 else array.T
        else:
            ours, tensor = name, array if name.endswith("pos_embedding") else array.flatten()
        ours = re.sub(
            r"^block(\d)/unit(\d+)/",
            lambda match: f"resnet.stages.{int(match[1]) - 1}.{int(match[2]) - 1}.",
            ours,
        )
        for theirs, replacement in GOOGLES:
            ours = re.sub(theirs, replacement, ours)
        renamed[ours] = tensor
    return renamed
