"""The authors' state dict of IVD-Net in our names."""

import re
from collections.abc import Mapping

from torch import Tensor, nn

from baselines.shared.renaming import rename
from harness.segmenters.released import Translation

_INSIDE_BLOCK = {"conv_1": "entry", "conv_2_output": "merge", "conv_3": "exit"}
_ENCODER = re.compile(r"down_(\d)_(\d+)(\..+)?")
_DECODER = re.compile(r"(deconv|up)_(\d)(\..+)?")
_BRANCH = re.compile(r"conv_2_(\d)")


def translate(released: Mapping[str, Tensor], network: nn.Module) -> Translation:
    """Maps the released tensors to ours; layouts are the same.

    Args:
        released: Names of ``IVD_Net_asym``, without trainer prefixes, to tensors.
        network: Network of the harness; unused.
    """
    del network
    return rename(released, our_name)


def our_name(theirs: str) -> str:
    """Returns our name of a module or tensor of the released network; an unknown name is returned as it is.

    Args:
        theirs: Such as ``down_2_1.conv_2_3.0.weight`` or ``bridge``.
    """
    if match := _ENCODER.fullmatch(theirs):
        return f"encoders.{int(match[1]) - 1}.{match[2]}{_inside_block(match[3])}"
    if match := _DECODER.fullmatch(theirs):
        index = int(match[2]) - 1
        return f"ups.{index}{match[3] or ''}" if match[1] == "deconv" else f"decoders.{index}{_inside_block(match[3])}"
    module, dot, rest = theirs.partition(".")
    if module == "bridge":
        return f"bridge{_inside_block(dot + rest)}"
    return f"head{dot}{rest}" if module == "out" else theirs


def _inside_block(theirs: str | None) -> str:
    """Our name of what follows a block's name, its leading dot included."""
    if not theirs:
        return ""
    _, part, *rest = theirs.split(".")
    branch = _BRANCH.fullmatch(part)
    ours = f"branches.{int(branch[1]) - 1}" if branch else _INSIDE_BLOCK.get(part, part)
    return "." + ".".join([ours, *rest])
