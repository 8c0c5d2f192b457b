"""The auxiliary modalities' branch: convolutions with a Vision Transformer at every level below the first.

Source: the released code's ``nnunet/network_architecture/transunet/trans_disunet_grpah_transfuse.py`` and
``nnunet/network_architecture/vit/`` (``vit.py``, ``transformer_block.py``, ``R50_ViT.py``) in ``joker-527/AAHN``.

Departures of the released code from the paper's figure, reproduced here: the branch receives all modalities, the
leading one included (``auxiliary: others`` gives the figure's wiring); and a token is not a block of neighbouring
pixels but a strided sample of the whole map (see :func:`gather_tokens`).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aahn.blocks import conv_bn_relu, run
from aahn.options import LEVELS, AAHNOptions


def gather_tokens(x: Tensor, patch: int) -> Tensor:
    """Cuts a map into strided tokens.

    With n tokens along an axis, token i takes the pixels whose index modulo n is i: every token sees the whole map at a
    coarse step. Values are ordered (row, column, channel) inside a token.

    Args:
        x: ``(B, C, patch * n_h, patch * n_w)``.
        patch: Pixels a side that one token gathers.

    Returns:
        ``(B, n_h * n_w, patch * patch * C)``.
    """
    batch, channels, height, width = x.shape
    x = x.reshape(batch, channels, patch, height // patch, patch, width // patch)
    return x.permute(0, 3, 5, 2, 4, 1).reshape(batch, -1, patch * patch * channels)


def scatter_tokens(tokens: Tensor, grid: tuple[int, int], patch: int) -> Tensor:
    """Folds strided tokens back into a map; the inverse of :func:`gather_tokens`.

    Args:
        tokens: ``(B, n_h * n_w, patch * patch * C)``.
        grid: ``(n_h, n_w)``.
        patch: Pixels a side that one token gathers.

    Returns:
        ``(B, C, patch * n_h, patch * n_w)``.
    """
    rows, columns = grid
    x = tokens.reshape(tokens.shape[0], rows, columns, patch, patch, -1)
    return x.permute(0, 5, 3, 1, 4, 2).reshape(tokens.shape[0], -1, patch * rows, patch * columns)


def resize_positions(positions: Tensor, old_grid: tuple[int, int], new_grid: tuple[int, int]) -> Tensor:
    """Interpolates learned positions to another number of tokens.

    Args:
        positions: ``(1 + n_h * n_w, dim)``, the class token's position first.
        old_grid: ``(n_h, n_w)`` they were learned on.
        new_grid: ``(m_h, m_w)`` wanted.

    Returns:
        ``(1 + m_h * m_w, dim)``; the class token's position is kept, the others are interpolated bilinearly.

    Raises:
        ValueError: The number of positions does not belong to ``old_grid``.
    """
    count, dim = positions.shape
    if count != 1 + old_grid[0] * old_grid[1]:
        raise ValueError(f"{count} positions do not belong to a class token and a grid of {old_grid[0]}x{old_grid[1]}")
    if old_grid == new_grid:
        return positions
    grid = positions[1:].T.reshape(1, dim, *old_grid)
    grid = F.interpolate(grid, size=new_grid, mode="bilinear", align_corners=False)
    return torch.cat([positions[:1], grid.flatten(2)[0].T])


class Attention(nn.Module):
    """Multi-head self-attention without biases, scaled by the square root of the head's width.

    The rows of ``qkv`` are ordered ({q, k, v}, head, head dimension), so that heads are read without a copy.
    """

    def __init__(self, dim: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * heads * head_dim, bias=False)
        self.out = nn.Linear(heads * head_dim, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(B, N, dim)`` to ``(B, N, dim)``."""
        batch, tokens, _ = x.shape
        # (B, N, 3 h d) -> three of (B, h, N, d)
        query, key, value = self.qkv(x).reshape(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.out(y.transpose(1, 2).reshape(batch, tokens, -1))
        return out


class TransformerBlock(nn.Module):
    """Attention and MLP, each followed by a residual sum and then LayerNorm (post-norm)."""

    def __init__(self, dim: int, heads: int, head_dim: int, mlp_dim: int) -> None:
        super().__init__()
        self.attention = Attention(dim, heads, head_dim)
        self.attention_norm = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, mlp_dim), nn.GELU(), nn.Linear(mlp_dim, dim))
        self.mlp_norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(B, N, dim)`` to ``(B, N, dim)``."""
        x = self.attention_norm(x + self.attention(x))
        out: Tensor = self.mlp_norm(x + self.mlp(x))
        return out


class VisionTransformer(nn.Module):
    """A ViT from a map to a map of the same shape, over strided tokens and a class token that is dropped at the end.

    Class token and positions start as N(0, 1), as in the released code.

    Args:
        channels: Channels C of the map.
        size: Height and width of the map in pixels; multiples of ``options.token_patch``.
        options: Depth and widths.
    """

    def __init__(self, channels: int, size: tuple[int, int], options: AAHNOptions) -> None:
        super().__init__()
        self.patch = options.token_patch
        self.grid = (size[0] // self.patch, size[1] // self.patch)
        values = self.patch * self.patch * channels
        dim = options.vit_dim
        self.embed = nn.Linear(values, dim)
        self.class_token = nn.Parameter(torch.randn(1, 1, dim))
        self.positions = nn.Parameter(torch.randn(1 + self.grid[0] * self.grid[1], dim))
        self.blocks = nn.ModuleList(
            TransformerBlock(dim, options.vit_heads, options.vit_head_dim, options.vit_mlp_dim)
            for _ in range(options.vit_depth)
        )
        self.unembed = nn.Linear(dim, values)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(B, C, H, W)`` to ``(B, C, H, W)``."""
        tokens = self.embed(gather_tokens(x, self.patch))  # (B, n, dim)
        class_token = self.class_token.expand(tokens.shape[0], -1, -1)
        tokens = torch.cat([class_token, tokens], dim=1) + self.positions  # (B, 1 + n, dim)
        for block in self.blocks:
            tokens = block(tokens)
        return scatter_tokens(self.unembed(tokens[:, 1:]), self.grid, self.patch)


