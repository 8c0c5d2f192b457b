"""What a published folder says of itself, and where its files lie.

::

    README.md                 what it is, how to check it, what was left out
    SHA256SUMS                of every other file; `sha256sum --check SHA256SUMS` reads it, too
    publication.json          study, profile, what was kept or left out, the packages that drew the report
    environment.json          packages, device and commit of each cell; requirements.txt for pip
    protocols/NAME.yaml       how the cells were trained
    splits/DATASET_fN_HASH.json   training, validation and test cases, and the patient of each
    store.json, cells/, studies/  a results folder: `harness report --results DIR` reads it
    cells/CELL/result/README.md   model card, beside weights.safetensors
    reports/STUDY/PROFILE/    the report
"""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Literal, get_args

from harness.report.inputs.acquisition import Acquisition, Cost
from harness.results.json_record import Record
from harness.statistics.sample_size import ALPHA

#: What is left out of a published folder if it is not asked for.
Kept = Literal["names", "dates", "paths", "images"]
KEPT: tuple[Kept, ...] = get_args(Kept)

RECORD, SUMS, ENVIRONMENT, REQUIREMENTS = "publication.json", "SHA256SUMS", "environment.json", "requirements.txt"

#: Packages that decide what a report looks like and how its numbers are rounded.
_DRAWING = ("matplotlib", "seaborn", "numpy", "pandas", "scipy", "pillow")


class Publication(Record):
    """What a published folder is: ``publication.json``.

    Attributes:
        study: Name of the study.
        profile: Its profile.
        kept: What was kept in it on request.
        weights: Whether it holds weights.
        missing: What it lacks of the study; empty for a whole one.
        licences: Licence and access of each dataset, where they are known.
        drawn_by: Versions of the packages that drew the report.
        margin: Loss that does not matter where sets of modalities are tested against all; None where they are not.
        alpha: Level of these tests.
        costs: Cost of each modality; None where they are not known.
        format: Version of the layout.
    """

    remedy = "Take the folder from where it was published again."

    study: str
    profile: str
    kept: tuple[Kept, ...] = ()
    weights: bool = True
    missing: tuple[str, ...] = ()
    licences: Mapping[str, str] = {}
    drawn_by: Mapping[str, str] = {}
    margin: float | None = None
    alpha: float = ALPHA
    costs: Mapping[str, Cost] | None = None
    format: Literal[1] = 1

    @property
    def question(self) -> Acquisition:
        """What the report asks of the sets of modalities."""
        return Acquisition(self.margin, self.alpha, self.costs)


def drawing_packages() -> dict[str, str]:
    """Returns the versions of the packages that decide what a report looks like."""
    return {name: version(name) for name in _DRAWING}
