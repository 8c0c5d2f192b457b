"""T-CFAF: Transformer-CNN Feature Alignment and Fusion, the meeting of the branches at each level.

Source: the paper's T-CFAF module (channel attention CA, then cross-modality attention CMA) and the released code's
``nnunet/network_architecture/transunet/trans_disunet_grpah_transfuse.py``.

Departure of the released code from the paper's figure, reproduced here: level 1 has no CMA (its 64 x 64 map would
need 4096 x 4096 energies); there the fused map is reduced by a residual group and added to the leading map.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aahn.blocks import ResidualGroup, unscaled_attention
from aahn.options import AAHNOptions

SQUEEZE_RATIO = 8


class ChannelAttention(nn.Module):
    """CA: squeeze-and-excitation with ratio 8.

    Args:
        channels: Channels C, a multiple of 8.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // SQUEEZE_RATIO, 1)
        self.excite = nn.Conv2d(channels // SQUEEZE_RATIO, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(B, C, H, W)`` to ``(B, C, H, W)``, each channel scaled by a number in (0, 1)."""
        weights = x.mean(dim=(2, 3), keepdim=True)  # (B, C, 1, 1)
        weights = torch.sigmoid(self.excite(torch.relu(self.squeeze(weights))))
        return x * weights


class CrossModalityAttention(nn.Module):
    """CMA: a non-local block on one map whose attention is steered by another.

    Queries and values come from the first map, keys from the second: the second map decides where each position looks,
    and what is found there is the first map's own content.

    The softmax is not scaled; see :func:`aahn.blocks.unscaled_attention` for its precision. The closing batch norm
    starts with scale and shift 0, so that the block starts as the identity on its first input.

    Args:
        channels: Channels C of both maps.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // 2
        self.query = nn.Conv2d(channels, inner, 1)
        self.key = nn.Conv2d(channels, inner, 1)
        self.value = nn.Conv2d(channels, inner, 1)
        norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(norm.weight)
        nn.init.zeros_(norm.bias)
        self.out = nn.Sequential(nn.Conv2d(inner, channels, 1), norm)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Strengthens ``x`` by its own values where queries of ``x`` meet keys of ``y``.

        Args:
            x: ``(B, C, H, W)``, gives queries, values and the identity path.
            y: ``(B, C, H, W)``, gives the keys.

        Returns:
            ``(B, C, H, W)``.
        """
        query, key, value = (
            conv(source).flatten(2).transpose(1, 2)  # (B, H W, C / 2)
            for conv, source in ((self.query, x), (self.key, y), (self.value, x))
        )
        attended = unscaled_attention(query, key, value)  # (B, H W, C / 2)
        attended = attended.transpose(1, 2).reshape(x.shape[0], -1, *x.shape[2:])  # (B, C / 2, H, W)
        out: Tensor = x + self.out(attended)
        return out


class TCFAF(nn.Module):
    """Fuses the two branches' maps of one level into the leading map.

    Concatenation, channel attention, projection back to C channels, cross-modality attention. Each half can be taken
    out on its own, so that the four cells of the ablation form a 2 x 2 design:

    - without channel attention (``cma``, ``none``) the projection reads the plain concatenation;
    - without cross-modality attention (``ca``, ``none``) the projected map is added to the leading map, which is what
      the released code itself does at level 1.

    The concatenation and its projection belong to the wiring of the two branches and stay in every cell: without them
    the Transformer branch would reach the decoder through CMHGF alone.

    Args:
        channels: Channels C of each branch at this level.
        project: Maps ``(B, 2 C, H, W)`` to ``(B, C, H, W)``.
        channel_attention: Whether the CA half is built.
        cross_attention: Whether the CMA half is built.
    """

    def __init__(self, channels: int, project: nn.Module, *, channel_attention: bool, cross_attention: bool) -> None:
        super().__init__()
        self.channel_attention = ChannelAttention(2 * channels) if channel_attention else None
        self.project = project
        self.cross_attention = CrossModalityAttention(channels) if cross_attention else None

    @classmethod
    def at_level(cls, level: int, options: AAHNOptions) -> TCFAF:
        """Returns the module of one level (0 to 3) with the switches of ``options.tcfaf``."""
        channels = options.width << level
        first = level == 0
        project = (
            ResidualGroup(2 * channels, channels, options.leading_depths[0])
            if first
            else nn.Conv2d(2 * channels, channels, 1)
        )
        return cls(
            channels,
            project,
            channel_attention=options.tcfaf in ("ca", "full"),
            cross_attention=options.tcfaf in ("cma", "full") and not first,
        )

    def forward(self, leading: Tensor, transformer: Tensor) -> Tensor:
        """Maps two ``(B, C, H, W)`` to one ``(B, C, H, W)``."""
        fused = torch.cat([leading, transformer], dim=1)  # (B, 2 C, H, W)
        if self.channel_attention is not None:
            fused = self.channel_attention(fused)
        fused = self.project(fused)  # (B, C, H, W)
        out: Tensor = leading + fused if self.cross_attention is None else self.cross_attention(leading, fused)
        return out
