"""Names of TransBTS's released weights, and ours."""

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional

from baselines.transbts.network import BLOCKS_PER_LEVEL, TransBTS
from harness.segmenters.released import Translation

IGNORED_PREFIXES = ("linear_encoding.", "pre_head_ln.")
"""Modules of the released network that never enter its output."""
POSITIONS = "position_encoding.position_embeddings"

_PRE_NORM = {"bn1": "norm1", "conv1": "conv1", "bn2": "norm2", "conv2": "conv2"}
_POST_NORM = {"conv1": "first.conv", "bn1": "first.adn.N", "conv2": "second.conv", "bn2": "second.adn.N"}
_UNEMBED = {"conv1": "0.conv", "bn1": "0.adn.N", "conv2": "1.conv", "bn2": "1.adn.N"}
_UP = {"conv1": "narrow", "conv2": "up", "conv3": "join"}
_ATTENTION = {"norm": "norm1", "fn.qkv": "attn.qkv", "fn.proj": "attn.out_proj"}
_MLP = {"norm": "norm2", "fn.net.0": "mlp.linear1", "fn.net.3": "mlp.linear2"}


def _encoder_blocks() -> dict[str, str]:
    """Returns the residual blocks' names; the first level's only block has no number."""
    names = {}
    for level, blocks in enumerate(BLOCKS_PER_LEVEL):
        for block in range(blocks):
            number = f"_{block + 1}" if blocks > 1 else ""
            names[f"Unet.EnBlock{level + 1}{number}"] = f"levels.{level}.{block}"
    return names


def _within(modules: Mapping[str, str], parts: Mapping[str, str]) -> dict[str, str]:
    return {f"{theirs}.{part}": f"{ours}.{name}" for theirs, ours in modules.items() for part, name in parts.items()}


MODULE_NAMES: dict[str, str] = {
    "Unet.InitConv.conv": "stem",
    **_within(_encoder_blocks(), _PRE_NORM),
    **{f"Unet.EnDown{level}.conv": f"downs.{level - 1}" for level in (1, 2, 3)},
    "bn": "embed.0",
    "conv_x": "embed.2",
    **_within({"Enblock8_1": "unembed"}, _UNEMBED),
    **_within({"Enblock8_2": "neck"}, _POST_NORM),
    **_within({f"DeUp{4 - level}": f"ups.{level}" for level in range(3)}, _UP),
    **_within({f"DeBlock{4 - level}": f"refinements.{level}" for level in range(3)}, _POST_NORM),
    "endconv": "head",
}
"""Modules of the released network and what they are called here, but for the Transformer."""


def translate(released: Mapping[str, Tensor], network: nn.Module) -> Translation:
    """Maps the authors' state dict to ours.

    Positions of another patch size are interpolated linearly; the authors' are those of a cube.

    Args:
        released: The authors' names to tensors.
        network: A :class:`TransBTS`.
    """
    assert isinstance(network, TransBTS)
    weights, sources, resized = {}, {}, set()
    for name, tensor in released.items():
        ours = _our_name(name)
        if ours is None:
            continue
        if name == POSITIONS and tensor.shape != network.positions.shape:
            tensor = _resize(tensor, network.grid)
            resized.add(ours)
        weights[ours], sources[ours] = tensor, (name,)
    ignored = frozenset(name for name in released if name.startswith(IGNORED_PREFIXES))
    return Translation(weights, sources, ignored, frozenset(resized))


def _our_name(name: str) -> str | None:
    if name == POSITIONS:
        return "positions"
    if name.startswith("transformer.net."):
        # Layers alternate: attention of block 0, MLP of block 0, attention of block 1, ...
        index, _, rest = name.removeprefix("transformer.net.").partition(".")
        module, _, parameter = rest.removeprefix("fn.").rpartition(".")
        part = (_MLP if int(index) % 2 else _ATTENTION).get(module)
        return None if part is None else f"transformer.{int(index) // 2}.{part}.{parameter}"
    module, _, parameter = name.rpartition(".")
    return f"{MODULE_NAMES[module]}.{parameter}" if module in MODULE_NAMES else None


def _resize(positions: Tensor, grid: tuple[int, ...]) -> Tensor:
    """Interpolates ``(1, side ** dims, C)`` to ``(1, prod(grid), C)``; unchanged if it is not a cube."""
    dims = len(grid)
    side = round(positions.shape[1] ** (1 / dims))
    if side**dims != positions.shape[1]:
        return positions
    volume = positions.transpose(1, 2).reshape(1, -1, *(side,) * dims)
    mode = "bilinear" if dims == 2 else "trilinear"
    return functional.interpolate(volume, grid, mode=mode, align_corners=False).flatten(2).transpose(1, 2)
