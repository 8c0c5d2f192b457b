"""Embedded real data: T1 and EPI of one living person with cortex and white-matter labels.

Origin, licence and limits are described in ``README.md`` beside the images.
"""

from pathlib import Path

from harness.data.contract import Dataset

__all__ = ["DATASET"]

DATASET = Dataset(
    name="cortex",
    title="Cortex (one person)",
    summary="T1 and gradient-echo EPI of one brain at 1 mm, with cortical ribbon and white matter from surfaces.",
    kind="embedded",
    unit="coronal block (8 mm) of the unseen hemisphere of one patient",
    modalities=("t1", "epi"),
    labels={0: "background", 1: "cortex", 2: "white matter"},
    regions={"Cortex": (1,), "White": (2,)},
    default_leading="t1",
    folds=2,
    slice_axis=1,
    reader="harness.data.datasets.cortex.reader:CortexReader",
    fold_names=("left trains", "right trains"),
    normalisation="zscore_train",
    crop=False,
    split_within_patient=True,
    licence="BSD-2-Clause (pycortex)",
    access="ships with the harness",
    home=Path(__file__).parent,
    notes=(
        "One person: it shows that the instrument works on real images, not that one model is better than another.",
        "The labels were drawn on the T1, which favours T1 as leading modality.",
    ),
)
