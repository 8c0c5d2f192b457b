"""Splits by patient: the authors' 80:20, five-fold cross-validation, official lists, and files of one's own.

A patient's cases stay together, whatever the scheme; :func:`check_leak` refuses anything else, unless the dataset
declares that it splits within a patient; every report of its numbers then says so.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from harness.data.contract import FOLD_NAMES, Dataset, Reader, Split
from harness.errors import DataError
from harness.files import read_json, write_json

__all__ = ["FOLD_NAMES", "check_leak", "choose_splits", "make_split", "read_splits", "standard_split", "write_splits"]

_SEED = 12345  # the authors' code and nnU-Net v1
_CV_FOLDS = 5
_VALIDATION_SHARE = 0.1


def standard_split(
    patients: Mapping[str, str],
    fold: int,
    named: Callable[[str], str] = str,
    lacking: Mapping[str, tuple[str, ...]] | None = None,
) -> Split:
    """Returns fold 0, the 80:20 split of the authors' code, or fold 1 to 5 of a cross-validation.

    The draws are those of nnU-Net v1 (``RandomState(12345).choice`` without replacement; ``KFold(shuffle=True,
    random_state=12345)``), over patients instead of cases. A tenth of the training patients validates.

    Args:
        patients: Patient of each case.
        fold: 0 to 5, as in :data:`FOLD_NAMES`.
        named: The name by which the authors' code knows a patient; the draw of fold 0 goes by the order of these names.
        lacking: Modalities that a case lacks, of the cases that lack any: where there are such, patients with the same
            modalities are spread evenly over the parts of every fold.

    Raises:
        DataError: There are too few patients.
    """
    names = sorted(set(patients.values()))
    if not names:
        raise DataError(
            "The dataset has no labelled case to train on or to test.",
            hint="Is the training archive there, or only the validation or test set?",
        )
    if len(names) < _CV_FOLDS:
        raise DataError(
            f"{len(names)} patients cannot be split: {_CV_FOLDS} are needed.", hint="Is the folder complete?"
        )
    if lacking:
        return _balanced_split(patients, fold, lacking)
    if fold == 0:
        names.sort(key=named)
        random = np.random.RandomState(_SEED)
        chosen = {names[index] for index in random.choice(len(names), int(len(names) * 0.8), replace=False)}
        test = [name for name in names if name not in chosen]
    else:
        test = [names[index] for index in _folds(len(names))[fold - 1]]
    return make_split(patients, test)


def _balanced_split(patients: Mapping[str, str], fold: int, lacking: Mapping[str, tuple[str, ...]]) -> Split:
    """Returns a fold whose parts hold patients of every pattern of modalities in the same proportion, up to one.

    Patients stand in a row, those of one pattern beside each other in a seeded order, and a part takes places of it at
    equal distances.
    """
    known: dict[str, set[tuple[str, ...]]] = {}
    for case, patient in patients.items():
        known.setdefault(patient, set()).add(tuple(sorted(lacking.get(case, ()))))
    names = sorted(known)
    order = np.random.RandomState(_SEED).permutation(len(names))
    row = sorted((names[index] for index in order), key=lambda patient: sorted(known[patient]))
    test = _evenly(row, len(row) - int(len(row) * 0.8)) if fold == 0 else row[fold - 1 :: _CV_FOLDS]
    others = [patient for patient in row if patient not in set(test)]
    return make_split(patients, test, _evenly(others, max(1, round(len(others) * _VALIDATION_SHARE))))


def _evenly(row: Sequence[str], count: int) -> list[str]:
    """Returns some of a row, at equal distances."""
    return [row[int((place + 0.5) * len(row) / count)] for place in range(count)]


@cache
def _folds(patients: int) -> tuple[tuple[int, ...], ...]:
    """Returns the test patients of each fold of a cross-validation, by their position."""
    from sklearn.model_selection import KFold

    folds = KFold(_CV_FOLDS, shuffle=True, random_state=_SEED).split(range(patients))
    return tuple(tuple(int(index) for index in test) for _, test in folds)


def make_split(patients: Mapping[str, str], test: Collection[str], validation: Collection[str] | None = None) -> Split:
    """Returns the split with these test patients.

    Args:
        patients: Patient of each case.
        test: Test patients.
        validation: Validation patients, from an official list; default: a seeded tenth of the others, at least one.
    """
    others = sorted(set(patients.values()) - set(test))
    if validation is None:
        random = np.random.RandomState(_SEED + 1)
        count = max(1, round(len(others) * _VALIDATION_SHARE))
        validation = {others[index] for index in random.choice(len(others), count, replace=False)}
    train = set(others) - set(validation)

    def cases(of: Collection[str]) -> tuple[str, ...]:
        wanted = set(of)
        return tuple(sorted(case for case, patient in patients.items() if patient in wanted))

    return Split(cases(train), cases(validation), cases(test))


def choose_splits(dataset: Dataset, reader: Reader, file: Path | None = None) -> tuple[Split, ...]:
    """Returns every fold: those of the user's file, or of the dataset where there is none.

    Args:
        dataset: Facts of the dataset.
        reader: Reader of the dataset's folder.
        file: Split file as written by :func:`write_splits`.

    Raises:
        DataError: The file cannot be read, or names cases that the folder lacks.
    """
    if file is None:
        return tuple(reader.split(fold) for fold in range(dataset.folds))
    splits = read_splits(file)
    known = {*reader.cases(), *(case for fold in range(dataset.folds) for case in _cases(reader.split(fold)))}
    for fold, split in enumerate(splits):
        if surplus := sorted(set(_cases(split)) - known):
            raise DataError(
                f"Fold {fold} of {file} names {len(surplus)} cases that {dataset.name} has no labels for: "
                f"{', '.join(surplus[:3])}",
                hint=f"Case names are those that `harness data splits {dataset.name} --out FILE` writes.",
            )
    return splits


def check_leak(split: Split, dataset: Dataset, reader: Reader, what: str) -> None:
    """Refuses a split that shows a test or validation patient to training, or that leaves nothing to do.

    Where the dataset declares ``split_within_patient``, parts of one patient may be on several sides, no case twice.

    Args:
        split: The split.
        dataset: Facts of the dataset.
        reader: Says which patient a case belongs to.
        what: Names dataset and fold in the message.

    Raises:
        DataError: A case is listed twice, a patient is on two sides (both are named), or there is nothing to train
            on or to test.
    """
    sides = {"training": split.train, "validation": split.val, "test": split.test}
    owner: dict[str, str] = {}
    for side, cases in sides.items():
        if len(set(cases)) != len(cases):
            raise DataError(f"The split of {what} leaks: a {side} case is listed twice.", hint="Correct the split.")
        if not cases and side != "validation":
            raise DataError(f"The split of {what} has no {side} cases.", hint="Correct the split.")
        kept_together = cases if dataset.split_within_patient else (reader.patient(case) for case in cases)
        for unit in sorted(set(kept_together)):
            if unit in owner:
                kind, hint = "patient", "Split by patient: all timepoints of a patient belong on one side."
                if dataset.split_within_patient:
                    kind, hint = "case", "A case belongs on one side."
                raise DataError(
                    f"The split of {what} leaks: {kind} {unit} is in {owner[unit]} and in {side}.", hint=hint
                )
            owner[unit] = side


def write_splits(path: Path, splits: Collection[Split]) -> None:
    """Writes folds to a JSON file that a study's ``splits`` can name."""
    folds = [
        {"hash": one.hash, "train": list(one.train), "val": list(one.val), "test": list(one.test)} for one in splits
    ]
    write_json(path, {"folds": folds})


def read_splits(path: Path) -> tuple[Split, ...]:
    """Reads a file of :func:`write_splits`, or one that a user wrote in its form (``hash`` is optional).

    Raises:
        DataError: The file is missing or not of that form, or a hash does not match.
    """
    try:
        folds = read_json(path)["folds"]
        splits = [(Split(tuple(f["train"]), tuple(f["val"]), tuple(f["test"])), f.get("hash")) for f in folds]
    except FileNotFoundError as error:
        raise DataError(f"The split file {path} does not exist.", hint="Correct `splits` in the study.") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} is not a valid split file: {error!r}",
            hint='It must read {"folds": [{"train": [...], "val": [...], "test": [...]}]}.',
        ) from error
    for number, (split, stated) in enumerate(splits):
        if stated is not None and stated != split.hash:
            raise DataError(
                f"Fold {number} of {path} was changed: its hash is {split.hash}, the file says {stated}.",
                hint="If the change is meant, remove the line with the old hash.",
            )
    return tuple(split for split, _ in splits)


def _cases(split: Split) -> tuple[str, ...]:
    return (*split.train, *split.val, *split.test)
