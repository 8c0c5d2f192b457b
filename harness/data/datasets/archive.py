"""What readers of unpacked archives share: cases with and without a label, and images on one grid."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.data.contract import Reader, Split
from harness.data.incomplete import patterns_of
from harness.data.reading.files import files_hash
from harness.data.reading.grids import check_same_grid
from harness.data.reading.nifti import read_image, read_label, read_placement
from harness.data.splits import standard_split


class ArchiveReader(Reader):
    """Reader of cases that are labelled or not, in the split of the authors' code.

    Args:
        root: Folder of the dataset.
        labelled: Case to whether it has a label.
    """

    def __init__(self, root: Path, labelled: Mapping[str, bool]) -> None:
        self._root, self._labelled = root, dict(sorted(labelled.items()))

    def cases(self) -> tuple[str, ...]:
        """Returns the labelled cases."""
        return tuple(case for case, labelled in self._labelled.items() if labelled)

    def unlabelled(self) -> tuple[str, ...]:
        """Returns the cases without a label, such as a challenge's validation set; they can only be predicted."""
        return tuple(case for case, labelled in self._labelled.items() if not labelled)

    def split(self, fold: int) -> Split:
        """Returns the seeded 80:20 (fold 0) or a fold of the cross-validation (1 to 5), by patient.

        Where patients lack modalities, those with the same ones are spread evenly over the folds.
        """
        cases = self.cases()
        return standard_split({case: self.patient(case) for case in cases}, fold, lacking=patterns_of(self, cases))

    def transform_codes(self, case: str) -> tuple[int, int]:
        """Returns the codes of the image on whose grid a case lies."""
        reference = self._reference(case)
        return (1, 1) if reference is None else read_placement(reference).codes

    def affine(self, case: str) -> NDArray[np.float64]:
        """Returns the (4, 4) affine of a case, from the header of one file where that is NIfTI."""
        reference = self._reference(case)
        return super().affine(case) if reference is None else read_placement(reference).affine

    def _reference(self, case: str) -> Path | None:
        """Returns the image on whose grid a case lies; none where that is no NIfTI file."""
        del case
        return None

    def _hash(self, files: Iterable[Path]) -> str:
        """Hashes files; one that a link leads out of the folder is left out, and refused when it is read."""
        root = self._root.resolve()
        return files_hash(self._root, [file for file in files if file.resolve().is_relative_to(root)])


def read_images(
    paths: Sequence[Path], check: Callable[[Path, tuple[int, ...]], None] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Reads the images of a case.

    Args:
        paths: One file per modality, in channel order.
        check: Called with the first file and its shape, before the others are read.

    Returns:
        The voxels (M, X, Y, Z) and the (4, 4) affine to RAS mm.

    Raises:
        DataError: A file cannot be read, or is not on the grid of the first.
    """
    first, affine = read_image(paths[0])
    if check is not None:
        check(paths[0], first.shape)
    images = [first]
    for path in paths[1:]:
        image, own = read_image(path)
        check_same_grid(path, image.shape, own, paths[0], first.shape, affine)
        images.append(image)
    return np.stack(images), affine


def read_mapped_label(
    path: Path, values: Mapping[int, int], reference: Path, shape: Sequence[int], affine: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Reads the label map of a case.

    Args:
        path: File of the label map.
        values: Value in the file to label of the harness.
        reference: An image of the case, on whose grid the label map must be.
        shape: Shape of that image.
        affine: Affine of that image.

    Raises:
        DataError: The file cannot be read, holds another value, or is on another grid.
    """
    label, own = read_label(path, frozenset(values))
    check_same_grid(path, label.shape, own, reference, shape, affine)
    table = np.zeros(max(values) + 1, np.uint8)
    table[list(values)] = list(values.values())
    return table[label]
