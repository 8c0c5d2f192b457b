"""Prostate158: T2, ADC and DWI of the prostate with its two zones, in the official layout.

Sources disagree on the meaning of the two label values. Both readings are datasets of their own, so that their results
are never mixed.
"""

from dataclasses import replace

from harness.data.contract import FOLD_NAMES, Dataset, Release

__all__ = ["DATASET", "DATASET_PZ1"]

_CONVENTION = (
    "The files' label values are read as {values}. Sources disagree: the authors' MONAI bundle and their own figures "
    "have 1 = transition zone; their answer to a question has 1 = peripheral zone, as has a converter in the AAHN "
    "code, perhaps for other data. `harness data check` compares with the anatomy; the other reading is the dataset "
    "`{other}`."
)

_NOTES = ("The zones were drawn on T2, which favours T2 as leading modality.",)

DATASET = Dataset(
    name="prostate158",
    title="Prostate158",
    summary="Biparametric prostate MRI (T2, ADC, DWI on one grid) with transition and peripheral zone.",
    kind="real",
    unit="patient",
    modalities=("t2", "adc", "dwi"),
    labels={0: "background", 1: "transition zone", 2: "peripheral zone"},
    regions={"TZ": (1,), "PZ": (2,)},
    default_leading="t2",
    folds=1 + len(FOLD_NAMES),
    fold_names=("official", *FOLD_NAMES),
    slice_axis=2,
    reader="harness.data.datasets.prostate158.reader:open_tz_first",
    generator="harness.data.datasets.prostate158.generate:generate",
    typical_spacing=(0.5, 0.5, 3.0),
    release=Release(cases=158, shape=(270, 270, 26), lists=(119, 20, 19)),
    metrics=("dice", "hd95", "hd", "assd"),
    licence="stated with the download; not verified by us",
    access="zenodo.org: records 6481141 (training) and 6592345 (test)",
    notes=(_CONVENTION.format(values="1 = transition zone, 2 = peripheral zone", other="prostate158-pz1"), *_NOTES),
)

DATASET_PZ1 = replace(
    DATASET,
    name="prostate158-pz1",
    title="Prostate158 (1 = PZ)",
    summary="The files of prostate158 with label value 1 read as peripheral zone and 2 as transition zone.",
    same_files_as="prostate158",
    file_labels={1: 2, 2: 1},
    reader="harness.data.datasets.prostate158.reader:open_pz_first",
    generator="harness.data.datasets.prostate158.generate:generate_pz_first",
    notes=(_CONVENTION.format(values="1 = peripheral zone, 2 = transition zone", other="prostate158"), *_NOTES),
)
