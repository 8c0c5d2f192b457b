"""BraTS 2023 adult glioma as unpacked.

``ASNR-MICCAI-BraTS2023-GLI-Challenge-TrainingData/`` holds folders like ``BraTS-GLI-00000-000/`` with
``BraTS-GLI-00000-000-{t1n,t1c,t2w,t2f,seg}.nii.gz``; in ``ASNR-MICCAI-BraTS2023-GLI-Challenge-ValidationData/`` there
is no ``seg``. A name is patient and timepoint.
"""

import re
from pathlib import Path

from harness.data.datasets.brats.layout import Layout, PatientTable
from harness.data.datasets.brats.reader import BratsReader

LAYOUT = Layout(
    title="BraTS 2023",
    case=re.compile(r"(?P<patient>BraTS-GLI-[0-9]{5})-[0-9]{3}"),
    separator="-",
    modalities=("t1n", "t1c", "t2w", "t2f"),
    shape=(240, 240, 155),
    labels={0: 0, 1: 1, 2: 2, 3: 3},
    example="BraTS-GLI-00000-000",
    table=PatientTable(
        name="BraTS2023_2017_GLI_Mapping",
        key="BraTS2023",
        columns={
            "Site No (represents the originating institution)": "site",
            "Cohort Name (if publicly available)": "cohort",
        },
    ),
)


def open_folder(root: Path) -> BratsReader:
    """Returns a reader of the folder."""
    return BratsReader(root, LAYOUT)
