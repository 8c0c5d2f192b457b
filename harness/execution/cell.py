"""Runs one cell from data to result. Any engine calls this, in a process of the cell's own."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import nn

from harness.data import DATASETS, Dataset, Reader, Split
from harness.data.batches import TrainingBatches
from harness.data.contract import Case
from harness.data.nifti import write_label
from harness.data.normalisation import Normaliser
from harness.data.prepare import PreparedCase, prepare
from harness.errors import DataError, HarnessError
from harness.evaluation.policy import POLICIES
from harness.evaluation.scoring import Score, score_case
from harness.files import write_json
from harness.inference.native_grid import segment_native
from harness.randomness import derive
from harness.results.overlay import Overlay, choose_slice
from harness.results.provenance import code_version, package_versions, utc_now
from harness.results.store import CellFolder
from harness.segmenters import SEGMENTERS, Segmenter, Task
from harness.segmenters.size import measure
from harness.study.cell import CellSpec
from harness.study.expansion import make_task
from harness.training.checkpoint import Checkpoints
from harness.training.device import Arithmetic, choose_device, describe_device
from harness.training.loop import Epoch, Hooks, Trainer
from harness.training.validation import validation_dice

__all__ = ["run_cell"]

_METRICS = ("dice", "hd95")
_PROGRESS_EVERY = 0.5  # seconds between progress files


@dataclass(frozen=True)
class _Problem:
    """What a cell works on: data, split and task."""

    spec: CellSpec
    dataset: Dataset
    reader: Reader
    split: Split
    segmenter: Segmenter
    task: Task


def run_cell(
    spec: CellSpec,
    folder: CellFolder,
    cache: Path,
    device: str | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Trains, tests and scores one cell and writes its result.

    Args:
        spec: What to compute.
        folder: Where; an interrupted training found there is continued.
        cache: Folder of prepared data.
        device: Torch device; default: CUDA if there is any, else the CPU.
        should_stop: Asked after every training step.

    Raises:
        HarnessError: Something the user can put right.
        Interrupted: ``should_stop`` said so.
    """
    started, began = utc_now(), time.monotonic()
    where = choose_device(device)
    torch.use_deterministic_algorithms(spec.protocol.training.deterministic, warn_only=False)
    if where.type == "cuda":
        torch.backends.cudnn.benchmark = not spec.protocol.training.deterministic
    problem = _open(spec)
    reporter = _Reporter(folder, spec)
    reporter.say("preparing data")
    prepared = {
        name: prepare(
            problem.dataset, problem.reader, cases, spec.protocol.preparation, spec.protocol.patch_size, cache
        )
        for name, cases in asdict(problem.split).items()
    }
    normaliser = Normaliser.fit(problem.dataset.normalisation, prepared["train"])
    network = _build(problem, "init").to(where)
    history: list[Epoch] = []
    if spec.weights_file is not None:
        reporter.say("loading weights")
        _load_weights(network, spec.weights_file)
    else:
        history = _train(problem, network, prepared, normaliser, where, folder, reporter, should_stop)
    reporter.say("testing")
    with folder.writing_result() as result:
        scores, floors = _test(problem, network, prepared["test"], normaliser, where, result)
        _write_tables(result, history, scores, floors)
        _save_weights(network, result)
        size = measure(problem.segmenter, problem.task, problem.segmenter.parse_options(spec.options))
        reporter.summarise(
            result, spec, size.parameters, size.gflops, history, where, started, time.monotonic() - began
        )
    reporter.say("done")


def _open(spec: CellSpec) -> _Problem:
    dataset = DATASETS.get(spec.dataset)
    reader = dataset.open(spec.root)
    if reader.fingerprint() != spec.data:
        raise DataError(
            f"The files of {dataset.name} in {spec.root} changed since the study was planned.",
            hint="Run the study again: cells on the new data get a new identity.",
        )
    split = reader.split(spec.fold)
    if split.hash != spec.split:
        raise DataError(
            f"The split of {dataset.name} changed since the study was planned.", hint="Run the study again."
        )
    return _Problem(
        spec, dataset, reader, split, SEGMENTERS.get(spec.model), make_task(dataset, spec.leading, spec.protocol)
    )


