"""What is read of others' results, and the one form that every reader gives it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pandas as pd

from harness.errors import HarnessError, one_line
from harness.report.inputs.readers.label_names import LabelNames
from harness.results.schema import STATED_COLUMNS

#: Stands for the dataset where neither the user nor the file names it.
UNNAMED = "data"

#: Columns of :attr:`Source.rows`.
ROW_COLUMNS = (
    "label", "method", "dataset", "leading", "fold", "seed", "patient", "case", "region", "metric", "value", "status",
)  # fmt: skip


@dataclass(frozen=True)
class Request:
    """What is read, and what the user says about it.

    Attributes:
        path: File or folder.
        label: What tables call the method; empty for what the file says, else for the file's name.
        columns: Columns of a table by what they mean, see :mod:`harness.report.inputs.readers.mapped`.
        names: Names of labels; None for those of the ``dataset.json`` beside the results.
        dataset: Name of the dataset; empty for the one that the file or ``dataset.json`` states.
        patient: Its group matches the patient in the name of a case; None where every case is a patient.
    """

    path: Path
    label: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    names: LabelNames | None = None
    dataset: str = ""
    patient: re.Pattern[str] | None = None

    @property
    def method(self) -> str:
        """What the method is called."""
        return self.label or self.path.stem

    def patient_of(self, case: str) -> str:
        """Returns the patient of a case.

        Raises:
            HarnessError: The pattern does not match.
        """
        if self.patient is None:
            return case
        match = self.patient.search(case)
        if match is None:
            raise HarnessError(
                f"{self.path}: '{self.patient.pattern}' does not match the case '{one_line(case)}'.",
                hint="--patient is a regular expression whose first group is the patient.",
            )
        return match[1] if match.re.groups else match[0]


@dataclass(frozen=True)
class Source:
    """Results of one or more methods, as read.

    Attributes:
        path: File or folder.
        format: Name of the format, e.g. ``nnU-Net``.
        rows: One row per case, region and metric, with :data:`ROW_COLUMNS`. ``value`` is NaN where the policy for
            empty regions and missing predictions has to set it, which ``status`` then asks for.
        where: Returns the place of a row in the file, by its index, for messages.
        regions: Regions by dataset, in table order.
        titles: Titles of datasets, where known.
        modalities: Names in channel order, where known.
        has_folds: Whether the file says in which fold a case was tested.
        notes: What was assumed.
        stated: Means that the files themselves state, with :data:`STATED_COLUMNS`; ``computed`` is the same mean of
            the cases.
        implementation: What computed the values, as results record it.
        lists_missing: Whether a case without a prediction has rows of its own, so that no row means not tested.
    """

    path: Path
    format: str
    rows: pd.DataFrame
    where: Callable[[int], str]
    regions: Mapping[str, tuple[str, ...]]
    titles: Mapping[str, str] = field(default_factory=dict)
    modalities: tuple[str, ...] = ()
    has_folds: bool = False
    notes: tuple[str, ...] = ()
    stated: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(STATED_COLUMNS)))
    implementation: str = ""
    lists_missing: bool = False


class Reader(Protocol):
    """A format of results.

    A reader looks at a file only as far as it must to know its own, and never reads more than
    :func:`harness.files.read_bytes` allows.
    """

    @property
    def name(self) -> str:
        """Name of the format, in messages."""
        ...

    def recognises(self, request: Request) -> bool:
        """Returns whether the file is of this format."""
        ...

    def read(self, request: Request) -> Source:
        """Reads the file.

        Raises:
            DataError: It is not what the format says; the message names file and case or row.
        """
        ...
