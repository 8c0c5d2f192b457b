"""MONAI's Transformer blocks without parameters that receive no gradient."""

from monai.networks.blocks.transformerblock import TransformerBlock
from torch import nn


def remove_cross_attention(block: nn.Module) -> None:
    """Removes the cross-attention parameters of a MONAI block, which are unused here.

    Releases before MONAI pull request 8848 hold whole attention layers there, later ones a layer norm a block.
    """
    for name in ("norm_cross_attn", "cross_attn"):
        if hasattr(block, name):
            delattr(block, name)


def transformer_block(hidden_size: int, mlp_dim: int, num_heads: int, dropout: float) -> nn.Module:
    """Returns MONAI's pre-norm block as TransBTS and mmFormer use it: no bias in qkv, no cross-attention parameters.

    Their code drops the output of attention twice, by its own dropout and by that of its residual branch. Two dropouts
    in a row are one whose rate is the probability that either drops.

    Args:
        hidden_size: Width of a token.
        mlp_dim: Hidden width of the MLP.
        num_heads: Attention heads.
        dropout: Of attention, its output and the MLP.
    """
    block = TransformerBlock(hidden_size, mlp_dim, num_heads, dropout, qkv_bias=False)
    remove_cross_attention(block)
    block.attn.drop_output = nn.Dropout(1 - (1 - dropout) ** 2)
    return block  # type: ignore[no-any-return]
