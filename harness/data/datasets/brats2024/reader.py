"""BraTS 2024 adult glioma after treatment, as unpacked.

``BraTS2024-BraTS-GLI-TrainingData/training_data1_v2/`` (an earlier release: ``training_data1``) holds folders like
``BraTS-GLI-00005-100/`` with ``BraTS-GLI-00005-100-{t1n,t1c,t2w,t2f,seg}.nii.gz``, and so does
``BraTS2024-BraTS-GLI-AdditionalTrainingData/training_data_additional/``. In
``BraTS2024-BraTS-GLI-ValidationData/validation_data/`` there is no ``seg``. A name is patient and timepoint.
"""

import re
from pathlib import Path

from harness.data.datasets.brats.layout import Layout, PatientTable
from harness.data.datasets.brats.reader import BratsReader

LAYOUT = Layout(
    title="BraTS 2024",
    case=re.compile(r"(?P<patient>BraTS-GLI-[0-9]{5})-[0-9]{3}"),
    separator="-",
    modalities=("t1n", "t1c", "t2w", "t2f"),
    shape=(182, 218, 182),
    labels={0: 0, 1: 1, 2: 2, 3: 3, 4: 4},
    example="BraTS-GLI-00005-100",
    table=PatientTable(
        name="BraTS-PTG supplementary demographic information and metadata",
        key="BraTS Subject ID",
        columns={"Site": "site"},
    ),
)


def open_folder(root: Path) -> BratsReader:
    """Returns a reader of the folder."""
    return BratsReader(root, LAYOUT)
