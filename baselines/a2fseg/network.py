"""A2FSeg: one U-Net a modality, their average, and attention over those present.

*A2FSeg: Adaptive Multi-modal Fusion Network for Medical Image Segmentation*, MICCAI 2023. Official code:
Zirui0623/A2FSeg (class ``Generic_MAML_multi3_channel``), Apache-2.0, a fork of MAML's and with it of nnU-Net v1. No
line of it was copied; encoder and convolution blocks are those of ``dynamic_network_architectures``.

Kept: the function, the initialisation and the parameters that take part in it, compared with the released code.

Decided:

* Absent modalities are left out of the mean and of the attention by a product; the released code does not run them.
* An image draws its modalities in training; the authors alternate between epochs with all and with fewer.
* An encoder that the fusion decoder holds and never calls is not built.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from dynamic_network_architectures.building_blocks.helper import convert_dim_to_conv_op, get_matching_instancenorm
from torch import Tensor, nn

from baselines.shared.modality_unet import MAX_FEATURES, SLOPE, ModalityUNet, UNetDecoder, plan_strides
from baselines.shared.presence import draw_all_or_sizes, keep, modalities_present, without_gradient_where_absent
from baselines.shared.supervision import output_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from baselines.a2fseg import A2FSegOptions
    from harness.segmenters.contract import Task


class A2FSeg(nn.Module):
    """A U-Net a modality, the average of their features decoded again, and attention over the modalities present.

    With the last decoder features F_m of modality m and those of the averages' decoder F*, the output is
    classify(conv([sum_m A_m * F_m, F*])), where A is the softmax over the present m of
    LReLU(conv(LReLU(IN(conv([F_m, F*])))), whose weights are each modality's own.

    Args:
        modalities: Number of modalities M.
        out_channels: Number of classes K.
        features: Channels of every level, finest first.
        strides: Stride into every level, finest first; one number per axis, all 1 for the finest.
        options: Convolutions of a stage, and whether training draws modalities.
    """

    takes_present = True

    def __init__(
        self,
        modalities: int,
        out_channels: int,
        features: Sequence[int],
        strides: Sequence[Sequence[int]],
        options: A2FSegOptions,
    ) -> None:
        super().__init__()
        conv = convert_dim_to_conv_op(len(strides[0]))
        norm = get_matching_instancenorm(conv)
        width, both, convs = features[0], 2 * features[0], options.convs_per_stage
        self.drop_modalities = options.drop_modalities
        self.unets = nn.ModuleList(ModalityUNet(out_channels, features, strides, convs) for _ in range(modalities))
        self.decoder = UNetDecoder(out_channels, features, strides, convs)
        self.attentions = nn.ModuleList(
            nn.Sequential(
                conv(both, width, 3, padding=1),
                norm(width, eps=1e-5, affine=True),
                nn.LeakyReLU(SLOPE, inplace=True),
                conv(width, width, 3, padding=1),
                nn.LeakyReLU(SLOPE),
            )
            for _ in range(modalities)
        )
        self.join = nn.Sequential(
            conv(both, width, 3, padding=1), norm(width, eps=1e-5, affine=True), nn.LeakyReLU(SLOPE, inplace=True)
        )
        self.head = conv(width, out_channels, 1, bias=False)
        weights = output_weights(len(features) - 1)
        self.deep_supervision_weights = [weights[0], *(w for w in weights for _ in range(modalities + 1))]
        self.dead_parameters = frozenset(
            f"{place}.heads.0.weight" for place in ("decoder", *(f"unets.{m}" for m in range(modalities)))
        )
        """Heads of weight 0 in the loss; the released network holds them all."""

    def forward(self, images: Tensor, present: Tensor | None = None) -> Tensor | list[Tensor]:
        """Returns logits.

        Args:
            images: (B, M, *spatial).
            present: (B, M), 1 where a modality is present and 0 where not; default: all are.

        Returns:
            (B, K, *spatial). In training mode a list: these, then those of every modality's U-Net and of the averages'
            decoder at full resolution, then all at half resolution, and so on.
        """
        draw = draw_all_or_sizes if self.training and self.drop_modalities else None
        fused = modalities_present(images, present, draw)
        own: list[list[Tensor]] = []
        coarsest: list[Tensor] = []
        for unet, image in zip(self.unets, torch.split(images, 1, dim=1), strict=True):
            assert isinstance(unet, ModalityUNet)
            *skips, bottleneck = unet.encoder(image)
            own.append(unet.decode(skips, bottleneck))
            coarsest.append(bottleneck)
        means = [_mean(torch.stack(level, dim=1), fused) for level in zip(*own, strict=True)]
        decoded = self.decoder.decode(means, _mean(torch.stack(coarsest, dim=1), fused))
        logits: Tensor = self.head(self._weigh([levels[0] for levels in own], decoded[0], fused))
        if not self.training:
            return logits
        outputs = [
            [without_gradient_where_absent(each, fused[:, m]) for each in unet.classify(levels)]  # type: ignore[operator]
            for m, (unet, levels) in enumerate(zip(self.unets, own, strict=True))
        ]
        outputs.append(self.decoder.classify(decoded))
        return [logits, *(each for level in zip(*outputs, strict=True) for each in level)]

    def _weigh(self, features: Sequence[Tensor], mean: Tensor, present: Tensor) -> Tensor:
        scores = [
            attention(torch.cat([x, mean], dim=1)) for x, attention in zip(features, self.attentions, strict=True)
        ]
        stacked = torch.stack(scores, dim=1)
        absent = present.view(*present.shape, *[1] * (stacked.ndim - 2)) == 0
        weights = stacked.masked_fill(absent, float("-inf")).softmax(dim=1)
        weighed = (weights * torch.stack(list(features), dim=1)).sum(dim=1)
        joined: Tensor = self.join(torch.cat([weighed, mean], dim=1))
        return joined


def _mean(features: Tensor, present: Tensor) -> Tensor:
    """Returns the mean ``(B, C, *spatial)`` of features ``(B, M, C, *spatial)`` over the modalities present."""
    number = present.sum(dim=1).to(features.dtype)
    return keep(features, present).sum(dim=1) / number.view(-1, *[1] * (features.ndim - 2))


def build(task: Task, options: A2FSegOptions) -> A2FSeg:
    """Builds A2FSeg for a task.

    Args:
        task: Segmentation task.
        options: Widths, depth, and whether training draws modalities.

    Raises:
        StudyError: The patch cannot be halved as often as planned.
    """
    strides = plan_strides(task.patch_size, options.poolings, "a2fseg")
    cap = options.max_features or MAX_FEATURES[task.spatial_dims]
    features = [min(options.base_features * 2**level, cap) for level in range(len(strides))]
    return A2FSeg(task.in_channels, task.out_channels, features, strides, options)
