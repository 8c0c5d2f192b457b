"""The authors' state dict of M2FTrans in our names."""

import re
from collections.abc import Mapping

from torch import Tensor, nn

from baselines.m2ftrans.network import LEVELS
from baselines.shared.renaming import rename
from baselines.shared.rfnet_names import MODALITIES, common_name
from harness.segmenters.released import Translation

_MODALITY = "|".join(MODALITIES)
_TRANSFORMER = (
    (r"\.cross_attention_list\b", ".attentions"),
    (r"\.cross_ffn_list\b", ".mlps"),
    (r"\.fn\.fn\.(qkv)\b", r".\1"),
    (r"\.fn\.fn\.proj\b", ".project"),
    (r"\.fn\.fn\.net\b", ".layers"),
    (r"\.fn\.norm\b", ".norm"),
)
_CROSS = (
    (r"\.cross_attn\b", ".attention"),
    (r"\.query_map\b", ".query"),
    (r"\.out_project\b", ".project"),
    (r"\.ffn1\b", ".of_fused"),
    (r"\.ffn2\b", ".of_maps"),
    (r"\.(?:pwconv1|conv1)\b", ".convs.0"),
    (r"\.(?:dwconv|conv2)\b", ".convs.1"),
    (r"\.(?:pwconv2|conv3)\b", ".convs.2"),
    *((rf"\.norm{number + 1}\b", f".norms.{number}") for number in range(3)),
    *((rf"\.(key|value)_map_{name}\b", rf".\1s.{index}") for index, name in enumerate(MODALITIES)),
)


def translate(released: Mapping[str, Tensor], network: nn.Module) -> Translation:
    """Maps the released tensors to ours; layouts are the same.

    Args:
        released: Names of ``Model``, without trainer prefixes, to tensors.
        network: Network of the harness; unused.
    """
    del network
    return rename(released, our_name)


def our_name(theirs: str) -> str:
    """Returns our name of a module or tensor of the released network; an unknown name is returned as it is."""
    if match := re.match(r"decoder_fusion\.d5_(c2|out)\b", theirs):
        return f"bottom.{0 if match[1] == 'c2' else 1}{theirs[match.end() :]}"
    if (shared := common_name(theirs, LEVELS)) is not None:
        return shared
    if match := re.match(r"decoder_fusion\.(CT|RFM|prm_fusion)(\d)(?:\.fusion_layer|\.prm_layer)?", theirs):
        first = {"CT": ("crosses", 5), "RFM": ("fusions", 3), "prm_fusion": ("maps", 5)}
        place, coarsest = first[match[1]]
        rest = theirs[match.end() :]
        return f"{place}.{coarsest - int(match[2])}{_renamed(rest, _CROSS) if match[1] == 'CT' else rest}"
    if theirs == "pos":
        return "positions"
    return _renamed(theirs.replace("Bottleneck.trans_bottle", "transformer"), _TRANSFORMER)


def _renamed(name: str, rules: tuple[tuple[str, str], ...]) -> str:
    for pattern, ours in rules:
        name = re.sub(pattern, ours, name)
    return name
