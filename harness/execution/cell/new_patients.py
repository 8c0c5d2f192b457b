"""Predicts new patients with a finished cell: label maps, volumes in ml, and notes on unusual images."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from harness.data import Dataset
from harness.data.datasets.layouts.new_patients import NewPatients
from harness.data.incomplete import patterns_of
from harness.data.preparation.cache import PreparedCase
from harness.data.preparation.normalisation import Normaliser
from harness.data.preparation.prepare import prepare
from harness.data.reading.nifti import IMAGE_ENDINGS, write_label, write_volume
from harness.errors import DataError, HarnessError
from harness.execution.cell.absences import Absences
from harness.execution.cell.prediction import Progress, trained_network, trained_normaliser
from harness.execution.cell.weights import SpacingRange, read_training_spacing
from harness.files import atomic_folder
from harness.inference.native_grid import restore, restore_probabilities, segment
from harness.inference.standalone.inputs import (
    InputError,
    assign,
    assign_named,
    check_distinct,
    note_on_absent,
    notes_on_input,
    volumes,
    write_volumes,
)
from harness.results.store import CellFolder
from harness.study.protocol import Protocol
from harness.training.device import Precision


@dataclass(frozen=True)
class NewPredictions:
    """What was written.

    Attributes:
        folder: Folder with ``PATIENT.nii.gz`` and ``volumes.csv``.
        volumes: One row per patient and label or region: ``patient``, ``kind``, ``name``, ``voxels``, ``ml``.
        notes: What is unlike the training, by patient.
    """

    folder: Path
    volumes: tuple[dict[str, Any], ...]
    notes: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class _Trained:
    """A finished cell, ready to predict."""

    dataset: Dataset
    protocol: Protocol
    network: nn.Module
    normaliser: Normaliser
    spacing: SpacingRange | None
    absences: Absences
    device: torch.device

    def notes(self, case: PreparedCase) -> tuple[str, ...]:
        """Returns what of a patient's images is unlike the training, and what stands for those that are not there."""
        names = self.dataset.modalities
        own, known = ([(one.mean, one.std) for one in of] for of in (case.moments, self.normaliser.training))
        notes = notes_on_input(names, case.geometry.spacing, own, known, self.spacing, case.absent)
        if case.absent:
            lacking = [names[channel] for channel in case.absent]
            notes.insert(0, note_on_absent(lacking, self.absences.filling.kind, self.absences.told))
        return tuple(notes)

    def probabilities(self, case: PreparedCase) -> torch.Tensor:
        """Returns class probabilities (K, D, H, W) on the network's grid."""
        patch = self.protocol.patch_size
        with Precision.choose(self.device, self.protocol.training, len(patch)).autocast():
            return segment(self.network, case, self.normaliser, patch, self.protocol.inference, self.device)


def find_patients(cell: CellFolder, images: Sequence[Path], named: Sequence[str]) -> dict[str, list[Path | None]]:
    """Returns the files of each patient in the channel order of a cell's dataset; None where it lacks the modality.

    Args:
        cell: The cell.
        images: Files with nnU-Net's suffixes (``_0000``), or folders of such.
        named: Files of one patient in place of these, as ``MODALITY=FILE``.

    Raises:
        DataError: A file is not there or names no modality, or a patient lacks one that the network needs; the message
            names it.
    """
    spec = cell.spec()
    modalities = spec.facts().modalities
    # What the network can do without is known when it is built, which is needed for incomplete patients alone.
    given = modalities, spec.leading, IMAGE_ENDINGS, modalities
    try:
        if images and named:
            raise InputError("Images are given both by their names and by modality: give them in one of these ways.")
        if named:
            patients = assign_named(named, *given)
        else:
            files = [file for path in images for file in (_images_in(path) if path.is_dir() else [path])]
            patients = assign(files, *given)
    except InputError as error:
        raise DataError(
            str(error),
            hint=f"Modalities in channel order: {', '.join(modalities)}. `--modality NAME=FILE` names any file.",
        ) from error
    if absent := [path for files in patients.values() for path in files if path and not path.is_file()]:
        raise DataError(f"There is no file {absent[0]}.", hint="Correct its path.")
    reader = NewPatients(patients, modalities)
    if lacking := patterns_of(reader, patients):
        Absences.of(cell, trained_network(cell)).check(lacking)
    return patients


