"""MAML: one U-Net a modality and a modality-aware fusion of their last features.

Zhang et al., *Modality-aware Mutual Learning for Multi-modal Medical Image Segmentation*, MICCAI 2021. Official code:
YaoZhang93/MAML (class ``Generic_MAML``), Apache-2.0, a fork of nnU-Net v1. No line of it is copied; encoder and
convolution blocks are those of ``dynamic_network_architectures``.

Kept: the function, the initialisation and the parameters, all compared with the released code tensor by tensor, in 3D
and in 2D, which its class also builds.

Decided:

* *Mutual learning* is joint supervision: in training mode the fused output is followed by every modality's own outputs
  at every resolution, weighted as the authors' trainer does. There is no distillation term in their code either.
* Depth follows nnU-Net's rule for the patch, because the authors' plan is not released; ``poolings`` fixes it.
* What runs at inference with a modality missing is not released and not guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from dynamic_network_architectures.building_blocks.helper import convert_dim_to_conv_op, get_matching_instancenorm
from torch import Tensor, nn

from baselines.shared.modality_unet import MAX_FEATURES, SLOPE, ModalityUNet, plan_strides
from baselines.shared.supervision import output_weights

if TYPE_CHECKING:
    from baselines.maml import MAMLOptions
    from harness.segmenters.contract import Task


class MAML(nn.Module):
    """One U-Net a modality; attention over modalities, voxels and channels; one decision.

    With the last decoder features F_m of modality m, M modalities and a mixture F* = conv([F_1 .. F_M]), the output is
    classify(sum_m A_m * F_m), where A_m = sigmoid(conv(LReLU(IN(conv([F_m, F*]))))) has its own weights for each m.

    Source: ``Generic_MAML`` of YaoZhang93/MAML.

    Args:
        modalities: Number of modalities M.
        out_channels: Number of classes K.
        features: Channels of every level, finest first.
        strides: Stride into every level, finest first; one number per axis, all 1 for the finest.
        convs_per_stage: Convolutions of a stage.
        deep_supervision: Whether training mode also returns each modality's own outputs.
    """

    def __init__(
        self,
        modalities: int,
        out_channels: int,
        features: Sequence[int],
        strides: Sequence[Sequence[int]],
        convs_per_stage: int,
        deep_supervision: bool,
    ) -> None:
        super().__init__()
        conv = convert_dim_to_conv_op(len(strides[0]))
        norm = get_matching_instancenorm(conv)
        width = features[0]
        self.unets = nn.ModuleList(
            ModalityUNet(out_channels, features, strides, convs_per_stage) for _ in range(modalities)
        )
        self.mix = conv(modalities * width, width, 3, padding=1)
        self.attentions = nn.ModuleList(
            nn.Sequential(
                conv(2 * width, width, 3, padding=1),
                norm(width, eps=1e-5, affine=True),
                nn.LeakyReLU(SLOPE, inplace=True),
                conv(width, width, 3, padding=1),
                nn.Sigmoid(),
            )
            for _ in range(modalities)
        )
        self.head = conv(width, out_channels, 1, bias=False)

        weights = output_weights(len(features) - 1)  # the fused output weighs as much as one finest output
        self._supervise_deeply = deep_supervision
        if deep_supervision:
            self.deep_supervision_weights = [weights[0], *(weight for weight in weights for _ in range(modalities))]
            untrained = [level for level, weight in enumerate(weights) if weight == 0.0]
        else:
            untrained = list(range(len(weights)))
        self.dead_parameters = frozenset(
            f"unets.{m}.heads.{len(weights) - 1 - level}.weight" for m in range(modalities) for level in untrained
        )
        """Heads without a place in the loss; the released network holds them all."""

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """Returns logits.

        Args:
            image: (B, M, *spatial).

        Returns:
            (B, K, *spatial). In training mode with deep supervision a list: that, then the modalities' own logits,
            all modalities at full resolution, then all at half resolution, and so on.
        """
        features = [unet(image[:, m : m + 1]) for m, unet in enumerate(self.unets)]
        last = [levels[0] for levels in features]
        mixture = self.mix(torch.cat(last, dim=1))
        weighed = [
            attention(torch.cat([x, mixture], dim=1)) * x for x, attention in zip(last, self.attentions, strict=True)
        ]
        logits: Tensor = self.head(torch.stack(weighed).sum(dim=0))
        if not (self.training and self._supervise_deeply):
            return logits
        own = [unet.classify(levels) for unet, levels in zip(self.unets, features, strict=True)]  # type: ignore[operator]
        return [logits, *(each for level in zip(*own, strict=True) for each in level)]


def build(task: Task, options: MAMLOptions) -> MAML:
    """Builds MAML for a task.

    Args:
        task: Segmentation task.
        options: Widths, depth and deep supervision.

    Raises:
        StudyError: The patch cannot be halved as often as planned.
    """
    strides = plan_strides(task.patch_size, options.poolings, "maml")
    cap = options.max_features or MAX_FEATURES[task.spatial_dims]
    return MAML(
        modalities=task.in_channels,
        out_channels=task.out_channels,
        features=[min(options.base_features * 2**level, cap) for level in range(len(strides))],
        strides=strides,
        convs_per_stage=options.convs_per_stage,
        deep_supervision=options.deep_supervision,
    )
