"""A stand-in for missing data, with as many cases as the owners state, so that a study can be planned."""

from harness.data.contract import Case, Dataset, Reader, Release, Split
from harness.data.splits import make_split, standard_split
from harness.errors import DataError

#: Stands where the hash of the files would; a cell with it is never run.
ASSUMED = "assumed"


class AssumedReader(Reader):
    """Reader without images; it knows the number of cases and splits them.

    Args:
        release: Size of the release as its owners state it.
        dataset: Facts of the dataset.
    """

    def __init__(self, release: Release, dataset: Dataset) -> None:
        self._release, self._name = release, dataset.name
        patients = release.patients or release.cases
        self._patients = {f"case{n:05d}": f"patient{n % patients:05d}" for n in range(release.cases)}

    def fingerprint(self) -> str:
        """Returns :data:`ASSUMED`, as there are no files."""
        return ASSUMED

    def cases(self) -> tuple[str, ...]:
        """Returns a name for every labelled case."""
        return tuple(self._patients)

    def patient(self, case: str) -> str:
        """Returns the assumed patient of a case; cases are spread evenly over patients."""
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
        """Raises an error: there are no images.

        Raises:
            DataError: Always.
        """
        raise DataError(
            f"No images of {case} of {self._name} are available.",
            hint="Get the data; without it a study can only be planned.",
        )
