"""The authors' state dict of RFNet in our names."""

import re
from collections.abc import Mapping

from torch import Tensor, nn

from baselines.rfnet.network import LEVELS
from baselines.shared.rfnet_names import common_name
from harness.segmenters.released import Translation

_PARTS = (
    (r"decoder_fuse\.prm_generator(\d)\b", "maps"),
    (r"decoder_fuse\.RFM(\d)\b", "fusions"),
)
_WITHIN = (
    (r"\.embedding_layer\b", ".embed"),
    (r"\.prm_layer\b", ".classify"),
    (r"\.modal_fusion\b", ".weigh"),
    (r"\.weight_layer\b", ".layers"),
    (r"\.region_fusion\.fusion_layer\b", ".join"),
)


def translate(released: Mapping[str, Tensor], network: nn.Module) -> Translation:
    """Maps the released tensors to ours; the 1-wide convolutions that weigh modalities are linear layers here.

    Args:
        released: Names of ``Model``, without trainer prefixes, to tensors.
        network: Network of the harness; unused.
    """
    del network
    names = {theirs: our_name(theirs) for theirs in released}
    return Translation(
        {
            ours: released[theirs].flatten(1) if ".weigh." in ours and ours.endswith("weight") else released[theirs]
            for theirs, ours in names.items()
        },
        {ours: (theirs,) for theirs, ours in names.items()},
    )


def our_name(theirs: str) -> str:
    """Returns our name of a module or tensor of the released network; an unknown name is returned as it is."""
    if (shared := common_name(theirs, LEVELS)) is not None:
        return shared
    for pattern, ours in _PARTS:
        if match := re.match(pattern, theirs):
            name = f"{ours}.{LEVELS - int(match[1])}{theirs[match.end() :]}"
            for inner, replacement in _WITHIN:
                name = re.sub(inner, replacement, name)
            return name
    return theirs
