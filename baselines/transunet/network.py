"""TransUNet, built from timm's ResNet and ViT blocks and torchvision's convolution blocks.

Source: Chen et al., TransUNet: Transformers Make Strong Encoders for Medical Image Segmentation, arXiv 2021 (Medical
Image Analysis 2024); ``networks/vit_seg_modeling.py`` of Beckschen/TransUNet, commit 02ef001, Apache-2.0. Nothing is
copied.

Kept: R50-ViT-B/16. A weight-standardised ResNet-50 without its last stage, a 1x1 convolution to 768 channels,
positions that start at 0, 12 pre-norm blocks, and a decoder that doubles the map four times (bilinear, corners aligned)
beside the maps of the ResNet at 1/8, 1/4 and 1/2.

Decided, each as in the released code:

* Skips come from the stages' ends; the one at 1/4, one row and one column short, is padded with zeros.
* Dropout acts on the embedded tokens and in the MLPs, not on attention.
* MLPs start Xavier-uniform with biases near 0, the rest with torch's defaults.

Ours: query, key and value are one linear layer (timm's; the same function and initialisation, as many parameters); any
number of modalities; any patch, square or not, with sides that are multiples of 16. The released code sets its token
grid by hand.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation  # type: ignore[import-untyped]

from baselines.shared.patches import require_multiples
from baselines.shared.pretrained import wanted
from baselines.transunet.pretrained import load_r50_vit
from baselines.transunet.resnet import ResNet

if TYPE_CHECKING:
    from baselines.transunet import TransUNetOptions
    from harness.segmenters.contract import Task

TOKEN_SIDE = 16
"""Side of the image patch that one token stands for: the ResNet's stride."""


class DecoderBlock(nn.Module):
    """Upsampling by 2, concatenation with the skip, two convolutions.

    Args:
        in_channels: Channels of the coarser map.
        skip_channels: Channels of the skip; 0 for none.
        out_channels: Channels of the output.
    """

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            Conv2dNormActivation(in_channels + skip_channels, out_channels),
            Conv2dNormActivation(out_channels, out_channels),
        )

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        """Maps ``(B, in, H, W)`` and ``(B, skip, 2 H, 2 W)`` to ``(B, out, 2 H, 2 W)``."""
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        output: Tensor = self.convs(x if skip is None else torch.cat([x, skip], dim=1))
        return output


class TransUNet(nn.Module):
    """TransUNet.

    Args:
        in_channels: Number of modalities M.
        out_channels: Number of output channels K.
        patch_size: Height and width of the input in pixels, multiples of 16.
        options: Widths, depths and dropout.
    """

    def __init__(
        self, in_channels: int, out_channels: int, patch_size: tuple[int, ...], options: TransUNetOptions
    ) -> None:
        super().__init__()
        self.grid = patch_size[0] // TOKEN_SIDE, patch_size[1] // TOKEN_SIDE
        hidden = options.hidden_size
        self.resnet = ResNet(in_channels, options.width, options.resnet_depths)
        *skips, deepest = self.resnet.channels
        self.embed = nn.Conv2d(deepest, hidden, 1)
        self.positions = nn.Parameter(torch.zeros(1, self.grid[0] * self.grid[1], hidden))
        self.dropout = nn.Dropout(options.dropout)
        self.blocks = nn.Sequential(*(_transformer_block(options) for _ in range(options.num_layers)))
        self.norm = nn.LayerNorm(hidden, eps=1e-6)
        first, *channels = options.decoder_channels
        self.neck = Conv2dNormActivation(hidden, first)
        self.decoder = nn.ModuleList(
            DecoderBlock(before, skip, after)
            for before, skip, after in zip([first, *channels], [*reversed(skips), 0], channels, strict=False)
        )
        self.head = nn.Conv2d(channels[-1], out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps images ``(B, M, H, W)`` to logits ``(B, K, H, W)``."""
        *skips, x = self.resnet(x)
        tokens = self.embed(x).flatten(2).transpose(1, 2)
        tokens = self.norm(self.blocks(self.dropout(tokens + self.positions)))
        x = self.neck(tokens.transpose(1, 2).reshape(len(x), -1, *self.grid))
        for block, skip in zip(self.decoder, [*reversed(skips), None], strict=True):
            x = block(x, skip)
        logits: Tensor = self.head(x)
        return logits


def build(task: Task, options: TransUNetOptions) -> TransUNet:
    """Builds TransUNet for a task.

    Args:
        task: Segmentation task.
        options: Widths, depths, dropout and the start.

    Raises:
        StudyError: A side of the patch is not a multiple of 16, or the pretrained weights do not fit.
    """
    require_multiples(task.patch_size, TOKEN_SIDE, f"transunet shrinks its input by {TOKEN_SIDE}")
    network = TransUNet(task.in_channels, task.out_channels, task.patch_size, options)
    if wanted(options.pretrained):
        load_r50_vit(network, Path(options.pretrained))
    return network


def _transformer_block(options: TransUNetOptions) -> Block:
    block = Block(
        options.hidden_size,
        options.num_heads,
        mlp_ratio=options.mlp_dim / options.hidden_size,
        qkv_bias=True,
        proj_drop=options.dropout,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),  # type: ignore[arg-type]
    )
    block.attn.proj_drop.p = 0.0
    for layer in block.mlp.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.normal_(layer.bias, std=1e-6)
    return block
