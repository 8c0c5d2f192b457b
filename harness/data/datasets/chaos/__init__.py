"""CHAOS, task 5: abdominal MR with liver, kidneys and spleen, in the official DICOM and PNG layout.

T1 in phase and out of phase are one acquisition. T2-SPIR is another one, not registered to it; it joins by DICOM
geometry in a dataset of its own, so that results with and without it are never mixed.
"""

from dataclasses import replace

from harness.data.contract import FOLD_NAMES, Dataset, Release

__all__ = ["DATASET", "DATASET_T2SPIR"]

_METRIC_NOTE = (
    "CHAOS itself ranks by a score made of Dice, relative volume difference and two surface distances, which stands "
    "beside Dice and HD95; HD95 is not part of it."
)

DATASET = Dataset(
    name="chaos",
    title="CHAOS (T1)",
    summary="Abdominal T1-DUAL MRI (in phase and out of phase) of healthy people: liver, both kidneys, spleen.",
    kind="real",
    unit="patient",
    modalities=("t1in", "t1out"),
    labels={0: "background", 1: "liver", 2: "right kidney", 3: "left kidney", 4: "spleen"},
    file_labels={1: 63, 2: 126, 3: 189, 4: 252},
    regions={"Liver": (1,), "R-Kidney": (2,), "L-Kidney": (3,), "Spleen": (4,)},
    default_leading="t1in",
    folds=len(FOLD_NAMES),
    fold_names=FOLD_NAMES,
    slice_axis=2,
    reader="harness.data.datasets.chaos.reader:open_t1",
    generator="harness.data.datasets.chaos.generate:generate",
    exporter="harness.data.datasets.chaos.export:ChaosSlices",
    typical_spacing=(1.6, 1.6, 7.8),
    release=Release(cases=20, shape=(256, 256, 36)),
    metrics=("dice", "hd95", "chaos_dice", "chaos_ravd", "chaos_assd", "chaos_mssd", "chaos_score"),
    licence="CC BY-NC-SA 4.0",
    access="zenodo.org record 3431873 (CHAOS_Train_Sets.zip), or the CHAOS grand challenge",
    notes=("The organs are those drawn on T1.", _METRIC_NOTE),
)

DATASET_T2SPIR = replace(
    DATASET,
    name="chaos-t2spir",
    title="CHAOS (T1, T2-SPIR)",
    summary="CHAOS with T2-SPIR brought to the T1 grid by DICOM geometry, as third modality.",
    same_files_as="chaos",
    modalities=("t1in", "t1out", "t2spir"),
    release=Release(cases=20, shape=(256, 256, 36), integers=False),
    reader="harness.data.datasets.chaos.reader:open_t1_and_t2",
    notes=(
        "The organs are those drawn on T1.",
        "T2-SPIR is another acquisition with slices of its own; it is interpolated, and what moved between the two "
        "acquisitions stays misaligned.",
        _METRIC_NOTE,
    ),
)