def _build(problem: _Problem, purpose: str) -> nn.Module:
    torch.manual_seed(derive(problem.spec.seed, purpose))
    return problem.segmenter.build(problem.task, problem.segmenter.parse_options(problem.spec.options))


def _train(
    problem: _Problem,
    network: nn.Module,
    prepared: dict[str, list[PreparedCase]],
    normaliser: Normaliser,
    device: torch.device,
    folder: CellFolder,
    reporter: _Reporter,
    should_stop: Callable[[], bool],
) -> list[Epoch]:
    spec, protocol = problem.spec, problem.spec.protocol
    batches = TrainingBatches(
        prepared["train"], normaliser, protocol.patch_size, protocol.sampling, protocol.augmentation, spec.seed
    )

    def validate(current: nn.Module) -> float:
        return validation_dice(
            current,
            prepared["val"],
            problem.dataset.regions,
            normaliser,
            protocol.patch_size,
            protocol.inference,
            device,
        )

    trainer = Trainer(
        network,
        batches,
        protocol.training,
        Arithmetic.choose(device, protocol.training, problem.task.spatial_dims),
        Checkpoints(folder.work),
        spec.seed,
        _loader_workers(protocol.sampling.workers, device),
        Hooks(
            validate=validate,
            fresh_weights=lambda: _build(problem, "restart").state_dict(),
            on_step=reporter.on_step,
            on_epoch=reporter.on_epoch,
            should_stop=should_stop,
        ),
    )
    reporter.begin(trainer.total_steps)
    return trainer.run()


