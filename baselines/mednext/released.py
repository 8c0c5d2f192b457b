"""The authors' state dict of MedNeXt in our names, which are MONAI's."""

import re
from collections.abc import Mapping

from torch import Tensor, nn

from baselines.shared.renaming import rename
from harness.segmenters.released import Translation

LEVELS = 4
"""Levels beside the bottleneck."""
DUMMY = "dummy_tensor"
"""A parameter of the released network that only its checkpointing of activations needs."""


def translate(released: Mapping[str, Tensor], network: nn.Module) -> Translation:
    """Maps the released tensors to ours; layouts are the same.

    Args:
        released: Names of ``MedNeXt``, without trainer prefixes, to tensors.
        network: Network of the harness. Heads that it has not are left out.
    """
    heads = frozenset(name for name in released if re.match(r"out_[1-9]\.", name))
    supervised = hasattr(network, "out_blocks")
    ignored = frozenset(name for name in released if name == DUMMY) | (frozenset() if supervised else heads)
    return rename(released, our_name, ignored)


def our_name(theirs: str) -> str:
    """Returns our name of a module or tensor of the released network; an unknown name is returned as it is.

    Args:
        theirs: Such as ``enc_block_0.1.conv1.weight`` or ``up_3``.
    """
    match = re.match(r"(enc_block|down|up|dec_block|out)_(\d+)(.*)", theirs, re.DOTALL)
    if match is None:
        return theirs
    kind, number, rest = match[1], int(match[2]), match[3]
    if kind == "out":
        return theirs if number == 0 else f"out_blocks.{LEVELS - number}{rest}"
    place, index = {
        "enc_block": ("enc_stages", number),
        "down": ("down_blocks", number),
        "up": ("up_blocks", LEVELS - 1 - number),
        "dec_block": ("dec_stages", LEVELS - 1 - number),
    }[kind]
    return f"{place}.{index}{rest}"
