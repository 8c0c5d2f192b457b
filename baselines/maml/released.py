"""The authors' state dict of MAML in our names."""

import re
from collections.abc import Mapping

from torch import Tensor, nn

from harness.segmenters.released import Translation

_UNET = re.compile(r"modality_specific_models\.(\d+)\.(.+)")
_STAGE = re.compile(r"conv_blocks_context\.(\d+)\.(.+)")
_DECODER_STAGE = re.compile(r"conv_blocks_localization\.(\d+)\.(.+)")
_CONV = re.compile(r"(?:(\d+)\.)?blocks\.(\d+)\.(conv|instnorm)\.(.+)")
_ATTENTION = re.compile(r"modality_aware_modules\.(\d+\..+)")
_RENAMED = {"fusion.": "mix.", "output.": "head."}
_IN_UNET = {"tu.": "ups.", "seg_outputs.": "heads."}


def translate(released: Mapping[str, Tensor], network: nn.Module) -> Translation:
    """Maps the released tensors to ours; layouts are the same.

    A block of ``dynamic_network_architectures`` registers its convolution and its norm twice, so each of their tensors
    has two names here.

    Args:
        released: Names of ``Generic_MAML``, without trainer prefixes, to tensors.
        network: Network of the harness.
    """
    convs = len(network.get_submodule("unets.0.stages.0.convs"))  # type: ignore[arg-type]
    weights: dict[str, Tensor] = {}
    sources: dict[str, tuple[str, ...]] = {}
    for theirs, tensor in released.items():
        for ours in _our_names(theirs, convs):
            weights[ours] = tensor
            sources[ours] = (theirs,)
    return Translation(weights, sources)


def _our_names(theirs: str, convs: int) -> list[str]:
    if match := _UNET.fullmatch(theirs):
        unet = f"unets.{match[1]}"
        return [f"{unet}.{name}" for name in _names_in_unet(match[2], convs)]
    if match := _ATTENTION.fullmatch(theirs):
        return [f"attentions.{match[1]}"]
    return _rename(theirs, _RENAMED)


def _names_in_unet(theirs: str, convs: int) -> list[str]:
    for pattern, place in ((_STAGE, "encoder.stages.{}.0"), (_DECODER_STAGE, "stages.{}")):
        if match := pattern.fullmatch(theirs):
            return [f"{place.format(match[1])}.convs.{name}" for name in _names_in_stage(match[2], convs)]
    return _rename(theirs, _IN_UNET)


def _names_in_stage(theirs: str, convs: int) -> list[str]:
    """A stage there is one block, or (bottleneck, decoder) one of all convolutions but the last and one of the last."""
    match = _CONV.fullmatch(theirs)
    if match is None:
        return []
    block, index, layer, rest = match.groups()
    conv = convs - 1 if block == "1" else int(index)
    plain, position = ("conv", 0) if layer == "conv" else ("norm", 1)
    return [f"{conv}.{plain}.{rest}", f"{conv}.all_modules.{position}.{rest}"]


def _rename(theirs: str, prefixes: Mapping[str, str]) -> list[str]:
    return [ours + theirs.removeprefix(prefix) for prefix, ours in prefixes.items() if theirs.startswith(prefix)]
