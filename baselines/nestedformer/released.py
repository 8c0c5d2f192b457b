"""The authors' state dict of NestedFormer in our names."""

import re
from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from baselines.shared.renaming import rename
from harness.segmenters.released import Translation

_PLACES = (
    (r"encoder\.encoders\b", "encoders"),
    (r"fusion\.spatial_att\b", "nmafa.spatial"),
    (r"fusion\.modality_att\b", "nmafa.cross"),
    *((rf"fusion_conv_{level + 1}\b", f"skips.{level}.convs") for level in range(4)),
    (r"fusion_conv_5\b", "fuse"),
    *((rf"upcat_{4 - index}\b", f"ups.{index}") for index in range(4)),
    (r"final_conv\b", "head"),
)
"""Where a name starts, there and here."""

_TWO_CONV = ((r"\.conv_1\.conv_1\.0\b", ".conv_0.conv"), (r"\.conv_2\.conv_1\.0\b", ".conv_1.conv"))
_MLP = ((r"\.ffn\.fc1\b", ".mlp.0"), (r"\.ffn\.fc2\b", ".mlp.3"), (r"\.ffn_norm\b", ".mlp_norm"))
_PARTS: dict[str, tuple[tuple[str, str], ...]] = {
    "encoders": (
        (r"\.conv_0\b", ".stem"),
        *_TWO_CONV,
        *((rf"\.down_{level + 1}\b", f".stages.{level}") for level in range(4)),
        (r"\.embeddings\.patch_embeddings\b", ".embed.0"),
        (r"\.embeddings\.norm\b", ".embed.1"),
        (r"\.block_list\b", ".blocks"),
        (r"\.attention_norm\b", ".pooling_norm"),
        (r"\.attn\.global_layer\b", ".pooling.spread"),
        *_MLP,
    ),
    "nmafa.spatial": (
        (r"\.embeddings\.patch_embeddings\b", ".embed"),
        (r"\.block_list\b", ".blocks"),
        (r"\.attn\.v_attention\b", ".slice_attention"),
        (r"\.attn\.h_attention\b", ".line_attention"),
        (r"\.attn\.pos_embedding_1\.position_embeddings\b", ".slice_attention.positions"),
        (r"\.attn\.pos_embedding_2\.position_embeddings\b", ".line_attention.positions"),
        (r"\.attn\.window_attention\b", ".window_attention"),
        (r"\.pos_embedding\b", ".bias"),
        (r"\.to_(qkv|out)\b", r".\1"),
        *_MLP,
    ),
    "nmafa.cross": (
        (r"\.embeddings\.(\d+)\.position_embeddings\b", r".positions.\1"),
        (r"\.embeddings\.(\d+)\.patch_embeddings\b", r".embeds.\1"),
        (r"\.token_mixer\b", ".learn_tokens"),
        (r"\.token_conv\b", ".masks"),
        (r"\.cross_attention\b", ""),
        (r"\.attention_norm\b", ".unused_norm"),
        (r"\.attention_norm_cross\b", ".attention_norm"),
        (r"\.attn_cross\b", ".attention"),
        *_MLP,
    ),
    "skips": _TWO_CONV,
    "fuse": _TWO_CONV,
    "ups": ((r"\.upsample\b", ".up"), *_TWO_CONV),
}
"""What is renamed within such a place, in this order."""


def translate(released: Mapping[str, Tensor], network: nn.Module) -> Translation:
    """Maps the released tensors to ours; layouts are the same.

    Args:
        released: Names of ``NestedFormer``, without trainer prefixes, to tensors.
        network: Network of the harness; unused.
    """
    del network
    return rename(released, our_name)


def our_name(theirs: str) -> str:
    """Returns our name of a module or tensor of the released network; an unknown name is returned as it is.

    Args:
        theirs: Such as ``upcat_4.upsample.weight`` or ``fusion.spatial_att``.
    """
    name = _substitute(theirs, ((f"^{pattern}", ours) for pattern, ours in _PLACES), first=True)
    for place, parts in _PARTS.items():
        if name.startswith(place):
            return _substitute(name, parts, first=False)
    return name


def _substitute(name: str, rules: Iterable[tuple[str, str]], *, first: bool) -> str:
    for pattern, ours in rules:
        name, count = re.subn(pattern, ours, name)
        if first and count:
            break
    return name