def _loader_workers(wanted: int | None, device: torch.device) -> int:
    if wanted is not None:
        return wanted
    if device.type != "cuda":
        return 0  # the cores are busy with the network itself
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, max(1, cores // max(torch.cuda.device_count(), 1) - 1))


def _test(
    problem: _Problem,
    network: nn.Module,
    cases: list[PreparedCase],
    normaliser: Normaliser,
    device: torch.device,
    result: Path,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Segments and scores every test case; writes predictions and the overlay of the middle case."""
    dataset, protocol = problem.dataset, problem.spec.protocol
    arithmetic = Arithmetic.choose(device, protocol.training, problem.task.spatial_dims)
    scores: list[dict[str, object]] = []
    floors: list[dict[str, object]] = []
    (result / "predictions").mkdir()
    for number, prepared in enumerate(cases):
        case = problem.reader.load(prepared.name)
        with arithmetic.autocast():
            prediction = segment_native(
                network,
                prepared,
                normaliser,
                protocol.patch_size,
                protocol.inference,
                device,
                case.label.shape,
                dataset.slice_axis,
            )
        write_label(result / "predictions" / f"{prepared.name}.nii.gz", prediction, case.affine)
        scores += _rows(problem, prepared, _score(dataset, prediction, case))
        for floor in problem.reader.floors(problem.spec.fold, prepared.name):
            found = _rows(problem, prepared, _score(dataset, floor.prediction, case))
            floors += [{**row, "floor": floor.name} for row in found]
        if number == len(cases) // 2:
            _overlay(dataset, case, prediction, prepared.name).save(result / "overlay.npz")
    return pd.DataFrame(scores), pd.DataFrame(floors)


def _score(dataset: Dataset, prediction: NDArray[np.uint8], case: Case) -> list[Score]:
    return score_case(prediction, case.label, dataset.regions, case.spacing, POLICIES[dataset.empty_policy], _METRICS)


def _rows(problem: _Problem, case: PreparedCase, scores: list[Score]) -> list[dict[str, object]]:
    spec = problem.spec
    place = {
        "dataset": spec.dataset,
        "model": spec.model,
        "leading": spec.leading,
        "fold": spec.fold,
        "seed": spec.seed,
        "patient": case.patient,
        "case": case.name,
    }
    return [{**place, **asdict(score)} for score in scores]


def _overlay(dataset: Dataset, case: Case, prediction: NDArray[np.uint8], name: str) -> Overlay:
    axis = dataset.slice_axis
    index = choose_slice(case.label, axis)
    names = tuple(dataset.labels[value] for value in sorted(dataset.labels))
    return Overlay.cut(case.images, case.label, prediction, case.spacing, dataset.modalities, names, name, index, axis)


def _load_weights(network: nn.Module, path: Path) -> None:
    """Puts imported weights into the network that is tested.

    Raises:
        HarnessError: They are another network's, or of another task.
    """
    try:
        load_model(network, str(path))
    except (OSError, RuntimeError, SafetensorError) as error:
        first_lines = " ".join(str(error).split()[:60])
        raise HarnessError(
            f"The weights {path} do not fit: {first_lines}",
            hint="Options, modalities, classes and patch size must be those the weights were trained with.",
        ) from error
    network.eval()


def _save_weights(network: nn.Module, result: Path) -> None:
    """Writes the weights; those that several names share (nnU-Net's encoder stands in its decoder too) once."""
    network.to(memory_format=torch.contiguous_format)
    save_model(network, str(result / "weights.safetensors"))


def _write_tables(result: Path, history: list[Epoch], scores: pd.DataFrame, floors: pd.DataFrame) -> None:
    if not np.isfinite(scores["value"]).all():
        raise HarnessError("A metric is not finite.", hint="Please report this: every case must have a value.")
    scores.to_parquet(result / "cases.parquet", index=False)
    pd.DataFrame([asdict(epoch) for epoch in history], columns=[one.name for one in fields(Epoch)]).to_parquet(
        result / "history.parquet", index=False
    )
    if floors.empty:
        floors = pd.DataFrame(columns=[*scores.columns, "floor"])
    floors.to_parquet(result / "floors.parquet", index=False)


class _Reporter:
    """Tells whoever watches how far the cell is, by small files."""

    def __init__(self, folder: CellFolder, spec: CellSpec) -> None:
        self._folder = folder
        self._epochs = spec.protocol.training.epochs
        self._values: dict[str, object] = {"cell": spec.id, "pid": os.getpid(), "phase": "starting"}
        self._written = 0.0
        self._first: tuple[int, float] | None = None

    def say(self, phase: str) -> None:
        """Enters a phase."""
        self._values["phase"] = phase
        self._write()

    def begin(self, total: int) -> None:
        """Training begins."""
        self._values |= {"phase": "training", "total": total, "step": 0, "epochs": self._epochs}
        self._write()

    def on_step(self, step: int) -> None:
        """One more step is done."""
        now = time.monotonic()
        if self._first is None:
            self._first = (step, now)
        first, since = self._first
        self._values["step"] = step
        if step > first:
            self._values["seconds_per_step"] = (now - since) / (step - first)
        if now - self._written >= _PROGRESS_EVERY:
            self._write()

    def on_epoch(self, history: list[Epoch]) -> None:
        """One more epoch is done."""
        if history:
            self._values["history"] = [_json_safe(epoch) for epoch in history]
        self._write()

    def summarise(
        self,
        result: Path,
        spec: CellSpec,
        parameters: int,
        gflops: float,
        history: list[Epoch],
        device: torch.device,
        started: str,
        seconds: float,
    ) -> None:
        """Writes the facts of the finished cell."""
        write_json(
            result / "summary.json",
            {
                "cell": spec.id,
                "parameters": parameters,
                "gflops": gflops,
                "steps": history[-1].step if history else 0,
                "train_seconds": sum(epoch.seconds for epoch in history),
                "attempt_seconds": seconds,
                "device": describe_device(device),
                "peak_memory_mb": _peak_memory(device),
                "commit": code_version(),
                "packages": package_versions(),
                "started": started,
                "finished": utc_now(),
            },
        )

    def _write(self) -> None:
        self._written = time.monotonic()
        self._folder.write_progress(self._values)


def _json_safe(epoch: Epoch) -> dict[str, object]:
    """NaN is no JSON."""
    return {key: None if value != value else value for key, value in asdict(epoch).items()}


def _peak_memory(device: torch.device) -> float:
    """Returns MB: of the GPU on CUDA, else the resident memory of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