def _images_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name.endswith(IMAGE_ENDINGS) and path.name[0] != ".")


def predict_patients(
    cell: CellFolder,
    patients: Mapping[str, Sequence[Path | None]],
    out: Path,
    cache: Path,
    device: torch.device,
    progress: Progress,
    probabilities: bool = False,
) -> NewPredictions:
    """Predicts patients one by one; nothing of them is kept but what is written to ``out``.

    Args:
        cell: Finished cell.
        patients: Files of each patient, see :func:`find_patients`.
        out: Folder to write; it must not exist.
        cache: Folder of prepared data: of the training cases, where the weights do not say how they were normalised.
        device: Device to compute on.
        progress: Called for each patient.
        probabilities: Whether class probabilities are written too, ``PATIENT_probabilities.nii.gz`` (X, Y, Z, K).

    Raises:
        HarnessError: The cell cannot predict, ``out`` exists, or images cannot be read or are no images of one patient.
    """
    if out.exists():
        raise HarnessError(f"{out} is there already.", hint="Name another folder with --out, or remove it.")
    spec = cell.spec()
    network = trained_network(cell)
    absences = Absences.of(cell, network)
    network = absences.applied_to(network).to(device)
    if not spec.weights:  # as in the cell's own test: the last bits depend on it
        Precision.choose(device, spec.protocol.training, len(spec.protocol.patch_size)).to_memory_format(network)
    normaliser = trained_normaliser(cell, cache, 0, progress)
    spacing = read_training_spacing(cell.result / "weights.safetensors")
    trained = _Trained(spec.facts(), spec.protocol, network, normaliser, spacing, absences, device)
    reader = NewPatients(patients, trained.dataset.modalities)
    absences.check(patterns_of(reader, patients))
    rows: list[dict[str, Any]] = []
    notes: dict[str, tuple[str, ...]] = {}
    with atomic_folder(out) as folder:
        for number, patient in enumerate(patients):
            progress("predicting", number, len(patients))
            notes[patient] = _predict(trained, reader, patient, folder, probabilities, rows)
        progress("predicting", len(patients), len(patients))
        write_volumes(folder / "volumes.csv", rows)
    return NewPredictions(out, tuple(rows), {patient: words for patient, words in notes.items() if words})


def _predict(
    trained: _Trained, reader: NewPatients, patient: str, out: Path, probabilities: bool, rows: list[dict[str, Any]]
) -> tuple[str, ...]:
    """Predicts a patient, adds its volumes to the rows, and returns what is unlike the training."""
    dataset, protocol = trained.dataset, trained.protocol
    with tempfile.TemporaryDirectory() as temporary:
        (case,) = prepare(dataset, reader, [patient], protocol.preparation, protocol.patch_size, Path(temporary))
        try:
            check_distinct(case.images, dataset.modalities, case.absent)
        except InputError as error:
            raise DataError(f"Patient {patient}: {error}", hint="Is each file the one of its modality?") from error
        notes = trained.notes(case)
        found = trained.probabilities(case)
        label = restore(found, case.geometry)
        affine, codes = case.geometry.native_affine, reader.transform_codes(patient)
        if probabilities:
            # The header's place is that of the label map; the fourth axis is the class.
            write_volume(
                out / f"{patient}_probabilities.nii.gz", restore_probabilities(found, case.geometry), affine, codes
            )
    values = np.array([dataset.file_labels.get(value, value) for value in sorted(dataset.labels)], np.uint8)
    write_label(out / f"{patient}.nii.gz", values[label], affine, codes)
    rows += [{"patient": patient, **row} for row in volumes(label, affine, dataset.labels, dataset.regions)]
    return notes
