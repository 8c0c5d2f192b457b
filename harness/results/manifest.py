"""What ``study.json`` holds: a study as it was resolved. Files of earlier versions are read, as those of cells are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from harness.results.json_record import Record


@dataclass(frozen=True)
class Design:
    """What a cell's split was chosen by, where it is not one of the dataset's folds with all training patients.

    Attributes:
        column: Column of the patients that the folds go by; empty for other folds.
        kind: How they do: ``leave-one-out`` or ``pairs``.
        train_share: Share of the fold's training patients that trains.
        train_patients: How many these are; 0 where it is not known.
    """

    column: str = ""
    kind: str = ""
    train_share: float = 1.0
    train_patients: int = 0

    def kind_by(self, column: str) -> str:
        """Returns how the folds go by a column; empty where they do not."""
        return self.kind if self.column == column else ""


@dataclass(frozen=True)
class DatasetFacts:
    """What a report must say about a dataset.

    Attributes:
        name: Registered name.
        title: What tables call it.
        kind: ``real`` (downloaded by the user), ``embedded`` (ships with the harness) or ``generated``.
        unit: What one test case is, e.g. ``patient`` or ``coronal block of one patient``.
        modalities: Names in channel order.
        regions: Region names in table order.
        notes: Caveats printed under every table that uses it.
        caveat: Why its numbers are no result, where trainings are too short for one; part of its title everywhere. It
            follows from the cells' protocols and is not stored.
    """

    name: str
    title: str
    kind: str
    unit: str
    modalities: tuple[str, ...]
    regions: tuple[str, ...]
    notes: tuple[str, ...] = ()
    caveat: Annotated[str, Field(exclude=True)] = ""


class ManifestCell(Record):
    """A cell of a study.

    Attributes:
        cell: Its identity.
        label: What the study calls its variant.
    """

    cell: str
    label: str


class ManifestReport(Record):
    """What a study's report compares.

    Attributes:
        reference: Label of the variant the others are compared with; None for none.
        metrics: Metrics to report, in order.
        empty: Policy for empty regions; None for each dataset's own.
        by: Columns of the patients that scores are shown by.
    """

    reference: str | None
    metrics: tuple[str, ...]
    empty: str | None = None
    by: tuple[str, ...] = ()


class Manifest(Record):
    """A study as resolved: ``study.json``.

    Attributes:
        name: Of the study.
        profile: ``default`` for none.
        question: What the study asks, in one sentence.
        report: What its report compares.
        labels: Variants in table order.
        datasets: Facts of its datasets.
        cells: Its cells; one may stand under several labels.
        answers: What of a publication the study answers; empty for nothing.
        file: Name of the study file.
        protocol: The protocol of the study, with the profile applied.
    """

    remedy = "Run the study again (`harness run`): it writes the file anew, and cells that are done are kept."

    name: str
    profile: str
    question: str
    report: ManifestReport
    labels: tuple[str, ...]
    datasets: tuple[DatasetFacts, ...]
    cells: tuple[ManifestCell, ...]
    answers: str = ""
    file: str = ""
    protocol: Mapping[str, Any] = {}
