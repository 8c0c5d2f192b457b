"""BraTS 2019 as unpacked.

``MICCAI_BraTS_2019_Data_Training/{HGG,LGG}/BraTS19_CBICA_AAB_1/BraTS19_CBICA_AAB_1_{flair,t1,t1ce,t2,seg}.nii.gz`` and
``MICCAI_BraTS_2019_Data_Validation/BraTS19_…/`` without ``seg``. The last number of a name is the timepoint.
"""

import re
from pathlib import Path

from harness.data.datasets.brats.layout import Layout
from harness.data.datasets.brats.reader import BratsReader

LAYOUT = Layout(
    title="BraTS 2019",
    case=re.compile(r"(?P<patient>BraTS19_\w+)_\d+", re.ASCII),
    separator="_",
    modalities=("t1", "t1ce", "t2", "flair"),
    shape=(240, 240, 155),
    labels={0: 0, 1: 1, 2: 2, 4: 3},
    example="BraTS19_CBICA_AAB_1",
)


def open_folder(root: Path) -> BratsReader:
    """Returns a reader of the folder."""
    return BratsReader(root, LAYOUT)
