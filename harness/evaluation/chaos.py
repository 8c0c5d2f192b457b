"""The four scores of the CHAOS challenge, each from 0 to 100, and their mean.

Source: Kavur et al., CHAOS challenge, Medical Image Analysis 69 (2021), and its evaluation code (emrekavur/
CHAOS-evaluation). Two things differ from the plain metrics: the side of the image is no surface (what lies outside is
taken to go on as the side), and a value beyond a threshold scores nothing.
"""

from harness.evaluation.overlap import dice_of, ravd_of
from harness.evaluation.pair import MaskPair


def dice_score(pair: MaskPair) -> float:
    """Returns 100 times Dice; nothing below 0.8."""
    value = dice_of(pair)
    return 0.0 if value < 0.8 else 100 * value


def ravd_score(pair: MaskPair) -> float:
    """Returns 100 - 20 r for a relative absolute volume difference of r percent; nothing above 5 %."""
    percent = 100 * ravd_of(pair)
    return 0.0 if percent > 5 else 100 - 20 * percent


def assd_score(pair: MaskPair) -> float:
    """Returns 100 - 20 d / 3 for a mean surface distance of d mm over both directions; nothing above 15 mm."""
    distance = float(pair.inner_distances.pooled.mean())
    return 0.0 if distance > 15 else 100 - 20 * distance / 3


def mssd_score(pair: MaskPair) -> float:
    """Returns 100 - 5 d / 3 for a largest surface distance of d mm; nothing above 60 mm."""
    distance = float(pair.inner_distances.pooled.max())
    return 0.0 if distance > 60 else 100 - 5 * distance / 3


def mean_score(pair: MaskPair) -> float:
    """Returns the mean of the four."""
    return (dice_score(pair) + ravd_score(pair) + assd_score(pair) + mssd_score(pair)) / 4
