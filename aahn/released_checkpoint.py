"""The authors' released weights: their state-dict names and layouts turned into ours.

Source of the names: the released code's network, ``joker-527/AAHN``. Reading the file, checking what is missing,
surplus or mis-shaped, and loading are :mod:`harness.segmenters.released`'s work. Entries that no gradient ever reaches
in the released code (:data:`DEAD_PREFIXES`) are ignored and listed.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from aahn.network import AAHN
from aahn.options import LEVELS
from aahn.transformer_branch import resize_positions
from harness.segmenters.released import Translation

DEAD_PREFIXES = (
    "mutual_trans1.",  # cross-modality attention of level 1: built, never called
    *(f"mutual_trans{level}.lastconv." for level in range(2, LEVELS + 1)),
    "GraphTrans.gamma_vis",
    "GraphTrans.transfer.value_conv_word.",
    "GraphTrans.transfer.lastconv_word.",
)
"""Entries of the released network that never enter its output: 2 828 640 parameters in the official configuration."""

MODULE_NAMES: dict[str, str] = {
    "trans_init_conv": "transformer.stem",
    "conv_init_conv": "leading.levels.0.entry",
    **{
        theirs.format(level): ours.format(level - 1, level)
        for level in range(1, LEVELS)
        for theirs, ours in (
            ("conv{}", "transformer.stages.{0}.down"),
            ("vit{}", "transformer.stages.{0}.vit"),
            ("project_patches_back{}", "transformer.stages.{0}.vit.unembed"),
            ("vit_conv{}", "transformer.stages.{0}.conv"),
            ("Convtdown{}", "leading.levels.{1}.entry"),
            ("dec{}", "decoder.ups.{0}"),
        )
    },
    **{
        theirs.format(level): ours.format(level - 1)
        for level in range(1, LEVELS + 1)
        for theirs, ours in (
            ("trans_se{}", "tcfaf.{0}.channel_attention"),
            ("delchl{}", "tcfaf.{0}.project"),
            ("mutual_trans{}", "tcfaf.{0}.cross_attention"),
            ("layer{}_Conv", "leading.levels.{0}.refine"),
        )
    },
    "GraphTrans": "cmhgf",
    "dec4": "decoder.head",
    "finaldeconv1": "decoder.classify",
    "finaldeconv2": "decoder.classify",
    "conv1x1": "decoder.classify.6",
}
"""Top-level modules of the released network and what they are called here."""

_RESIDUAL_GROUP = {"conv1.": "shortcut.", "conv2.conv.": "entry."}
_UP_BLOCK = {"transconv.": "up.", "DoubleConv.": "conv."}
_BOTTLENECK = {
    "downsample.": "shortcut.",
    **{f"conv{i}.": f"body.{3 * i - 3}." for i in (1, 2, 3)},
    **{f"bn{i}.": f"body.{3 * i - 2}." for i in (1, 2, 3)},
}
_CHANNEL_ATTENTION = {"compress.": "squeeze.", "excitation.": "excite."}
_CROSS_ATTENTION = {"theta.": "query.", "phi.": "key.", "g.": "value.", "W.": "out."}
_VIT = {"cls_token": "class_token", "pos_emb1D": "positions", "project_patches.": "embed."}
_VIT_BLOCK = {
    "mhsa.to_qvk.": "attention.qkv.",
    "mhsa.W_0.": "attention.out.",
    "norm_1.": "attention_norm.",
    "norm_2.": "mlp_norm.",
    "linear.0.": "mlp.0.",
    "linear.3.": "mlp.2.",
}
_GRAPH = {
    # their "word" graph is the leading one, their "vis" graph the Transformer's
    "gamma_word": "gamma",
    "word_gcn.conv1.": "leading_update.first.",
    "word_gcn.conv2.": "leading_update.second.",
    "vis_gcn.conv1.": "transformer_update.first.",
    "vis_gcn.conv2.": "transformer_update.second.",
    "transfer.query_conv.": "similarity.query.",
    "transfer.key_conv.": "similarity.key.",
    "transfer.value_conv_vis.": "similarity.value.",
    "transfer.lastconv_vis.": "similarity.out.",
}
_HEAD = {
    "conv1.": "0.",
    "norm1.": "1.",
    "deconv2.": "4.",
    "norm2.": "5.",
    "conv3.": "8.",
    "norm3.": "9.",
}
_INNER_NAMES: dict[str, dict[str, str]] = {
    **{f"conv{level}": _BOTTLENECK for level in range(1, LEVELS)},
    **{f"vit{level}": _VIT for level in range(1, LEVELS)},
    **{f"vit_conv{level}": {"conv.": ""} for level in range(1, LEVELS)},
    **{f"dec{level}": _UP_BLOCK for level in range(1, LEVELS)},
    **{f"trans_se{level}": _CHANNEL_ATTENTION for level in range(1, LEVELS + 1)},
    **{f"mutual_trans{level}": _CROSS_ATTENTION for level in range(1, LEVELS + 1)},
    **{f"layer{level}_Conv": _RESIDUAL_GROUP for level in range(1, LEVELS + 1)},
    "delchl1": _RESIDUAL_GROUP,
    "GraphTrans": _GRAPH,
    "dec4": _HEAD,
    "finaldeconv2": {"0.": "3.", "1.": "4."},
}


def our_name(released: str) -> str | None:
    """Returns our name of one entry of the released state dict.

    Args:
        released: A name without nnU-Net's ``model.`` prefix.

    Returns:
        The name in ``AAHN.state_dict()``, or ``None`` if the entry is unknown or has no effect in the released network.
    """
    module, _, rest = released.partition(".")
    if module not in MODULE_NAMES or released.startswith(DEAD_PREFIXES):
        return None
    if module.startswith("vit") and rest.startswith("transformer.layers."):
        index, _, rest = rest.removeprefix("transformer.layers.").partition(".")
        return f"{MODULE_NAMES[module]}.blocks.{index}.{_rename(rest, _VIT_BLOCK)}"
    if rest.startswith("block_list."):
        index, _, rest = rest.removeprefix("block_list.").partition(".")
        return f"{MODULE_NAMES[module]}.blocks.{index}.{rest.removeprefix('conv.')}"
    return f"{MODULE_NAMES[module]}.{_rename(rest, _INNER_NAMES.get(module, {}))}"


def translate(released: Mapping[str, Tensor], network: nn.Module) -> Translation:
    """Maps the released network's tensors to ours; a :data:`harness.segmenters.released.Translator`.

    Args:
        released: Released names (without ``model.``) to tensors; not modified.
        network: An :class:`~aahn.network.AAHN` with the options of the weights (``preset: paper`` for the authors').

    Returns:
        Our names to tensors. Positions of another patch size are interpolated; whatever else has another shape is
        returned as it is, and so is found mis-shaped.

    Raises:
        TypeError: The network is not an AAHN.
    """
    if not isinstance(network, AAHN):
        raise TypeError(f"the authors' weights fit AAHN, not {type(network).__name__}")
    expected = network.state_dict()
    weights: dict[str, Tensor] = {}
    sources: dict[str, tuple[str, ...]] = {}
    resized: set[str] = set()
    for name, tensor in released.items():
        ours = our_name(name)
        if ours is None or ours not in expected:
            continue
        needed = expected[ours].shape
        if name.endswith("to_qvk.weight") and tensor.shape == needed:
            tensor = _reorder_qkv(tensor, network.options.vit_heads)
        elif name.endswith("pos_emb1D") and tensor.shape != needed:
            tensor = _fit_positions(tensor, needed)
            if tensor.shape == needed:
                resized.add(ours)
        weights[ours], sources[ours] = tensor, (name,)
    return Translation(
        weights, sources, frozenset(name for name in released if name.startswith(DEAD_PREFIXES)), frozenset(resized)
    )


def _rename(name: str, prefixes: Mapping[str, str]) -> str:
    for theirs, ours in prefixes.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name


def _reorder_qkv(weight: Tensor, heads: int) -> Tensor:
    """Turns rows ordered (head dimension, {q, k, v}, head) into rows ordered ({q, k, v}, head, head dimension)."""
    rows, dim = weight.shape
    return weight.reshape(rows // (3 * heads), 3, heads, dim).permute(1, 2, 0, 3).reshape(rows, dim)


def _fit_positions(positions: Tensor, needed: torch.Size) -> Tensor:
    """Interpolates square grids of positions; anything else is returned as it is."""
    grids = [math.isqrt(count - 1) for count in (positions.shape[0], needed[0])]
    square = all(side * side == count - 1 for side, count in zip(grids, (positions.shape[0], needed[0]), strict=True))
    if positions.ndim != 2 or positions.shape[1] != needed[1] or not square or 0 in grids:
        return positions
    return resize_positions(positions, (grids[0], grids[0]), (grids[1], grids[1]))
