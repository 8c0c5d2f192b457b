"""Cross-entropy plus soft Dice, also under deep supervision. The terms are MONAI's."""

from collections.abc import Sequence

from monai.losses import DiceLoss
from torch import Tensor, nn
from torch.nn import functional as F

from harness.errors import TrainingError
from harness.training.settings import LossSettings


class SegmentationLoss(nn.Module):
    """Weighted sum of cross-entropy and soft Dice for mutually exclusive classes.

    Dice is 1 - (2 TP + e) / (2 TP + FP + FN + e), e = 1e-5, averaged over classes (nnU-Net v1: batch Dice, no
    background).

    Args:
        settings: Weights and kind of Dice.
        deep_supervision_weights: Weight of each network output, finest first; empty for a network with one output.
    """

    def __init__(self, settings: LossSettings, deep_supervision_weights: Sequence[float] = ()) -> None:
        super().__init__()
        self._settings = settings
        self._weights = tuple(deep_supervision_weights)
        self._dice = DiceLoss(
            include_background=settings.dice_background,
            to_onehot_y=True,
            softmax=True,
            batch=settings.batch_dice,
            smooth_nr=1e-5,
            smooth_dr=1e-5,
        )

    def forward(self, output: Tensor | list[Tensor], labels: Tensor) -> Tensor:
        """Returns the loss.

        Args:
            output: Logits (B, K, *spatial), or a list of them, finest first, each at its own resolution.
            labels: (B, *spatial) int64.

        Raises:
            TrainingError: The number of outputs differs from the number of declared weights.
        """
        if isinstance(output, Tensor):
            return self._one(output, labels)
        if len(output) != len(self._weights):
            raise TrainingError(
                f"The network returned {len(output)} outputs but declares {len(self._weights)} weights for them.",
                hint="Set `deep_supervision_weights` on the module: one float per output, finest first.",
            )
        weighted = [
            weight * self._one(logits, _shrink(labels, tuple(logits.shape[2:])))
            for logits, weight in zip(output, self._weights, strict=True)
            if weight  # nnU-Net gives the lowest resolution weight 0
        ]
        total = weighted[0]
        for term in weighted[1:]:
            total = total + term
        return total

    def _one(self, logits: Tensor, labels: Tensor) -> Tensor:
        logits = logits.float()  # under autocast the sums of soft Dice overflow half precision
        loss = logits.new_zeros(())
        if self._settings.cross_entropy:
            loss = loss + self._settings.cross_entropy * _cross_entropy(logits, labels)
        if self._settings.dice:
            loss = loss + self._settings.dice * self._dice(logits, labels[:, None])
        return loss


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Returns the mean over all voxels."""
    if logits.device.type == "cpu":
        return F.cross_entropy(logits, labels)
    # On a GPU torch's own mean is summed in no fixed order and refused under strict determinism; this one has an order.
    return F.cross_entropy(logits, labels, reduction="none").mean()


def _shrink(labels: Tensor, size: tuple[int, ...]) -> Tensor:
    """Brings labels (B, *spatial) to a coarser output's size, nearest neighbour."""
    if tuple(labels.shape[1:]) == size:
        return labels
    return F.interpolate(labels[:, None].float(), size=size, mode="nearest-exact")[:, 0].long()
