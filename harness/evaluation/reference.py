"""The reference implementation itself, for whoever wants its own number beside ours; far slower."""

from harness.evaluation.pair import MaskPair


def medpy_hd95_of(pair: MaskPair) -> float:
    """Returns :func:`medpy.metric.binary.hd95` of a pair whose masks are not empty, in mm."""
    from medpy.metric import binary  # imported here: few runs ask for it

    return float(binary.hd95(pair.prediction, pair.truth, voxelspacing=pair.spacing))
