"""The authors' released weights in our names."""

import re
from collections.abc import Callable, Mapping

from torch import Tensor, nn

from baselines.shared.renaming import rename
from harness.segmenters.released import Translation

RULES: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
    (r"backbone\.patch_embed(\d)\.", lambda match: f"encoder.{int(match[1]) - 1}.embed."),
    (r"backbone\.block(\d)\.", lambda match: f"encoder.{int(match[1]) - 1}.blocks."),
    (r"backbone\.norm(\d)\.", lambda match: f"encoder.{int(match[1]) - 1}.norm."),
    (r"bridge\.bridge_layer(\d)\.", lambda match: f"bridge.{int(match[1]) - 1}."),
    (r"decoder_3\.layer_up\.", lambda _: "expand."),
    (r"decoder_3\.", lambda _: "unused."),
    (r"decoder_0\.last_layer\.", lambda _: "head."),
    (r"decoder_(\d)\.", lambda match: f"decoder.{2 - int(match[1])}."),
    (r"(?<=\.)concat_linear\.", lambda _: "fuse."),
    (r"(?<=\.)layer_former_(\d)\.", lambda match: f"blocks.{int(match[1]) - 1}."),
    (r"(?<=\.)layer_up\.", lambda _: "expand."),
    (r"(?<=\.)scale_reduce\.sr(\d)\.", lambda match: f"reduce.convs.{match[1]}."),
    (r"(?<=\.)scale_reduce\.", lambda _: "reduce."),
    (r"(?<=\.)mlp\.", lambda _: "ffn."),
    (r"(?<=\.)mixffn(\d)\.", lambda match: f"ffns.{int(match[1]) - 1}."),
    (r"(?<=\.)dwconv\.dwconv\.", lambda _: "depthwise."),
    (r"(?<=ffn\.)norm1\.|(?<=ffns\.\d\.)norm1\.", lambda _: "norm."),
    (r"(?<=ffn\.)norm([23])\.|(?<=ffns\.\d\.)norm([23])\.", lambda match: f"spares.{int(match[1] or match[2]) - 2}."),
)
"""Parts of released names, and ours; applied in turn."""

DEAD = re.compile(r"unused\.|.*\.spares\.")
"""Our names of what never enters the released network's output."""


def translate(released: Mapping[str, Tensor], network: nn.Module) -> Translation:
    """Maps a released state dict to ours; a :data:`harness.segmenters.released.Translator`.

    Args:
        released: Released names to tensors.
        network: A :class:`baselines.missformer.network.MISSFormer`. Where it was built without the dead layers, those
            of the released network are ignored.
    """
    unwanted = () if network.dead_parameters else (name for name in released if DEAD.match(_rename(name)))
    return rename(released, _rename, frozenset(unwanted))


def _rename(name: str) -> str:
    for pattern, ours in RULES:
        name = re.sub(pattern, ours, name)
    return name
