"""Generated data: a marker in its folder lets every table state it, and training code needs no special case."""

import inspect
from collections.abc import Callable
from pathlib import Path

from harness.data import DATASETS
from harness.data.contract import GENERATED_MARKER, Dataset
from harness.errors import DataError, HarnessError, did_you_mean
from harness.files import atomic_folder, read_json, write_json
from harness.registry import resolve

#: Written into the folder of generated data, and into the folders that its archives unpack to.
MARKER = GENERATED_MARKER

#: Fewer cannot be split into five folds.
LEAST_PATIENTS = 5


def generatable() -> list[Dataset]:
    """Returns the datasets a tree can be drawn of; of several readings of the same files, the first."""
    return [dataset for dataset in DATASETS.load_all()[0].values() if dataset.generator and not dataset.same_files_as]


def generate(
    dataset: Dataset, out: Path, patients: int, seed: int, scale: float, informative: str | None = None
) -> None:
    """Writes a generated tree in a dataset's official layout; it is there whole or not at all.

    Args:
        dataset: Dataset whose layout is written.
        out: A folder that does not exist, or an empty one.
        patients: Labelled patients.
        seed: The same seed gives the same images.
        scale: Size of the image matrix against the official one, above 0 to 1.
        informative: Modality that carries the signal alone; ``None`` for images like the real ones, where each
            modality shows something that others do not.

    Raises:
        HarnessError: The dataset has no generator, or an argument is out of range.
        DataError: ``out`` is not empty.
    """
    if not dataset.generator:
        raise HarnessError(f"The dataset '{dataset.name}' has no generator.", hint="`harness data` lists the datasets.")
    if patients < LEAST_PATIENTS:
        raise HarnessError(
            f"{patients} patients are too few.", hint=f"At least {LEAST_PATIENTS} are needed to make five folds."
        )
    if not 0 < scale <= 1:
        raise HarnessError(f"The scale {scale} is out of range.", hint="Give a number above 0, up to 1.")
    draw = resolve(dataset.generator, f"generator of '{dataset.name}'")
    more = {} if informative is None else {"informative": _known(informative, dataset, draw)}
    if out.exists():
        if not out.is_dir() or any(out.iterdir()):
            raise DataError(f"{out} is not empty.", hint="Name a folder that does not exist yet.")
        out.rmdir()
    with atomic_folder(out) as folder:
        draw(folder, patients, seed, scale, **more)
        for place in (folder, *(child for child in folder.iterdir() if child.is_dir())):
            mark_generated(place, dataset.name, patients, seed, scale, informative)


def _known(informative: str, dataset: Dataset, draw: Callable[..., None]) -> str:
    if "informative" not in inspect.signature(draw).parameters:
        raise HarnessError(
            f"The generator of {dataset.name} cannot make one modality the informative one.",
            hint="Choose one of the BraTS datasets.",
        )
    if informative not in dataset.modalities:
        raise HarnessError(
            f"{dataset.name} has no modality '{informative}'.", hint=did_you_mean(informative, dataset.modalities)
        )
    return informative


def mark_generated(
    root: Path, dataset: str, patients: int, seed: int, scale: float, informative: str | None = None
) -> None:
    """Marks a folder as generated.

    Args:
        root: The folder that was filled.
        dataset: Name of the dataset whose layout the folder has.
        patients: Number of patients.
        seed: Random seed of the patients.
        scale: Size against the real images, 1 for the official shape.
        informative: Modality that carries the signal alone, if one does.
    """
    more = {} if informative is None else {"informative": informative}
    write_json(root / MARKER, {"dataset": dataset, "patients": patients, "seed": seed, "scale": scale, **more})


def is_generated(root: Path) -> bool:
    """Returns whether a dataset folder, or a folder it lies in (two levels up at most), was generated.

    Raises:
        DataError: The marker cannot be read.
    """
    for folder in (root, *list(root.resolve().parents)[:2]):
        marker = folder / MARKER
        if marker.is_file():
            try:
                read_json(marker)
            except ValueError as error:
                raise DataError(f"{marker} is damaged: {error}", hint="Generate the data again.") from error
            return True
    return False


def describe(root: Path) -> str:
    """Describes the content of a folder that is not empty: its generated patients, or other files.

    Raises:
        DataError: The marker cannot be read.
    """
    marker = root / MARKER
    if not marker.is_file():
        return "files that were not generated"
    try:
        drawn = read_json(marker)
        alone = f", {drawn['informative']} informative" if "informative" in drawn else ""
        return f"{drawn['patients']} generated patients (seed {drawn['seed']}, scale {drawn['scale']:g}{alone})"
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{marker} is damaged: {error}", hint="Generate the data again.") from error


def kind_of(dataset: Dataset, root: Path | None) -> str:
    """Returns ``real``, ``embedded`` or ``generated``: the content of the folder decides.

    Args:
        dataset: Facts of the dataset.
        root: Folder of the dataset; ``None`` for its usual place.

    Raises:
        DataError: The folder does not exist.
    """
    return "generated" if is_generated(dataset.locate(root)) else dataset.kind
