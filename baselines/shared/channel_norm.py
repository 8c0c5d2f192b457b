"""Layer norm over the leading channel axis."""

from torch import Tensor, nn


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of ``(B, C, *spatial)``."""

    def forward(self, x: Tensor) -> Tensor:
        """Returns the normalised maps, of the same shape."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)
