"""The authors' state dict of UNETR++ (tumour network) in our names."""

import re
from collections.abc import Mapping

from torch import Tensor, nn

from baselines.shared.renaming import rename
from harness.segmenters.released import Translation

_COARSEST_DECODER = 5
"""Number of the coarsest level of their decoder; ours counts from 0."""
_PLACES = (
    (r"unetr_pp_encoder\.downsample_layers\.(\d)\.0\.conv", r"downs.\1.0"),
    (r"unetr_pp_encoder\.downsample_layers\.", "downs."),
    (r"unetr_pp_encoder\.stages\.", "levels."),
    (r"encoder1\b", "image"),
    (r"decoder2\.transp_conv(\.conv)?", "last_up"),
    (r"decoder2\.decoder_block\.0", "last"),
    (r"decoder2\b", "last"),
    (r"out1(\.conv\.conv)?\b", "head"),
    (r"out2(\.conv\.conv)?\b", "coarse_heads.0"),
    (r"out3(\.conv\.conv)?\b", "coarse_heads.1"),
)
_BLOCK = (
    (r"\.pos_embed\b", ".positions"),
    (r"\.gamma\b", ".scale"),
    (r"\.epa_block\b", ".attention"),
    (r"\.temperature\b", ".channel_temperature"),
    (r"\.temperature2\b", ".place_temperature"),
    (r"\.EF\b", ".project"),
    (r"\.conv51\b", ".convs"),
    (r"\.conv8\b", ".finish"),
)


def translate(released: Mapping[str, Tensor], network: nn.Module) -> Translation:
    """Maps the released tensors to ours; layouts are the same.

    Args:
        released: Names of ``UNETR_PP``, without trainer prefixes, to tensors.
        network: Network of the harness. Coarser heads that it has not are left out.
    """
    supervised = hasattr(network, "coarse_heads")
    heads = frozenset() if supervised else frozenset(name for name in released if name.startswith(("out2.", "out3.")))
    return rename(released, our_name, heads)


def our_name(theirs: str) -> str:
    """Returns our name of a module or tensor of the released network; an unknown name is returned as it is."""
    if match := re.match(r"decoder([345])(\.transp_conv(?:\.conv)?|\.decoder_block\.0)?", theirs):
        place = "ups" if (match[2] or "").startswith(".transp_conv") else "decoder"
        name = f"{place}.{_COARSEST_DECODER - int(match[1])}{theirs[match.end() :]}"
    else:
        name = theirs
        for pattern, ours in _PLACES:
            name, count = re.subn(rf"^{pattern}", ours, name)
            if count:
                break
    for pattern, ours in _BLOCK:
        name = re.sub(pattern, ours, name)
    return name
