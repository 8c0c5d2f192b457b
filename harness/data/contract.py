"""The contract of a dataset: facts, and a reader that turns a folder into cases.

Facts are light (no numpy), so that studies are checked and listed quickly; the reader is imported when data is touched.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import MethodType
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from harness.data.foreign import is_foreign, naming_reader, read_apart
from harness.errors import DataError, HarnessWarning
from harness.registry import resolve

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")

#: Variables of the harness that name no dataset.
_OTHER_VARIABLES = {"HARNESS_RESULTS", "HARNESS_CACHE"}

#: Marks a folder as generated data.
GENERATED_MARKER = "GENERATED.json"

#: Folds of a dataset without official lists: the authors' seeded 80:20 first, then five-fold cross-validation.
FOLD_NAMES = ("80:20", "cv1", "cv2", "cv3", "cv4", "cv5")

#: ``zscore_case``: per image, inside its nonzero voxels. ``zscore_train``: by mean and SD of the training cases'
#: nonzero voxels. ``ct``: clipped to the 0.5 and 99.5 percentile of the training cases' foreground, then by its mean
#: and SD (nnU-Net).
Normalisation = Literal["zscore_case", "zscore_train", "ct"]


@dataclass(frozen=True)
class Case:
    """One patient timepoint (or one declared part of it) on one voxel grid.

    Attributes:
        images: (M, X, Y, Z) float32, channels in the dataset's modality order, intensities as in the files.
        label: (X, Y, Z) uint8 label map.
        affine: (4, 4) voxel index to RAS millimetres.
    """

    images: NDArray[np.float32]
    label: NDArray[np.uint8]
    affine: NDArray[np.float64]

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size in mm along X, Y, Z."""
        columns = self.affine[:3, :3]
        x, y, z = ((columns**2).sum(axis=0) ** 0.5).tolist()
        return x, y, z


@dataclass(frozen=True)
class Split:
    """Case identifiers of one fold. Test cases are seen by neither training, nor tuning, nor checkpoint selection."""

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]

    @property
    def hash(self) -> str:
        """Identity of the split, carried by every row computed from it."""
        text = json.dumps([self.train, self.val, self.test])
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class TrivialPrediction:
    """The prediction of a trivial method for a test case; every network must beat it.

    Attributes:
        name: Name of the method in tables and figures.
        prediction: (X, Y, Z) uint8 label map on the grid of the loaded case.
    """

    name: str
    prediction: NDArray[np.uint8]


#: Former name of :class:`TrivialPrediction`, which packages of others import.
Floor = TrivialPrediction


class Reader(Protocol):
    """Reads one dataset folder.

    Subclasses inherit the defaults of ``unlabelled``, ``patient``, ``missing_modalities``, ``affine``,
    ``transform_codes``, ``warnings`` and ``trivial_baselines``.
    """

    def fingerprint(self) -> str:
        """Returns a hash of the files' content; part of a cell's identity."""

    def cases(self) -> tuple[str, ...]:
        """Returns every labelled case, sorted."""

    def unlabelled(self) -> tuple[str, ...]:
        """Returns the cases without a label (a challenge's validation set), sorted; by default none.

        They can only be predicted.
        """
        return ()

    def patient(self, case: str) -> str:
        """Returns the patient a case belongs to; by default each case is a patient of its own."""
        return case

    def missing_modalities(self, case: str) -> tuple[str, ...]:
        """Returns the modalities that a case lacks; by default none. It has at least one."""
        del case
        return ()

    def split(self, fold: int) -> Split:
        """Returns the cases of one fold."""

    def load(self, case: str) -> Case:
        """Reads one case; the label of an unlabelled one is all background, a modality that it lacks is all 0.

        Raises:
            DataError: A file is missing, unreadable, mis-shaped, or holds a value the dataset does not declare.
        """

    def affine(self, case: str) -> NDArray[np.float64]:
        """Returns the (4, 4) affine that :meth:`load` gives; a reader that knows it without the images is faster."""
        return self.load(case).affine

    def transform_codes(self, case: str) -> tuple[int, int]:
        """Returns the codes of qform and sform that predictions of a case carry; by default 1, the scanner's space."""
        del case
        return 1, 1

    def warnings(self, case: str, content: Case) -> list[str]:
        """Returns warnings about a case that could be read, e.g. an impossible orientation; by default none."""
        del case, content
        return []

    def trivial_baselines(self, fold: int, case: str) -> list[TrivialPrediction]:
        """Returns the predictions of trivial methods for a test case; by default none."""
        del fold, case
        return []

    def concerns(self, case: str, content: Case) -> list[str]:
        """Former name of :meth:`warnings`."""
        return self.warnings(case, content)

    def floors(self, fold: int, case: str) -> list[TrivialPrediction]:
        """Former name of :meth:`trivial_baselines`."""
        return self.trivial_baselines(fold, case)


