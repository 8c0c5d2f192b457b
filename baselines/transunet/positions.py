"""Position embeddings of another grid."""

import math

import torch.nn.functional as F
from torch import Tensor


def resize(positions: Tensor, grid: tuple[int, int]) -> Tensor:
    """Interpolates positions linearly between their corners, as the released code does.

    Args:
        positions: ``(1, N, C)`` of a square grid, or of ours.
        grid: Tokens along each axis of our grid.

    Returns:
        ``(1, prod(grid), C)``; the positions as they are where they belong to no square grid.
    """
    side = math.isqrt(positions.shape[1])
    if positions.shape[1] == math.prod(grid) or side**2 != positions.shape[1]:
        return positions
    square = positions.transpose(1, 2).reshape(1, -1, side, side)
    return F.interpolate(square, grid, mode="bilinear", align_corners=True).flatten(2).transpose(1, 2)
