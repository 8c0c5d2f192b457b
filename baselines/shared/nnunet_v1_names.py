"""Names of nnU-Net v1's U-Net, of which MAML and A2FSeg hold one per modality, and ours."""

import re
from collections.abc import Mapping

_STAGE = re.compile(r"conv_blocks_context\.(\d+)\.(.+)")
_DECODER_STAGE = re.compile(r"conv_blocks_localization\.(\d+)\.(.+)")
_CONV = re.compile(r"(?:(\d+)\.)?blocks\.(\d+)\.(conv|instnorm)\.(.+)")
_IN_UNET = {"tu.": "ups.", "seg_outputs.": "heads."}


def names_in_unet(theirs: str, convs: int) -> list[str]:
    """Returns our names of a tensor within a U-Net; none where it is unknown.

    A block of ``dynamic_network_architectures`` registers its convolution and its norm twice, so each of their tensors
    has two names here.

    Args:
        theirs: Such as ``conv_blocks_context.0.blocks.0.conv.weight``.
        convs: Convolutions of a stage.
    """
    for pattern, place in ((_STAGE, "encoder.stages.{}.0"), (_DECODER_STAGE, "stages.{}")):
        if match := pattern.fullmatch(theirs):
            return [f"{place.format(match[1])}.convs.{name}" for name in _names_in_stage(match[2], convs)]
    return rename_prefix(theirs, _IN_UNET)


def _names_in_stage(theirs: str, convs: int) -> list[str]:
    """A stage there is one block, or (bottleneck, decoder) one of all convolutions but the last and one of the last."""
    match = _CONV.fullmatch(theirs)
    if match is None:
        return []
    block, index, layer, rest = match.groups()
    conv = convs - 1 if block == "1" else int(index)
    plain, position = ("conv", 0) if layer == "conv" else ("norm", 1)
    return [f"{conv}.{plain}.{rest}", f"{conv}.all_modules.{position}.{rest}"]


def rename_prefix(theirs: str, prefixes: Mapping[str, str]) -> list[str]:
    """Returns the name with its prefix replaced; none where it has none of them."""
    return [ours + theirs.removeprefix(prefix) for prefix, ours in prefixes.items() if theirs.startswith(prefix)]
