"""The authors' state dict of MAML in our names."""

import re
from collections.abc import Mapping

from torch import Tensor, nn

from baselines.shared.nnunet_v1_names import names_in_unet, rename_prefix
from harness.segmenters.released import Translation

_UNET = re.compile(r"modality_specific_models\.(\d+)\.(.+)")
_ATTENTION = re.compile(r"modality_aware_modules\.(\d+\..+)")
_RENAMED = {"fusion.": "mix.", "output.": "head."}


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
        return [f"{unet}.{name}" for name in names_in_unet(match[2], convs)]
    if match := _ATTENTION.fullmatch(theirs):
        return [f"attentions.{match[1]}"]
    return rename_prefix(theirs, _RENAMED)
