"""A stand-in for data that is not there: as many cases as the owners state, so that a study can be planned."""

from __future__ import annotations

from harness.data.contract import Case, Dataset, Reader, Release, Split
from harness.data.splits import make_split, standard_split
from harness.errors import DataError

__all__ = ["ASSUMED", "AssumedReader"]

#: Stands where the hash of the files would; a cell with it is never run.
ASSUMED = "assumed"


class AssumedReader(Reader):
    """Knows how many cases there would be and splits them; has no images.

    Args:
        release: What the owners state.
        dataset: Facts.
    """

    def __init__(self, release: Release, dataset: Dataset) -> None:
        self._release, self._name = release, dataset.name
        patients = release.patients or release.cases
        self._patients = {f"case{n:05d}": f"patient{n % patients:05d}" for n in range(release.cases)}

    def fingerprint(self) -> str:
        """Returns that there are no files."""
        return ASSUMED

    def cases(self) -> tuple[str, ...]:
        """Returns a name for every labelled case."""
        return tuple(self._patients)

    def patient(self, case: str) -> str:
        """Returns whose case it would be; cases are spread evenly over patients."""
        return self._patients[case]

    def split(self, fold: int) -> Split:
        """Returns parts as large as the real ones: official lists where there are any, else the usual folds."""
        if not self._release.lists:
            return standard_split(self._patients, fold)
        if fold > 0:
            return standard_split(self._patients, fold - 1)
        training, validation, _ = self._release.lists
        names = self.cases()
        return make_split(
            self._patients,
            test=[self.patient(case) for case in names[training + validation :]],
            validation=[self.patient(case) for case in names[training : training + validation]],
        )

    def load(self, case: str) -> Case:
        """Refuses.

        Raises:
            DataError: Always.
        """
        raise DataError(
            f"There is no image of {case} of {self._name}.", hint="Only plans can be made without the data."
        )
