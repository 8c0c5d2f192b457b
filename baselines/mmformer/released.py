"""The authors' state dict of mmFormer in our names."""

import re
from collections.abc import Mapping

from torch import Tensor, nn

from baselines.mmformer.network import LEVELS
from baselines.shared.renaming import rename
from baselines.shared.rfnet_names import MODALITIES, common_name
from harness.segmenters.released import Translation

_MODALITY = "|".join(MODALITIES)
_DEAD = re.compile(rf"(?:{_MODALITY})_decode_conv\.")
"""Convolutions that are never called."""
_OF_MODALITY = {"pos": "positions.{}", "encode_conv": "embeds.{}", "transformer": "within.{}"}
_BLOCK = (
    (r"\.cross_attention_list\.0\.fn\.norm\b", ".norm1"),
    (r"\.cross_attention_list\.0\.fn\.fn\.qkv\b", ".attn.qkv"),
    (r"\.cross_attention_list\.0\.fn\.fn\.proj\b", ".attn.out_proj"),
    (r"\.cross_ffn_list\.0\.fn\.norm\b", ".norm2"),
    (r"\.cross_ffn_list\.0\.fn\.fn\.net\.0\b", ".mlp.linear1"),
    (r"\.cross_ffn_list\.0\.fn\.fn\.net\.3\b", ".mlp.linear2"),
)
"""Layers of the one block of a Transformer."""


def translate(released: Mapping[str, Tensor], network: nn.Module) -> Translation:
    """Maps the released tensors to ours; layouts are the same.

    Args:
        released: Names of ``Model``, without trainer prefixes, to tensors.
        network: Network of the harness; unused.
    """
    del network
    return rename(released, our_name, frozenset(filter(_DEAD.match, released)))


def our_name(theirs: str) -> str:
    """Returns our name of a module or tensor of the released network; an unknown name is returned as it is."""
    theirs = re.sub(r"(_encoder\.e1_c1)(?=\.(?:weight|bias)$)", r"\1.conv", theirs)  # it stands alone there
    if (shared := common_name(theirs, LEVELS)) is not None:
        return shared
    if match := re.match(rf"({_MODALITY})_(pos|encode_conv|transformer)\b", theirs):
        place = _OF_MODALITY[match[2]].format(MODALITIES.index(match[1]))
        return _within_block(place + theirs[match.end() :])
    if match := re.match(r"decoder_fuse\.RFM(\d)(?:\.fusion_layer)?", theirs):
        return f"fusions.{LEVELS - int(match[1])}{theirs[match.end() :]}"
    if match := re.match(r"decoder_fuse\.seg_d(\d)", theirs):
        return f"coarse_heads.{LEVELS - 1 - int(match[1])}{theirs[match.end() :]}"
    name = theirs.replace("multimodal_decode_conv", "unembed").replace("multimodal_transformer", "between")
    return _within_block(name)


def _within_block(name: str) -> str:
    for pattern, ours in _BLOCK:
        name = re.sub(pattern, ours, name)
    return name
