"""BraTS 2019 as unpacked.

``MICCAI_BraTS_2019_Data_Training/{HGG,LGG}/BraTS19_CBICA_AAB_1/BraTS19_CBICA_AAB_1_{flair,t1,t1ce,t2,seg}.nii.gz`` and
``MICCAI_BraTS_2019_Data_Validation/BraTS19_…/`` without ``seg``. The last number of a name is the timepoint.
"""

import re
from pathlib import Path

from harness.data.datasets.brats.layout import Layout
from harness.data.datasets.brats.reader import BratsReader, grade_of

_SITE = re.compile(r"BraTS19_(?P<site>[A-Za-z0-9]+)_", re.ASCII)

LAYOUT = Layout(
    title="BraTS 2019",
    case=re.compile(r"(?P<patient>BraTS19_\w+)_\d+", re.ASCII),
    separator="_",
    modalities=("t1", "t1ce", "t2", "flair"),
    shape=(240, 240, 155),
    labels={0: 0, 1: 1, 2: 2, 4: 3},
    example="BraTS19_CBICA_AAB_1",
)


class Brats2019Reader(BratsReader):
    """Reader of the release of 2019, whose names say where a patient was scanned, and whose folders the grade."""

    def patient_columns(self) -> dict[str, dict[str, str]]:
        """Returns the site, e.g. ``CBICA`` or ``TCIA12``, and the grade of each patient, as far as they are said."""
        columns: dict[str, dict[str, str]] = {}
        for case, folder in self._cases.items():
            known = columns.setdefault(self.patient(case), {})
            if (site := _SITE.match(case)) is not None:
                known["site"] = site["site"]
            if grade := grade_of(folder.path):
                known["grade"] = grade
        return columns


def open_folder(root: Path) -> Brats2019Reader:
    """Returns a reader of the folder."""
    return Brats2019Reader(root, LAYOUT)
