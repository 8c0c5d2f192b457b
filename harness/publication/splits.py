"""The folds that cells were trained and tested on, read from their data."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError
from harness.files import write_json
from harness.publication.names import Names
from harness.results.store import CellFolder
from harness.study.cell import CellSpec, path_word, split_of_cell

#: Folder of the published splits.
FOLDER = "splits"

SIDES = ("train", "val", "test")


@dataclass(frozen=True)
class Fold:
    """One fold of a dataset.

    Attributes:
        dataset: Name of the dataset.
        number: Index of the fold.
        hash: Hash of the split, of the names as they are in the data.
        sides: Cases for training, validation and test.
        patients: Patient by case.
        others: Patient by case, of the cases that are in no part of the fold.
    """

    dataset: str
    number: int
    hash: str
    sides: Mapping[str, tuple[str, ...]]
    patients: Mapping[str, str]
    others: Mapping[str, str]

    def write(self, folder: Path, names: Names, own: bool) -> None:
        """Writes the fold; cases in the order of their new names, which says nothing of the old ones.

        Args:
            folder: The published folder.
            names: What patients and cases are called.
            own: Whether these are their own names: then the order is kept, which the hash depends on.
        """
        sides = {side: [names.case(case) for case in cases] for side, cases in self.sides.items()}
        fold = {**sides, "hash": self.hash} if own else {side: sorted(cases) for side, cases in sides.items()}
        patients = {names.case(case): names.patient(patient) for case, patient in self.patients.items()}
        facts = {"dataset": self.dataset, "fold": self.number, "split": self.hash, "patients": patients}
        name = f"{path_word(self.dataset)}_f{self.number}_{self.hash}.json"
        write_json(folder / FOLDER / name, {**facts, "folds": [fold]})


def read_folds(cells: Iterable[CellFolder]) -> tuple[list[Fold], list[str]]:
    """Returns the folds of some cells, and of those that cannot be read, why."""
    specs: dict[tuple[str, int, str], CellFolder] = {}
    for cell in cells:
        record = cell.record()
        specs.setdefault((record.dataset, record.fold, record.split), cell)
    folds, unread = [], []
    for (dataset, number, _), cell in specs.items():
        try:
            folds.append(_read_fold(cell.spec()))
        except (HarnessError, ValueError) as error:
            reason = str(error).replace("\n", " ")
            unread.append(f"the split of {dataset}, fold {number}: {reason}")
    return folds, unread


def _read_fold(spec: CellSpec) -> Fold:
    dataset = spec.facts()
    reader = dataset.open(spec.root)

    def read() -> Fold:
        split = split_of_cell(spec, dataset, reader)
        sides = {side: getattr(split, side) for side in SIDES}
        patients = {case: reader.patient(case) for cases in sides.values() for case in cases}
        others = {
            case: reader.patient(case) for case in (*reader.cases(), *reader.unlabelled()) if case not in patients
        }
        return Fold(spec.dataset, spec.fold, split.hash, sides, patients, others)

    return dataset.read_apart(read)


def published_folds(folder: Path) -> Iterator[Path]:
    """Yields the files of the published splits."""
    yield from sorted((folder / FOLDER).glob("*.json"))
