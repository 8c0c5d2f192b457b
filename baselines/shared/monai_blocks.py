"""MONAI's Transformer blocks without parameters that receive no gradient."""

from torch import nn


def remove_cross_attention(block: nn.Module) -> None:
    """Removes the cross-attention parameters of a MONAI block, which are unused here.

    Releases before MONAI pull request 8848 hold whole attention layers there, later ones a layer norm a block.
    """
    for name in ("norm_cross_attn", "cross_attn"):
        if hasattr(block, name):
            delattr(block, name)
