"""BraTS 2023 adult glioma: pre-operative gliomas, four MR sequences, some patients more than once."""

from harness.data.contract import FOLD_NAMES, Dataset, Release
from harness.data.datasets.brats.facts import LEADING_NOTE, SCORE_NOTE, SPLIT_NOTE

__all__ = ["DATASET"]

DATASET = Dataset(
    name="brats2023",
    title="BraTS 2023",
    summary="Pre-operative adult gliomas: T1, contrast-enhanced T1, T2 and FLAIR at 1 mm.",
    kind="real",
    unit="timepoint of a patient",
    modalities=("t1n", "t1c", "t2w", "t2f"),
    labels={0: "background", 1: "necrotic core", 2: "oedema", 3: "enhancing tumour"},
    regions={"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,)},
    default_leading="t1c",
    folds=len(FOLD_NAMES),
    fold_names=FOLD_NAMES,
    slice_axis=2,
    reader="harness.data.datasets.brats2023.reader:open_folder",
    generator="harness.data.datasets.brats.generate:brats2023",
    typical_spacing=(1.0, 1.0, 1.0),
    release=Release(cases=1251, shape=(240, 240, 155)),
    metrics=("dice", "hd95", "lesion_dice_2023", "lesion_hd95_2023"),
    empty_policy="brats",
    licence="registered users of the challenge only; terms on Synapse",
    access="Synapse, syn51156910 (BraTS 2023, adult glioma), on request",
    notes=(LEADING_NOTE, SPLIT_NOTE, SCORE_NOTE),
)
