"""BraTS 2024 adult glioma after treatment: four MR sequences, with resection cavities, patients followed up."""

from harness.data.contract import FOLD_NAMES, Dataset, Release
from harness.data.datasets.brats.facts import LEADING_NOTE, SCORE_NOTE, SPLIT_NOTE

__all__ = ["DATASET"]

DATASET = Dataset(
    name="brats2024",
    title="BraTS 2024",
    summary="Adult gliomas after treatment, with resection cavities: T1, contrast-enhanced T1, T2 and FLAIR at 1 mm.",
    kind="real",
    unit="timepoint of a patient",
    modalities=("t1n", "t1c", "t2w", "t2f"),
    labels={
        0: "background",
        1: "non-enhancing core",
        2: "FLAIR hyperintensity",
        3: "enhancing tumour",
        4: "resection cavity",
    },
    regions={"WT": (1, 2, 3), "TC": (1, 3), "NETC": (1,), "SNFH": (2,), "ET": (3,), "RC": (4,)},
    default_leading="t1c",
    folds=len(FOLD_NAMES),
    fold_names=FOLD_NAMES,
    slice_axis=2,
    reader="harness.data.datasets.brats2024.reader:open_folder",
    generator="harness.data.datasets.brats.generate:brats2024",
    typical_spacing=(1.0, 1.0, 1.0),
    release=Release(cases=1350, shape=(182, 218, 182), patients=613),
    metrics=("dice", "hd95", "lesion_dice_2024", "lesion_hd95_2024"),
    empty_policy="worst",
    licence="CC BY-NC-SA 4.0, as far as known; see the terms on Synapse",
    access="Synapse, syn53708249 (BraTS 2024, adult glioma post treatment), on request",
    notes=(
        LEADING_NOTE,
        SPLIT_NOTE,
        SCORE_NOTE,
        "The whole tumour (WT) leaves the resection cavity out, as the challenge does.",
        "Where one mask is empty, HD95 is the image's diagonal, 337.3 mm; the challenge's penalty is 337 mm.",
    ),
)
