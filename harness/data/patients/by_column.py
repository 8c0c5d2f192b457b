"""Folds that go by a column of the patients: leave one site out, or train at one site and test at every one."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from harness.data.contract import Dataset, Reader, Split
from harness.data.patients.columns import read_columns
from harness.data.patients.shares import keep_share
from harness.data.splits import choose_splits, make_split
from harness.errors import DataError

Kind = Literal["leave-one-out", "pairs"]

_SEED = 12347

#: Share of a site's patients that is tested by the network trained there.
_TEST_SHARE = 0.2

#: Kinds by name, as they are typed.
KINDS: Mapping[str, Kind] = {kind: kind for kind in get_args(Kind)}

#: Patients that each site needs: a single one has no spread; for pairs, one each to train, to validate and to test.
_LEAST: Mapping[str, int] = {"leave-one-out": 2, "pairs": 3}


@dataclass(frozen=True)
class SplitBy:
    """Folds by a column: one for each of its values, in alphabetical order.

    Attributes:
        column: Name of the column, e.g. ``site``.
        kind: ``leave-one-out``: all patients with the value are tested, the others train and validate. ``pairs``: those
            with the value train and validate, but for a fifth that is tested with the patients of all other values.
    """

    column: str
    kind: Kind


def choose_folds(
    dataset: Dataset, reader: Reader, root: Path, file: Path | None = None, by: SplitBy | None = None
) -> tuple[Split, ...]:
    """Returns every fold: by a column of the patients, of the user's file, or of the dataset.

    Args:
        dataset: Facts of the dataset.
        reader: Reader of its folder.
        root: Its folder.
        file: File of folds, as :func:`harness.data.splits.write_splits` writes it.
        by: Column that folds go by; not with a file.

    Raises:
        DataError: A file cannot be read, a column is not there or not whole, or one of its values has too few patients.
    """
    if by is None:
        return choose_splits(dataset, reader, file)
    if dataset.split_within_patient:
        raise DataError(
            f"{dataset.name} has parts of one patient as cases, so it cannot be split by '{by.column}'.",
            hint="Leave `split` out.",
        )
    columns = read_columns(dataset.name, root, reader)
    return split_by(columns.patients, columns.of(by.column), by, dataset.name)


def split_by(patients: Mapping[str, str], values: Mapping[str, str], by: SplitBy, what: str) -> tuple[Split, ...]:
    """Returns one fold for each value of a column; all cases of a patient are in one part.

    Args:
        patients: Patient of each case.
        values: Value of each patient.
        by: Column and kind.
        what: Name of the dataset, for messages.

    Raises:
        DataError: There is one value, or one has too few patients.
    """
    groups: dict[str, list[str]] = {}
    for patient in sorted(set(patients.values())):
        groups.setdefault(values[patient], []).append(patient)
    if len(groups) < 2:
        raise DataError(
            f"All patients of {what} have the same '{by.column}', {next(iter(groups), 'none')}.",
            hint="A split by a column needs two values or more.",
        )
    least = _LEAST[by.kind]
    for value, members in groups.items():
        if len(members) < least:
            raise DataError(
                f"{what} has too few patients with '{by.column}' {value}: {len(members)}, and {least} are needed.",
                hint="Correct the value, or join it with another one.",
            )
    if by.kind == "leave-one-out":
        return tuple(make_split(patients, groups[value]) for value in sorted(groups))
    return tuple(_pair(patients, groups[value]) for value in sorted(groups))


def _pair(patients: Mapping[str, str], members: list[str]) -> Split:
    """Returns the fold that trains on some patients, and tests a seeded fifth of them and everybody else."""
    count = max(1, round(len(members) * _TEST_SHARE))
    drawn = np.random.RandomState(_SEED).choice(len(members), count, replace=False)
    own = {members[index] for index in drawn}
    return make_split(patients, own | (set(patients.values()) - set(members)))


@dataclass(frozen=True)
class Folds:
    """What a cell's split is chosen by.

    Attributes:
        file: File of the user's own folds.
        by: Column that folds go by.
        share: Share of the training patients that trains.
    """

    file: Path | None = None
    by: SplitBy | None = None
    share: float = 1.0

    def all(self, dataset: Dataset, reader: Reader, root: Path) -> tuple[Split, ...]:
        """Returns every fold with all training patients; :func:`choose_folds` says what is refused."""
        return choose_folds(dataset, reader, root, self.file, self.by)

    def reduced(self, split: Split, reader: Reader, seed: int) -> Split:
        """Returns a fold with the share of its training patients; :func:`keep_share` says what is refused."""
        return keep_share(split, {case: reader.patient(case) for case in split.train}, self.share, seed)
