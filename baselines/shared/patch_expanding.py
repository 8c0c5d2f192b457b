"""Patch expanding: Swin-Unet's learned upsampling, which MISSFormer took over."""

from torch import Tensor, nn


class PatchExpanding(nn.Module):
    """A linear layer without bias, whose output is dealt out to factor x factor tokens; then layer norm.

    Args:
        channels: Width of a token.
        out_channels: Width of a token of the finer grid.
        factor: Number of tokens that one token becomes along each axis.
    """

    def __init__(self, channels: int, out_channels: int, factor: int = 2) -> None:
        super().__init__()
        self.factor = factor
        self.expand = nn.Linear(channels, factor**2 * out_channels, bias=False)
        self.norm = nn.LayerNorm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(B, H, W, C)`` to ``(B, factor * H, factor * W, out_channels)``."""
        batch, height, width, _ = x.shape
        tokens = self.expand(x).reshape(batch, height, width, self.factor, self.factor, -1).transpose(2, 3)
        output: Tensor = self.norm(tokens.reshape(batch, self.factor * height, self.factor * width, -1))
        return output
