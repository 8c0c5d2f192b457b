"""Attention within windows of a grid, in any number of dimensions.

Tokens stay on their grid with channels last, ``(B, *grid, C)``; a window holds N tokens in row-major order. The
functions and :class:`RelativePositionBias` serve attention of any kind; :class:`WindowAttention` is Swin's own (Liu et
al., ICCV 2021), which in two dimensions computes what timm's ``WindowAttention`` computes.
"""

import itertools
import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from timm.layers.weight_init import trunc_normal_
from torch import Tensor, nn

Size = tuple[int, ...]

MASKED = -100.0
"""Added to the logit of a pair of tokens that do not see each other; Swin's value, and nnFormer's."""


def fit(grid: Sequence[int], window: Sequence[int], shift: Sequence[int]) -> tuple[Size, Size]:
    """Returns window and shift for a grid: an axis that one window covers is not cut, and not shifted."""
    return (
        tuple(min(side, length) for side, length in zip(grid, window, strict=True)),
        tuple(step if side > length else 0 for side, length, step in zip(grid, window, shift, strict=True)),
    )


def partition(x: Tensor, window: Sequence[int]) -> Tensor:
    """Cuts ``(B, *grid, C)`` into ``(B * windows, N, C)``; the windows of an image follow each other, row-major."""
    dims = len(window)
    cut = [part for side, length in zip(x.shape[1:-1], window, strict=True) for part in (side // length, length)]
    x = x.reshape(len(x), *cut, x.shape[-1])
    order = (0, *range(1, 2 * dims, 2), *range(2, 2 * dims + 1, 2), 2 * dims + 1)
    return x.permute(order).reshape(-1, math.prod(window), x.shape[-1])


def merge(x: Tensor, window: Sequence[int], grid: Sequence[int]) -> Tensor:
    """Merges ``(B * windows, N, C)`` to ``(B, *grid, C)``; the inverse of :func:`partition`."""
    dims = len(window)
    counts = [side // length for side, length in zip(grid, window, strict=True)]
    x = x.reshape(-1, *counts, *window, x.shape[-1])
    order = (0, *itertools.chain.from_iterable((1 + axis, 1 + dims + axis) for axis in range(dims)), 2 * dims + 1)
    return x.permute(order).reshape(-1, *grid, x.shape[-1])


def in_windows(
    attention: Callable[..., Tensor], *inputs: Tensor, window: Sequence[int], shift: Sequence[int] | None = None
) -> Tensor:
    """Calls attention on the (shifted) windows of grids and puts its output back on the grid.

    Args:
        attention: Maps one ``(B * windows, N, C)`` per input to ``(B * windows, N, C')``.
        *inputs: ``(B, *grid, C)`` each, on one grid; for example queries, keys and values.
        window: Tokens of a window along each axis; divides the grid.
        shift: Tokens by which the grid is rolled back along each axis before it is cut. Default: none.

    Returns:
        ``(B, *grid, C')``.
    """
    grid = inputs[0].shape[1:-1]
    axes = tuple(range(1, len(grid) + 1))
    if shift is not None and any(shift):
        inputs = tuple(torch.roll(x, [-step for step in shift], axes) for x in inputs)
    output = merge(attention(*(partition(x, window) for x in inputs)), window, grid)
    return torch.roll(output, list(shift), axes) if shift is not None and any(shift) else output


def relative_position_index(window: Sequence[int]) -> Tensor:
    """Returns the row of the bias table of every pair of a window's tokens.

    Args:
        window: Tokens of the window along each axis.

    Returns:
        ``(N, N)`` integers, one for each of the ``prod(2 w - 1)`` offsets.
    """
    tokens = torch.cartesian_prod(*(torch.arange(length) for length in window)).reshape(-1, len(window))
    offsets = tokens[:, None] - tokens[None]
    index = torch.zeros_like(offsets[..., 0])
    for axis, length in enumerate(window):
        index = index * (2 * length - 1) + offsets[..., axis] + length - 1
    return index


def shift_mask(grid: Sequence[int], window: Sequence[int], shift: Sequence[int]) -> Tensor | None:
    """Returns the mask that separates tokens of a shifted window that are not neighbours on the grid.

    Args:
        grid: Tokens along each axis.
        window: Tokens of a window along each axis.
        shift: Shift along each axis.

    Returns:
        ``(windows, N, N)``, 0 or :data:`MASKED`, to be added to the logits; ``None`` where nothing is shifted.
    """
    if not any(shift):
        return None
    region = torch.zeros(tuple(grid))
    for axis, (side, length, step) in enumerate(zip(grid, window, shift, strict=True)):
        place = torch.arange(side)
        part = (place >= side - length).int() + (place >= side - step).int() if step else torch.zeros(side)
        region = 3 * region + part.reshape([-1 if other == axis else 1 for other in range(len(grid))])
    tokens = partition(region[None, ..., None], window)[..., 0]
    return torch.where(tokens[:, None] == tokens[:, :, None], 0.0, MASKED)


def attend(
    query: Tensor, key: Tensor, value: Tensor, heads: int, bias: Tensor | None = None, mask: Tensor | None = None
) -> Tensor:
    """Returns scaled dot-product attention within windows.

    Args:
        query: ``(B * windows, N, C)``.
        key: ``(B * windows, N', C)``.
        value: ``(B * windows, N', C)``.
        heads: Attention heads.
        bias: ``(heads or 1, N, N')``, added to the logits of every window.
        mask: ``(windows, N, N')``, added to the logits of every head.

    Returns:
        ``(B * windows, N, C)``.
    """
    q, k, v = (x.reshape(*x.shape[:2], heads, -1).transpose(1, 2) for x in (query, key, value))
    added = None if bias is None else bias[None].to(q.dtype)
    if added is not None and added.requires_grad and q.device.type == "cpu":
        return _attend_plainly(q, k, v, added, mask).transpose(1, 2).flatten(2)
    if mask is not None:
        masks = mask[None, :, None].to(q.dtype)
        added = masks if added is None else masks + added
        added = added.expand(len(q) // len(mask), -1, heads, -1, -1).flatten(0, 1)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=added).transpose(1, 2).flatten(2)


def _attend_plainly(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, mask: Tensor | None) -> Tensor:
    """Attention in plain steps: torch's fused CPU kernel has no gradient for a bias, and its fallback is slower."""
    logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1) + bias
    if mask is not None:
        logits = (logits.unflatten(0, (-1, len(mask))) + mask[None, :, None].to(q.dtype)).flatten(0, 1)
    return logits.softmax(-1) @ v


class RelativePositionBias(nn.Module):
    """A learned number per head for every offset between two tokens of a window.

    Args:
        window: Tokens of the window along each axis.
        heads: Attention heads; 1 for a bias that all heads share.
        index: Row of the table for every pair of tokens, ``(N, N)``. Default: :func:`relative_position_index`.
    """

    index: Tensor

    def __init__(self, window: Sequence[int], heads: int, index: Tensor | None = None) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(math.prod(2 * length - 1 for length in window), heads))
        self.register_buffer("index", relative_position_index(window) if index is None else index, persistent=False)
        trunc_normal_(self.table, std=0.02)

    def forward(self) -> Tensor:
        """Returns the bias ``(heads, N, N)``."""
        return self.table[self.index].permute(2, 0, 1).contiguous()  # read once per window: worth a copy


class WindowAttention(nn.Module):
    """Swin's self-attention within windows, with a relative position bias.

    Args:
        channels: Width of a token.
        window: Tokens of the window along each axis.
        heads: Attention heads.
        qkv_bias: Whether the joint projection to query, key and value has a bias.
        index: See :class:`RelativePositionBias`.
    """

    def __init__(
        self, channels: int, window: Sequence[int], heads: int, qkv_bias: bool = True, index: Tensor | None = None
    ) -> None:
        super().__init__()
        self.heads = heads
        self.position_bias = RelativePositionBias(window, heads, index)
        self.qkv = nn.Linear(channels, 3 * channels, bias=qkv_bias)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Maps ``(B * windows, N, C)`` to the same shape; ``mask`` is that of :func:`shift_mask`."""
        query, key, value = self.qkv(x).chunk(3, dim=-1)
        output: Tensor = self.proj(attend(query, key, value, self.heads, self.position_bias(), mask))
        return output
