"""Swin-T's ImageNet weights as a start for encoder and decoder, as in the released code.

Patch embedding, merging, the last norm and the blocks of every level start the encoder; the blocks of a level start
the decoder's blocks of the same level too. Of Swin-T's six blocks at 1/16 the first two are used. Where the released
code leaves the bias tables of another window at their random start, they are interpolated here; and a stem of another
number of modalities gets the colour kernels in turn, scaled to the same sum.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch.nn.functional as F
from timm.models import adapt_input_conv
from torch import Tensor

from baselines.shared.pretrained import load, read

if TYPE_CHECKING:
    from baselines.swinunet.network import SwinUNet

STEM = "embed.proj.weight"
TABLE = "relative_position_bias_table"


def load_swin(network: SwinUNet, path: Path) -> None:
    """Starts a network from Swin-T's weights.

    Args:
        network: With Swin-T's widths and heads and at most its depths.
        path: Microsoft's ``swin_tiny_patch4_window7_224.pth`` or the file of a timm ``swin_tiny_patch4_window7_224``.

    Raises:
        StudyError: The file cannot be read, or holds no such weights.
    """
    encoder = _encoder(read(path))
    if STEM in encoder:
        encoder[STEM] = adapt_input_conv(network.embed.proj.in_channels, encoder[STEM])
    weights = dict(encoder)
    deepest = len(network.encoder) - 1
    for name, tensor in encoder.items():
        if match := re.fullmatch(r"encoder\.(\d)\.(blocks\..+)", name):
            weights[f"decoder.{deepest - 1 - int(match[1])}.{match[2]}"] = tensor
    expected = network.state_dict()
    for name, tensor in weights.items():
        if name.endswith(TABLE) and name in expected and tensor.shape != expected[name].shape:
            weights[name] = _resized(network, name, tensor, expected[name])
    needed = {name for name in expected if re.match(r"(embed|encoder|norm|decoder\.\d\.blocks)\.", name)}
    load(network, weights, needed, "Swin-T's weights")


def _encoder(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames Swin's tensors; timm counts a merging to the level it leads to, Microsoft to the level it leaves."""
    microsofts = "layers.0.downsample.reduction.weight" in given
    renamed = {}
    for name, tensor in given.items():
        if match := re.fullmatch(r"layers\.(\d)\.downsample\.(.+)", name):
            renamed[f"encoder.{int(match[1]) - (not microsofts)}.merge.{match[2]}"] = tensor
        elif name.startswith("layers."):
            renamed[name.replace("layers.", "encoder.", 1)] = tensor
        elif name.startswith("patch_embed."):
            renamed[name.replace("patch_embed.", "embed.", 1)] = tensor
        else:
            renamed[name] = tensor
    return renamed


def _resized(network: SwinUNet, name: str, table: Tensor, expected: Tensor) -> Tensor:
    """Interpolates a bias table of a square window to our block's; other tables are returned unchanged."""
    side = math.isqrt(table.shape[0])
    if table.ndim != 2 or side**2 != table.shape[0] or table.shape[1] != expected.shape[1]:
        return table
    window: tuple[int, int] = network.get_submodule(name.rpartition(".")[0]).window_size  # type: ignore[assignment]
    size = tuple(2 * length - 1 for length in window)
    square = table.T.reshape(1, -1, side, side)
    return F.interpolate(square, size, mode="bicubic", align_corners=False).flatten(2)[0].T
