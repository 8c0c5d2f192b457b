"""Loads the authors' released weights: their state-dict names and layouts onto ours.

Source of the names: the released code's network, ``joker-527/AAHN``; its checkpoints are nnU-Net v1 files, whose names
start with ``model.``. Three things are checked and reported rather than guessed: what our network needs and the file
lacks, what the file holds and nothing here needs, and what has another shape. Entries that no gradient ever reaches in
the released code (:data:`DEAD_PREFIXES`) are ignored and listed.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aahn.network import AAHN
from aahn.options import LEVELS
from aahn.transformer_branch import resize_positions
from harness.errors import HarnessError

__all__ = [
    "DEAD_PREFIXES",
    "MODULE_NAMES",
    "ImportReport",
    "load_released_checkpoint",
    "load_released_weights",
    "our_name",
    "read_checkpoint",
    "translate",
]

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


@dataclass(frozen=True)
class ImportReport:
    """What became of every entry; names of the released network unless said otherwise.

    Attributes:
        loaded: Entries that our network takes, resized ones included.
        resized: Position embeddings interpolated to another patch size.
        missing: Entries of *our* network (our names) that nothing given provides.
        surplus: Entries given that our network does not have.
        misshaped: Entries whose shape differs, each with the given and the needed shape.
        ignored: Entries that never enter the released network's output.
    """

    loaded: tuple[str, ...]
    resized: tuple[str, ...]
    missing: tuple[str, ...]
    surplus: tuple[str, ...]
    misshaped: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    ignored: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether every entry of our network was provided, and nothing unknown was given."""
        return not (self.missing or self.surplus or self.misshaped)

    def __str__(self) -> str:
        misshaped = [f"{name} {given} instead of {needed}" for name, given, needed in self.misshaped]
        lines = [f"{len(self.loaded)} entries loaded, {len(self.ignored)} without effect ignored"]
        lines += [
            f"{len(names)} {what}: {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"
            for what, names in (
                ("resized", self.resized),
                ("missing", self.missing),
                ("surplus", self.surplus),
                ("mis-shaped", misshaped),
            )
            if names
        ]
        return "\n".join(lines)


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


def translate(
    released: Mapping[str, Tensor], expected: Mapping[str, Tensor], heads: int
) -> tuple[dict[str, Tensor], ImportReport]:
    """Maps the released network's tensors to ours; changes neither mapping.

    Args:
        released: Their names (without ``model.``) to tensors.
        expected: Our names to tensors of the right shapes, e.g. ``AAHN.state_dict()``.
        heads: Attention heads of a Transformer block, for the order of the joint projection's rows.

    Returns:
        Our names to tensors (those that fit), and what became of every entry.
    """
    translated: dict[str, Tensor] = {}
    loaded, resized, surplus, ignored = [], [], [], []
    misshaped: dict[str, tuple[str, tuple[int, ...], tuple[int, ...]]] = {}
    for name, given in released.items():
        if name.startswith(DEAD_PREFIXES):
            ignored.append(name)
            continue
        ours = our_name(name)
        if ours is None or ours not in expected:
            surplus.append(name)
            continue
        needed = expected[ours].shape
        tensor = _reorder_qkv(given, heads) if name.endswith("to_qvk.weight") and given.shape == needed else given
        if name.endswith("pos_emb1D") and tensor.shape != needed:
            tensor = _fit_positions(tensor, needed)
            if tensor.shape == needed:
                resized.append(name)
        if tensor.shape != needed:
            misshaped[ours] = (name, tuple(given.shape), tuple(needed))
            continue
        translated[ours] = tensor
        loaded.append(name)
    missing = [name for name in expected if name not in translated and name not in misshaped]
    report = ImportReport(
        tuple(loaded), tuple(resized), tuple(missing), tuple(surplus), tuple(misshaped.values()), tuple(ignored)
    )
    return translated, report


def load_released_weights(network: AAHN, released: Mapping[str, Tensor], *, strict: bool = True) -> ImportReport:
    """Puts the released network's tensors into ours.

    Args:
        network: Built with the options of the weights (``preset: paper`` for the authors').
        released: Their names (without ``model.``) to tensors.
        strict: Whether to refuse an incomplete match. Otherwise what fits is loaded and the rest keeps its initial
            values, e.g. for another number of classes, modalities or pixels.

    Returns:
        What became of every entry.

    Raises:
        HarnessError: ``strict``, and an entry is missing, surplus or mis-shaped. The network is left as it was.
    """
    translated, report = translate(released, network.state_dict(), network.options.vit_heads)
    if strict and not report.complete:
        raise HarnessError(
            f"The released weights do not fit this AAHN.\n{report}",
            hint="Build it with `preset: paper` and the same modalities, classes and patch size, or use strict=False.",
        )
    network.load_state_dict(translated, strict=False)
    return report


def load_released_checkpoint(network: AAHN, path: Path, *, strict: bool = True) -> ImportReport:
    """Reads a checkpoint of the authors' trainer and puts it into our network.

    Args:
        network: See :func:`load_released_weights`.
        path: A ``.model`` file of nnU-Net v1, or a bare state dict.
        strict: See :func:`load_released_weights`.

    Raises:
        HarnessError: The file cannot be read safely, or its entries do not fit.
    """
    return load_released_weights(network, read_checkpoint(path), strict=strict)


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Reads the state dict of a checkpoint file without running code from it.

    Args:
        path: A ``.model`` file of nnU-Net v1 (weights under ``state_dict``), or a bare state dict.

    Returns:
        Names without the prefixes ``module.`` and ``model.``, to tensors on the CPU.

    Raises:
        HarnessError: The file is absent, is no checkpoint, or holds anything but tensors, numbers and plain containers.
    """
    try:
        with torch.serialization.safe_globals(_numpy_scalars()):
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise HarnessError(
            f"The checkpoint {path} cannot be read: {error}", hint="Expected is a file saved by the authors' trainer."
        ) from error
    state = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise HarnessError(f"The checkpoint {path} holds no state dict.", hint="Expected is name -> tensor.")
    return {name.removeprefix("module.").removeprefix("model."): tensor for name, tensor in state.items()}


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


def _numpy_scalars() -> list[Any]:
    """Returns what nnU-Net v1's loss curves need to be unpickled: NumPy numbers, by NumPy 1's and 2's names."""
    scalar = np.float64(0).__reduce__()[0]
    return [
        *((scalar, f"numpy.{package}.multiarray.scalar") for package in ("core", "_core")),
        np.dtype,
        np.dtypes.Float64DType,
        np.dtypes.Float32DType,
    ]
