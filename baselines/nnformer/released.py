"""Names of nnFormer's released weights, and ours."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from baselines.nnformer.network import LEVELS
from harness.errors import HarnessError
from harness.segmenters.released import Translation

_INDEX = "relative_position_index"
_RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(theirs), ours)
    for theirs, ours in (
        (r"model_down\.patch_embed\.proj1\.conv1\.", r"embed.0."),
        (r"model_down\.patch_embed\.proj1\.norm1\.", r"embed.2."),
        (r"model_down\.patch_embed\.proj1\.conv2\.", r"embed.3."),
        (r"model_down\.patch_embed\.proj1\.norm2\.", r"embed.5."),
        (r"model_down\.patch_embed\.proj2\.conv1\.", r"embed.6."),
        (r"model_down\.patch_embed\.proj2\.norm1\.", r"embed.8."),
        (r"model_down\.patch_embed\.proj2\.conv2\.", r"embed.9."),
        (r"model_down\.patch_embed\.norm\.", r"embed.10."),
        (r"model_down\.layers\.(\d)\.blocks\.(\d)\.", r"levels.\1.\2."),
        (r"model_down\.layers\.(\d)\.downsample\.norm\.", r"downs.\1.norm."),
        (r"model_down\.layers\.(\d)\.downsample\.reduction\.", r"downs.\1.conv."),
        (r"model_down\.norm(\d)\.", r"norms.\1."),
        # the authors number the decoder's levels finest first and run them last to first
        *(
            (rf"decoder\.layers\.{level}\.{theirs}\.", rf"decoder.{LEVELS - 2 - level}.{ours}.")
            for level in range(LEVELS - 1)
            for theirs, ours in (
                (r"Upsample\.norm", "up.norm"),
                (r"Upsample\.up", "up.conv"),
                (r"blocks\.0", "fuse"),
                (r"blocks\.1", "refine"),
            )
        ),
        (r"final\.(\d)\.up\.", r"heads.\1."),
    )
)
_IN_BLOCK = {
    ".attn.": ".attention.",
    ".relative_position_bias_table": ".position_bias.table",
    f".{_INDEX}": ".position_bias.index",
    ".mlp.fc1.": ".mlp.linear1.",
    ".mlp.fc2.": ".mlp.linear2.",
}


def translate(released: Mapping[str, Tensor], network: nn.Module) -> Translation:
    """Maps the authors' state dict to ours; layouts are the same.

    Args:
        released: The authors' names to tensors. Where it holds relative position indices, they are compared with ours.
        network: An :class:`baselines.nnformer.network.NnFormer`.

    Raises:
        HarnessError: The weights were trained with another relative position index than the network's.
    """
    buffers = dict(network.named_buffers())
    weights, sources, ignored = {}, {}, set()
    for name, tensor in released.items():
        ours = _our_name(name)
        if name.endswith(_INDEX):
            ignored.add(name)
            if ours in buffers and not _same(buffers[ours], tensor):
                raise HarnessError(
                    f"{name} of the released weights is not the index this network looks its position biases up with.",
                    hint="The authors' weights belong to `relative_index: released`.",
                )
        elif ours is not None:
            weights[ours], sources[ours] = tensor, (name,)
    return Translation(weights, sources, frozenset(ignored))


def _our_name(name: str) -> str | None:
    for theirs, ours in _RULES:
        if theirs.match(name):
            renamed = theirs.sub(ours, name, count=1)
            for part, replacement in _IN_BLOCK.items():
                renamed = renamed.replace(part, replacement)
            return renamed
    return None


def _same(ours: Tensor, theirs: Tensor) -> bool:
    return ours.is_meta or (ours.shape == theirs.shape and torch.equal(ours.cpu(), theirs.cpu().to(ours.dtype)))
