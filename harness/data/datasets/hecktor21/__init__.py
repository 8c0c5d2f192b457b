"""HECKTOR 2021: primary tumours of head and neck in CT and PET, which lie on different grids."""

from harness.data.contract import FOLD_NAMES, Dataset, Release

__all__ = ["DATASET"]

DATASET = Dataset(
    name="hecktor21",
    title="HECKTOR 2021",
    summary="Primary oropharyngeal tumours (GTVt) in FDG-PET/CT of six centres, in 144 mm boxes at 1 mm.",
    kind="real",
    unit="patient",
    modalities=("ct", "pet"),
    labels={0: "background", 1: "primary tumour"},
    regions={"tumor": (1,)},
    default_leading="ct",
    folds=len(FOLD_NAMES),
    fold_names=FOLD_NAMES,
    slice_axis=2,
    reader="harness.data.datasets.hecktor21.reader:HecktorReader",
    generator="harness.data.datasets.hecktor21.generate:generate",
    exporter="harness.data.export:nifti_in_folder",
    modality_normalisation={"ct": "ct"},
    crop=False,
    typical_spacing=(1.0, 1.0, 1.0),
    release=Release(cases=224, shape=(144, 144, 144), integers=False),
    metrics=("dice", "hd95", "precision", "sensitivity"),
    licence="end-user agreement of the challenge",
    access="AIcrowd, 'MICCAI 2021: HECKTOR', after signing the end-user agreement",
    notes=(
        "Scored on the 1 mm grid of the official box, on which CT, PET and tumour were brought by the organisers' "
        "recipe; the challenge scores on the CT grid inside that box. Predictions are exported on the CT grid.",
        "Leading by default: CT, which leads best by the paper's public summary. The second channel, which leads in "
        "the released code, is PET: profile `released` of the studies.",
        "There is no official split of the 224 labelled patients: fold 0 is a seeded 80:20, the authors' draw if "
        "they kept the official names; folds 1 to 5 are a cross-validation.",
        "The challenge ranks by mean Dice and median HD95.",
    ),
)