class Bottleneck(nn.Module):
    """A residual bottleneck of expansion 1 that halves the sides; its inner width equals its output width."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *conv_bn_relu(in_channels, out_channels, kernel=1, bias=False),
            *conv_bn_relu(out_channels, out_channels, kernel=3, stride=2, bias=False),
            nn.Conv2d(out_channels, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.shortcut = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, stride=2, bias=False), nn.BatchNorm2d(out_channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(B, in, H, W)`` to ``(B, out, H / 2, W / 2)``."""
        return F.relu(self.body(x) + self.shortcut(x))


class TransformerStage(nn.Module):
    """One level: bottleneck (halves the sides), ViT, convolution."""

    def __init__(self, in_channels: int, out_channels: int, size: tuple[int, int], options: AAHNOptions) -> None:
        super().__init__()
        self.down = Bottleneck(in_channels, out_channels)
        self.vit = VisionTransformer(out_channels, size, options)
        self.conv = conv_bn_relu(out_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(B, in, 2 H, 2 W)`` to ``(B, out, H, W)``, where ``size`` is ``(H, W)``."""
        out: Tensor = self.conv(self.vit(self.down(x)))
        return out


class TransformerBranch(nn.Module):
    """The branch that models global context: a strided stem, then three stages with a ViT each.

    Args:
        in_channels: Number of modalities it receives.
        patch_size: Height H and width W of the network's input in pixels.
        options: Widths and depths.
    """

    def __init__(self, in_channels: int, patch_size: tuple[int, int], options: AAHNOptions) -> None:
        super().__init__()
        width = options.width
        self.checkpointing = options.checkpointing
        self.stem = conv_bn_relu(in_channels, width, kernel=7, stride=2, bias=False)
        self.stages = nn.ModuleList(
            TransformerStage(
                width << (level - 1),
                width << level,
                (patch_size[0] >> (level + 1), patch_size[1] >> (level + 1)),
                options,
            )
            for level in range(1, LEVELS)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Maps ``(B, M, H, W)`` to four maps: ``(B, width * 2^l, H / 2^(l+1), W / 2^(l+1))`` for l = 0..3."""
        maps = [self.stem(x)]
        for stage in self.stages:
            maps.append(run(stage, maps[-1], checkpointing=self.checkpointing))
        return maps
