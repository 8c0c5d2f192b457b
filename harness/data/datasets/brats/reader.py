"""Reads any BraTS release in its official layout."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.data.contract import Case, Reader, Split
from harness.data.datasets.brats.layout import OFFICIAL_SHAPES, SEGMENTATION, CaseFolder, Layout, find_cases
from harness.data.reading.files import NIFTI_ENDINGS, files_hash, nifti_file, visible
from harness.data.reading.grids import check_same_grid
from harness.data.reading.nifti import read_image, read_label
from harness.data.splits import standard_split
from harness.data.synthetic.generated import is_generated
from harness.errors import DataError

#: A label that lies outside the brain by more than this share gives a warning: it may belong to another case.
_OUTSIDE = 0.02


class BratsReader(Reader):
    """Reader of one release.

    Args:
        root: One unpacked archive, or a folder that holds several (training and validation).
        layout: Layout of the release.

    Raises:
        DataError: The folder holds no case of the release, one twice, or a validation case with a segmentation.
    """

    def __init__(self, root: Path, layout: Layout) -> None:
        self._root = root
        self._layout = layout
        self._cases = find_cases(root, layout)

    def fingerprint(self) -> str:
        """Returns a hash of all image files; one that a link leads out of the folder is refused when it is loaded."""
        root = self._root.resolve()
        files = [
            file
            for case in self._cases.values()
            for file in visible(case.path)
            if file.name.endswith(NIFTI_ENDINGS) and file.resolve().is_relative_to(root)
        ]
        return files_hash(self._root, files)

    def cases(self) -> tuple[str, ...]:
        """Returns every case outside the validation folders."""
        return tuple(name for name, case in self._cases.items() if case.labelled)

    def unlabelled(self) -> tuple[str, ...]:
        """Returns the cases of the validation folders."""
        return tuple(name for name, case in self._cases.items() if not case.labelled)

    def patient(self, case: str) -> str:
        """Returns the patient: the case's name without the timepoint."""
        return self._layout.patient(case)

    def split(self, fold: int) -> Split:
        """Returns the seeded 80:20 (fold 0) or a fold of the cross-validation (1 to 5), by patient."""
        return standard_split({case: self.patient(case) for case in self.cases()}, fold)

    def load(self, case: str) -> Case:
        """Reads the modalities and the segmentation of a case, its values mapped to the harness's."""
        folder = self._folder(case)
        images: list[NDArray[np.float32]] = []
        reference, affine = self._file(folder, case, self._layout.modalities[0]), np.eye(4)
        for modality in self._layout.modalities:
            path = self._file(folder, case, modality)
            image, own = read_image(path)
            if images:
                check_same_grid(path, image.shape, own, reference, images[0].shape, affine)
            else:
                affine = own
                self._refuse_another_release(path, image.shape)
            images.append(image)
        if not folder.labelled:
            return Case(np.stack(images), np.zeros(images[0].shape, np.uint8), affine)
        path = self._file(folder, case, SEGMENTATION)
        label, own = read_label(path, frozenset(self._layout.labels))
        check_same_grid(path, label.shape, own, reference, images[0].shape, affine)
        return Case(np.stack(images), self._to_harness(label), affine)

    def warnings(self, case: str, content: Case) -> list[str]:
        """Warns of a shape that is not the release's and of a segmentation that is empty or outside the brain."""
        warnings = []
        if content.label.shape != self._layout.shape and not is_generated(self._root):
            warnings.append(
                f"shape {content.label.shape} is not that of {self._layout.title}, {self._layout.shape}: "
                "is it another release, or was it resampled?"
            )
        if not self._cases[case].labelled:
            return warnings
        labelled = content.label > 0
        if not labelled.any():
            return [*warnings, "the segmentation is empty"]
        outside = float((labelled & ~content.images.any(axis=0)).sum() / labelled.sum())
        if outside > _OUTSIDE:
            warnings.append(f"{outside:.0%} of the segmentation lies outside the brain: is it that of another case?")
        return warnings

    def _refuse_another_release(self, path: Path, shape: tuple[int, ...]) -> None:
        """Cases of 2023 and 2024 are named alike, and the labels of 2023 are labels of 2024, too."""
        if shape in OFFICIAL_SHAPES and shape != self._layout.shape:
            raise DataError(
                f"{path} has shape {shape}, that of another BraTS release; {self._layout.title} has "
                f"{self._layout.shape}.",
                hint="Name the folder of this release, or the dataset that the folder holds.",
            )

    def _folder(self, case: str) -> CaseFolder:
        if case not in self._cases:
            raise DataError(
                f"{self._root} holds no case '{case}' of {self._layout.title}.",
                hint=f"Cases are named like {self._layout.example}.",
            )
        return self._cases[case]

    def _file(self, folder: CaseFolder, case: str, what: str) -> Path:
        return nifti_file(self._root, folder.path / f"{case}{self._layout.separator}{what}")

    def _to_harness(self, label: NDArray[np.uint8]) -> NDArray[np.uint8]:
        table = np.zeros(max(self._layout.labels) + 1, np.uint8)
        for in_file, value in self._layout.labels.items():
            table[in_file] = value
        return table[label]
