"""The authors' state dict of A2FSeg in our names."""

import re
from collections.abc import Mapping

from torch import Tensor, nn

from baselines.shared.nnunet_v1_names import names_in_unet, rename_prefix
from harness.segmenters.released import Translation

_UNET = re.compile(r"modality_specific_models\.(\d+)\.(.+)")
_UNUSED = "fusion_decoder.conv_blocks_context."
"""An encoder that the released fusion decoder holds and never calls."""
_RENAMED = {"modality_aware_modules.": "attentions.", "lastconv.0.": "join.", "output.": "head."}


def translate(released: Mapping[str, Tensor], network: nn.Module) -> Translation:
    """Maps the released tensors to ours; layouts are the same.

    Args:
        released: Names of ``Generic_MAML_multi3_channel``, without trainer prefixes, to tensors.
        network: Network of the harness.
    """
    convs = len(network.get_submodule("decoder.stages.0.convs"))  # type: ignore[arg-type]
    names = {theirs: _our_names(theirs, convs) for theirs in released if not theirs.startswith(_UNUSED)}
    return Translation(
        {ours: released[theirs] for theirs, found in names.items() for ours in found},
        {ours: (theirs,) for theirs, found in names.items() for ours in found},
        frozenset(theirs for theirs in released if theirs.startswith(_UNUSED)),
    )


def _our_names(theirs: str, convs: int) -> list[str]:
    if match := _UNET.fullmatch(theirs):
        return [f"unets.{match[1]}.{name}" for name in names_in_unet(match[2], convs)]
    if theirs.startswith("fusion_decoder."):
        return [f"decoder.{name}" for name in names_in_unet(theirs.removeprefix("fusion_decoder."), convs)]
    return rename_prefix(theirs, _RENAMED)
