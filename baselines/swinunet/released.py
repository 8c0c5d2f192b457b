"""The authors' released weights in our names."""

import re
from collections.abc import Callable, Mapping

from torch import Tensor, nn

from baselines.shared.renaming import rename
from harness.segmenters.released import Translation

WRAPPER = "swin_unet."
"""The released wrapper class holds the network under this name."""

RULES: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
    (r"patch_embed\.", lambda _: "embed."),
    (r"layers\.(\d)\.downsample\.", lambda match: f"encoder.{match[1]}.merge."),
    (r"layers\.(\d)\.", lambda match: f"encoder.{match[1]}."),
    (r"layers_up\.0\.", lambda _: "expand."),
    (r"layers_up\.(\d)\.upsample\.", lambda match: f"decoder.{int(match[1]) - 1}.expand."),
    (r"layers_up\.(\d)\.", lambda match: f"decoder.{int(match[1]) - 1}."),
    (r"concat_back_dim\.(\d)\.", lambda match: f"decoder.{int(match[1]) - 1}.fuse."),
    (r"output\.", lambda _: "head."),
)
"""Beginnings of released names, and ours. The first entry of their decoder is a bare expansion."""

COMPUTED = ("relative_position_index", "attn_mask")
"""Buffers that follow from sizes; ours are rebuilt."""


def translate(released: Mapping[str, Tensor], network: nn.Module) -> Translation:
    """Maps a released state dict to ours; a :data:`harness.segmenters.released.Translator`.

    Args:
        released: Names with or without the wrapper's prefix, to tensors.
        network: Network of the harness; unused.
    """
    del network
    ignored = frozenset(name for name in released if name.endswith(COMPUTED))
    return rename(released, lambda name: _rename(name.removeprefix(WRAPPER)), ignored)


def _rename(name: str) -> str:
    for pattern, ours in RULES:
        if match := re.match(pattern, name):
            return ours(match) + name[match.end() :]
    return name
