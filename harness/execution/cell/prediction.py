"""Predicts cases with the weights of a finished cell and writes them in the format that a challenge accepts."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from harness.child_process import describe
from harness.data import Reader
from harness.data.export import check_export, pack, write_prediction
from harness.data.incomplete import patterns_of
from harness.data.preparation.normalisation import Normaliser
from harness.data.preparation.prepare import prepare
from harness.errors import HarnessError, did_you_mean
from harness.execution.cell.absences import Absences
from harness.execution.cell.problem import open_problem
from harness.execution.cell.weights import load_weights, read_normaliser
from harness.files import atomic_folder
from harness.inference.native_grid import segment_native
from harness.results.store import CellFolder, Store
from harness.segmenters import SEGMENTERS
from harness.study.cell import CellSpec
from harness.study.expansion import make_task
from harness.study.profiles import Profiles
from harness.training.device import Precision

#: Called with what is done, and how many of how many cases.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Predicted:
    """What was written.

    Attributes:
        folder: Folder with the files of all cases.
        archive: Archive of that folder, to be submitted.
        cases: Names of the cases.
    """

    folder: Path
    archive: Path
    cases: tuple[str, ...]


def find_cells(
    store: Store, name: str, profile: Profiles, export: str | None = None, label: str | None = None
) -> list[CellFolder]:
    """Returns the finished cells that can predict a dataset.

    Args:
        store: The results.
        name: Name of a cell or of a study.
        profile: Profile of the study, or several; default: those run last.
        export: Dataset whose format is wanted; default: any.
        label: Only this variant of the study.

    Raises:
        HarnessError: There is none; the message says why.
    """
    if (store.root / "cells" / name / "cell.json").is_file():
        cells = [store.cell(name)]
    else:
        found = store.study_cells(store.find_study(name, profile))
        known = {variant for variant, _ in found}
        if label is not None and label not in known:
            raise HarnessError(f"Study '{name}' has no variant '{label}'.", hint=did_you_mean(label, known))
        cells = [cell for variant, cell in found if label in (None, variant)]
    of_dataset = [cell for cell in cells if export in (None, cell.known().dataset)]
    if not of_dataset:
        trained_on = sorted({cell.known().dataset for cell in cells})
        raise HarnessError(
            f"'{name}' has no cell that was trained on {export}.",
            hint=f"It was trained on {', '.join(trained_on)}.",
        )
    finished = [cell for cell in of_dataset if cell.status() == "done"]
    if not finished:
        raise HarnessError(
            f"No cell of '{name}'{f' on {export}' if export else ''} is finished.",
            hint=f"`harness status {name}` shows how far they are.",
        )
    return finished


def predict_cell(
    cell: CellFolder,
    folder: Path | None,
    out: Path,
    cache: Path,
    device: torch.device,
    workers: int,
    progress: Progress,
) -> Predicted:
    """Predicts, writes, packs, and checks what was written.

    Args:
        cell: Finished cell.
        folder: Folder of the cases, in the dataset's official layout; default: the one the cell was trained on.
        out: Folder of the output: a folder and an archive, named after the cell.
        cache: Folder of prepared data.
        device: Device to compute on.
        workers: Processes that prepare.
        progress: Called for each case.

    Returns:
        What was written. Predicted are the cases without a label where the folder has such; else, in a folder of the
        user's, all of them, and in the cell's own its test cases.

    Raises:
        HarnessError: The cell cannot predict, something is there already, or a case cannot be read.
    """
    spec = cell.spec()
    target = out / cell.id
    if target.exists():
        raise HarnessError(f"{target} is there already.", hint="Name another folder with --out, or remove it.")
    dataset = spec.facts()
    network = trained_network(cell).to(device)
    normaliser = trained_normaliser(cell, cache, workers, progress)
    reader = dataset.open(folder or spec.root)
    protocol = spec.protocol
    with dataset.naming_reader():
        cases = _cases(spec, reader, own=folder is None)
        prepared = prepare(
            dataset,
            reader,
            cases,
            protocol.preparation,
            protocol.patch_size,
            cache,
            lambda done, total: progress("preparing", done, total),
            workers,
        )
    if any(case.absent for case in prepared):
        absences = Absences.of(cell, network)
        with dataset.naming_reader():
            absences.check(patterns_of(reader, cases))
        network = absences.applied_to(network).to(device)
    precision = Precision.choose(device, protocol.training, len(protocol.patch_size))
    with atomic_folder(target) as temporary:
        for number, case in enumerate(prepared):
            progress("predicting", number, len(prepared))
            with precision.autocast():
                label = segment_native(network, case, normaliser, protocol.patch_size, protocol.inference, device)
            write_prediction(dataset, reader, case.name, label, case.geometry.native_affine, temporary)
        progress("predicting", len(prepared), len(prepared))
        if problems := check_export(dataset, reader, temporary, cases):
            raise HarnessError(f"What was written would be refused: {problems[0]}", hint="Please report this.")
    archive = out / f"{cell.id}.zip"
    pack(target, archive)
    return Predicted(target, archive, tuple(cases))


@contextmanager
def naming_network(model: str) -> Iterator[None]:
    """Names a network of another package, whatever it raises within.

    Raises:
        HarnessError: The network raised something that is no error of the harness.
    """
    try:
        yield
    except (HarnessError, OSError):
        raise
    except (Exception, SystemExit) as error:
        if not SEGMENTERS.is_foreign(model):
            raise
        raise HarnessError(f"{model} failed: {describe(error)}.", hint="`--debug` shows where.") from error


def trained_network(cell: CellFolder) -> nn.Module:
    """Returns the network of a finished cell, in evaluation mode on the CPU.

    Raises:
        HarnessError: The cell is a framework's own, or its weights do not fit.
    """
    spec = cell.spec()
    segmenter = SEGMENTERS.get(spec.model)
    if segmenter.runner:
        raise HarnessError(
            f"{segmenter.title} trains and predicts by itself; the harness has only its test predictions.",
            hint="They are in the cell's result; use the framework's own command for other cases.",
        )
    network = segmenter.build(
        make_task(spec.facts(), spec.leading, spec.protocol), segmenter.parse_options(spec.options, stored=True)
    )
    load_weights(network, cell.result / "weights.safetensors")
    return network


def trained_normaliser(cell: CellFolder, cache: Path, workers: int, progress: Progress) -> Normaliser:
    """Returns how the training of a finished cell normalised; from its training cases where the weights do not say."""
    return read_normaliser(cell.result / "weights.safetensors") or _fit(cell.spec(), cache, workers, progress)


def _fit(spec: CellSpec, cache: Path, workers: int, progress: Progress) -> Normaliser:
    """Returns how the training normalised, from the training cases: the weights do not say."""
    problem = open_problem(spec)
    training = prepare(
        problem.dataset,
        problem.reader,
        problem.split.train,
        spec.protocol.preparation,
        spec.protocol.patch_size,
        cache,
        lambda done, total: progress("preparing the training cases", done, total),
        workers,
    )
    return Normaliser.fit(problem.dataset.normalisations, training)


def _cases(spec: CellSpec, reader: Reader, own: bool) -> Sequence[str]:
    if unlabelled := reader.unlabelled():
        return unlabelled
    return open_problem(spec).split.test if own else reader.cases()
