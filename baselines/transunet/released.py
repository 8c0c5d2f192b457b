"""The authors' released weights in our names."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from baselines.transunet.positions import resize
from harness.segmenters.released import Translation

EMBEDDINGS = "transformer.embeddings."
POSITIONS = f"{EMBEDDINGS}position_embeddings"
UNIT = rf"{re.escape(EMBEDDINGS)}hybrid_model\.body\.block(\d)\.unit(\d)\."
LAYER = r"transformer\.encoder\.layer\.(\d+)\."
BEGINNINGS = {
    f"{EMBEDDINGS}hybrid_model.root.conv.": "resnet.stem.0.",
    f"{EMBEDDINGS}hybrid_model.root.gn.": "resnet.stem.1.",
    f"{EMBEDDINGS}patch_embeddings.": "embed.",
    "transformer.encoder.encoder_norm.": "norm.",
    "decoder.conv_more.": "neck.",
    "segmentation_head.0.": "head.",
}
"""Beginnings of released names, and ours."""
IN_UNIT = {"downsample.": "downsample.conv.", "gn_proj.": "downsample.norm.", "gn": "norm"}
IN_LAYER = {"attention_norm.": "norm1.", "ffn_norm.": "norm2.", "ffn.": "mlp.", "attn.out.": "attn.proj."}
PROJECTIONS = ("query", "key", "value")
"""Their three linear layers, in the order of our one."""


def translate(released: Mapping[str, Tensor], network: nn.Module) -> Translation:
    """Maps a released state dict to ours; a :data:`harness.segmenters.released.Translator`.

    Args:
        released: Released names to tensors.
        network: A :class:`baselines.transunet.network.TransUNet`; positions are interpolated to its grid.
    """
    sources: dict[str, tuple[str, ...]] = {}
    for name in released:
        if not re.match(rf"{LAYER}attn\.({'|'.join(PROJECTIONS)})\.", name):
            sources[_rename(name)] = (name,)
        elif ".query." in name:
            parts = tuple(name.replace("query", part) for part in PROJECTIONS)
            if all(part in released for part in parts):
                sources[_rename(name.replace("query", "qkv"))] = parts
    weights = {
        ours: released[theirs[0]] if len(theirs) == 1 else torch.cat([released[part] for part in theirs])
        for ours, theirs in sources.items()
    }
    resized = frozenset[str]()
    if POSITIONS in released:
        grid: tuple[int, int] = network.grid  # type: ignore[assignment]
        weights["positions"] = resize(released[POSITIONS], grid)
        if weights["positions"].shape != released[POSITIONS].shape:
            resized = frozenset({"positions"})
    return Translation(weights, sources, resized=resized)


def _rename(name: str) -> str:
    if name == POSITIONS:
        return "positions"
    if match := re.match(UNIT, name):
        return f"resnet.stages.{int(match[1]) - 1}.{int(match[2]) - 1}.{_begin(name[match.end() :], IN_UNIT)}"
    if match := re.match(LAYER, name):
        return f"blocks.{match[1]}.{_begin(name[match.end() :], IN_LAYER)}"
    if match := re.match(r"decoder\.blocks\.(\d)\.conv(\d)\.", name):
        return f"decoder.{match[1]}.convs.{int(match[2]) - 1}.{name[match.end() :]}"
    return _begin(name, BEGINNINGS)


def _begin(name: str, beginnings: Mapping[str, str]) -> str:
    for theirs, ours in beginnings.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name