def case_warnings(reader: Reader, case: str, content: Case) -> list[str]:
    """Returns the warnings of a reader about a case, under whichever name the reader implements them."""
    warnings: list[str] = _method(reader, "warnings", "concerns")(case, content)
    return warnings


def transform_codes(reader: Reader, case: str) -> tuple[int, int]:
    """Returns the codes of qform and sform of a case, also from a reader that does not inherit from Reader."""
    codes: tuple[int, int] = getattr(reader, "transform_codes", lambda _: (1, 1))(case)
    return codes


def trivial_predictions(reader: Reader, fold: int, case: str) -> list[TrivialPrediction]:
    """Returns the trivial predictions of a test case, under whichever name a reader implements them.

    Args:
        reader: Reader of the dataset's folder.
        fold: Fold whose test set holds the case.
        case: Case identifier.
    """
    predictions: list[TrivialPrediction] = _method(reader, "trivial_baselines", "floors")(fold, case)
    return predictions


def _method(reader: Reader, name: str, former: str) -> Callable[..., Any]:
    """Returns an optional method of a reader that may be written for release 0.2.0 and need not inherit from Reader.

    The most derived class decides, so that a subclass of one of our readers may override either name.
    """
    names = (name, former)
    defined = next((n for owner in type(reader).__mro__ for n in names if n in vars(owner)), None)
    for candidate in names if defined is None else (defined,):
        if hasattr(reader, candidate):  # of a proxy, no class defines it
            return getattr(reader, candidate)  # type: ignore[no-any-return]
    return MethodType(getattr(Reader, name), reader)


@dataclass(frozen=True)
class Release:
    """Size of the owners' release as they state it, for plans made before the download.

    Attributes:
        cases: Labelled cases.
        shape: Voxels of a typical case along X, Y, Z as the reader returns it, uncropped.
        patients: Number of patients; 0 where each has one case, or the number is not stated.
        lists: Number of training, validation and test cases of fold 0 where it is an official list; else empty.
        integers: Whether intensities are integers, which the cache keeps in 16 bits.
    """

    cases: int
    shape: tuple[int, int, int]
    patients: int = 0
    lists: tuple[int, ...] = ()
    integers: bool = True


