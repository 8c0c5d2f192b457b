"""BraTS 2019: pre-operative gliomas, four MR sequences; enhancing tumour is 4 in the files and 3 here."""

from harness.data.contract import FOLD_NAMES, Dataset, Release
from harness.data.datasets.brats.facts import SPLIT_NOTE_2019

__all__ = ["DATASET"]

DATASET = Dataset(
    name="brats2019",
    title="BraTS 2019",
    summary="Pre-operative high- and low-grade gliomas: T1, contrast-enhanced T1, T2 and FLAIR at 1 mm.",
    kind="real",
    unit="patient",
    modalities=("t1", "t1ce", "t2", "flair"),
    labels={0: "background", 1: "necrotic or non-enhancing core", 2: "oedema", 3: "enhancing tumour"},
    file_labels={3: 4},
    regions={"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,)},
    default_leading="t2",
    folds=len(FOLD_NAMES),
    fold_names=FOLD_NAMES,
    slice_axis=2,
    reader="harness.data.datasets.brats2019.reader:open_folder",
    generator="harness.data.datasets.brats.generate:brats2019",
    typical_spacing=(1.0, 1.0, 1.0),
    release=Release(cases=335, shape=(240, 240, 155)),
    metrics=("dice", "hd95", "sensitivity"),
    empty_policy="brats",
    licence="registered users of the challenge only; terms on the request form",
    access="the CBICA image processing portal (ipp.cbica.upenn.edu), on request",
    notes=(
        "Leading by default: T2, which leads best by the paper's public summary. The released code feeds the second "
        "channel, T1ce, to its leading stream: profile `released` of the studies.",
        SPLIT_NOTE_2019,
        "An absent region scores as the challenge's portal does: Dice 1 and HD95 0 mm where the prediction is empty "
        "too, else Dice 0 and HD95 373.13 mm.",
    ),
)