@dataclass(frozen=True)
class Dataset:
    """A dataset: facts plus a reader.

    Attributes:
        name: Name in study files; equals the entry point's name.
        title: Name in tables and figures.
        summary: Description in one sentence.
        kind: ``real`` (downloaded by the user), ``embedded`` (ships with the harness) or ``generated``.
        unit: Kind of test case, e.g. ``patient``.
        modalities: Names in channel order.
        labels: Label value to name, 0 (background) included, values consecutive.
        file_labels: Label value to the value in the official files, where the two differ.
        regions: Scored regions: name to label values; regions may overlap.
        default_leading: Leading modality where a study names none.
        folds: Number of folds.
        fold_names: Name of each fold, e.g. ``80:20`` or ``cv1``; as many as folds, or none.
        slice_axis: Voxel axis (0, 1, 2) along which 2D protocols cut slices.
        reader: ``module:function`` of ``(root: Path) -> Reader``.
        normalisation: Intensity normalisation of all modalities.
        modality_normalisation: Modalities that are normalised in another way.
        crop: Whether preparation may crop a case to the box of its nonzero voxels.
        spacing: Voxel size in mm that every protocol resamples to; ``None`` keeps each case's own.
        typical_spacing: Voxel size in mm that volume (3D) protocols resample to where ``spacing`` is ``None``.
        split_within_patient: Whether training and test cases may be parts of one patient (then no test of significance
            is allowed); otherwise a split that mixes a patient's cases is refused.
        metrics: Metrics scored per case and region; names of :data:`harness.evaluation.METRICS`.
        generator: ``module:function`` of ``(out: Path, patients: int, seed: int, scale: float) -> None``, which writes
            a tree in the official layout; empty where there is none.
        exporter: ``module:function`` of ``() -> Exporter`` (:mod:`harness.data.export`): the submission format;
            empty where it is one NIfTI file per case, named by it.
        empty_policy: Named policy for empty regions and missing predictions.
        release: Size of the owners' release; ``None`` where there is none.
        licence: Licence of the data.
        access: Where the data can be obtained.
        home: Folder of data that ships with the harness; ``None`` where the user downloads it.
        same_files_as: Dataset whose folder this one reads in another way; it is looked for where that one is.
        notes: Caveats printed with every result.
        revision: Raised whenever a change of the reader alters what it returns; part of a cell's identity.
    """

    name: str
    title: str
    summary: str
    kind: Literal["real", "embedded", "generated"]
    unit: str
    modalities: tuple[str, ...]
    labels: Mapping[int, str]
    regions: Mapping[str, tuple[int, ...]]
    default_leading: str
    folds: int
    slice_axis: int
    reader: str
    fold_names: tuple[str, ...] = ()
    file_labels: Mapping[int, int] = field(default_factory=dict)
    normalisation: Normalisation = "zscore_case"
    modality_normalisation: Mapping[str, Normalisation] = field(default_factory=dict)
    crop: bool = True
    spacing: tuple[float, float, float] | None = None
    typical_spacing: tuple[float, float, float] | None = None
    split_within_patient: bool = False
    metrics: tuple[str, ...] = ("dice", "hd95")
    generator: str = ""
    exporter: str = ""
    empty_policy: str = "worst"
    release: Release | None = None
    licence: str = ""
    access: str = ""
    home: Path | None = None
    same_files_as: str = ""
    notes: tuple[str, ...] = field(default_factory=tuple)
    revision: int = 1

    @property
    def normalisations(self) -> tuple[Normalisation, ...]:
        """Normalisation of each modality, in channel order."""
        return tuple(self.modality_normalisation.get(name, self.normalisation) for name in self.modalities)

    @property
    def files(self) -> str:
        """Name under which the folder is looked for."""
        return self.same_files_as or self.name

    @property
    def variable(self) -> str:
        """Environment variable that names the folder of this dataset."""
        return f"HARNESS_DATA_{self.files.upper().replace('-', '_')}"

    def locate(self, root: Path | None = None) -> Path:
        """Returns the folder to read.

        The first that exists of: ``root`` (from the study), the environment variable, ``data/NAME``, the embedded one.

        Raises:
            DataError: The folder does not exist; the message says how to name one.
        """
        folder = self.find(root)
        if folder is not None:
            return folder
        raise DataError(
            f"No data for '{self.name}'.",
            hint=f"Get it from {self.access or 'its owners'}, then set {self.variable}=FOLDER, put it at "
            f"{self._usual}, or write `- {{name: {self.name}, root: FOLDER}}` in the study."
            + (
                f" To try it on generated patients first: `harness data generate {self.name}`, or `harness data "
                "generate --all` for every dataset."
                if self.generator
                else ""
            ),
        )

    @property
    def _usual(self) -> Path:
        return Path("data") / self.files

    def find(self, root: Path | None = None) -> Path | None:
        """Returns the folder as :meth:`locate` does; None where no folder is named and none is in its usual place.

        Raises:
            DataError: The folder that is named does not exist.
        """
        if root is None:
            self.warn_of_variable()
        named = root or (Path(value) if (value := os.environ.get(self.variable)) else None)
        if named is not None:
            if not named.is_dir():
                raise DataError(
                    f"The folder of dataset '{self.name}' does not exist: {named}",
                    hint=f"Correct the path that was typed, `root` in the study's dataset entry, or {self.variable}.",
                )
            return named
        if self._usual.is_dir():
            return self._usual
        return self.home if self.home is not None and self.home.is_dir() else None

    def warn_of_variable(self) -> None:
        """Warns that the environment variable wins over generated data in the usual place, or is misspelt."""
        named, misspelt = os.environ.get(self.variable), self.variable.replace("_DATA_", "_", 1)
        if not named and misspelt not in _OTHER_VARIABLES and os.environ.get(misspelt):
            text = f"{misspelt} is set, but the variable that names the folder of '{self.name}' is {self.variable}."
            warnings.warn(text, HarnessWarning, stacklevel=1)
        if named and (self._usual / GENERATED_MARKER).is_file() and Path(named).resolve() != self._usual.resolve():
            text = (
                f"'{self.name}' is read from {named}, which {self.variable} names, and not from the generated data in "
                f"{self._usual}. To use the generated data, type `unset {self.variable}` first."
            )
            warnings.warn(text, HarnessWarning, stacklevel=1)  # at one place, so that it is said once

    def open(self, root: Path | None = None) -> Reader:
        """Returns a reader of the dataset's folder.

        Raises:
            DataError: The folder or one of its files is missing.
            HarnessError: The reader cannot be imported.
        """
        folder = self.locate(root)
        make = resolve(self.reader, f"reader of '{self.name}'")
        if is_foreign(self.reader):
            self.read_apart(lambda: make(folder) is None)  # it may end its process
        with self.naming_reader():
            reader: Reader = make(folder)
        return reader

    def naming_reader(self) -> AbstractContextManager[None]:
        """Names the reader of another package, whatever it raises within.

        Raises:
            DataError: It raised something that is no error of the harness.
        """
        return naming_reader(self.name, self.reader)

    def read_apart(self, function: Callable[[], T]) -> T:
        """Returns what a function returns that reads the dataset; a reader of others may even end its process.

        Args:
            function: What reads; its result must be picklable.

        Raises:
            DataError: The reader raised something that is no error of the harness, or ended its process.
        """
        return read_apart(self.name, self.reader, function)
