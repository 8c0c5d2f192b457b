"""What the JSON files of cells hold. Files of earlier versions are read: a key they lack has a default.

:class:`harness.results.json_record.Record` says what becomes of damaged files and of keys that are not known.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, field_validator

from harness.results.json_record import Record
from harness.text import printable


def _moment(text: str) -> str:
    if text:
        datetime.fromisoformat(text)
    return text


#: A time, UTC, ISO 8601; empty where it is not known.
Moment = Annotated[str, AfterValidator(_moment)]


class CellRecord(Record):
    """What a cell is: ``cell.json``, as :meth:`harness.study.cell.CellSpec.to_json` writes it.

    Reports and listings read this record, also of cells that this version could not train. Keys without a field here
    are kept: :meth:`harness.study.cell.CellSpec.from_json` reads them.

    Attributes:
        dataset: Registered name, or what a folder of the user's own is called.
        data: Hash of the dataset's files.
        model: Registered name of the segmenter.
        options: Resolved options of the segmenter.
        leading: Modality name, ``none`` (no discrimination) or ``-`` (the model has no leading modality).
        fold: Fold index.
        split: Hash of the fold's split.
        seed: Training seed.
        protocol: How the cell is trained.
        started_from: As in :class:`Summary`, attribute ``start``.
        root: Folder of the dataset's files.
        layout: Layout of a folder of the user's own.
        numerics: Version of the numbers the harness produces.
        split_by: Column of the patients that the folds go by, and how; None for other folds.
        train_share: Share of the fold's training patients that trains.
        train_patients: How many these are; 0 where an earlier version planned the cell.
        paper_only: Whether the network is written from its paper alone, with no code to compare with.
    """

    model_config = ConfigDict(extra="allow")

    remedy = "Run the study again (`harness run`): it writes the file anew, and a result that is there is kept."

    dataset: str
    data: str
    model: str
    options: Mapping[str, Any]
    leading: str
    fold: int
    split: str
    seed: int
    protocol: Mapping[str, Any]
    started_from: str = "scratch"
    root: str = ""
    layout: str = ""
    numerics: int = 0
    split_by: Mapping[str, str] | None = None
    train_share: float = 1.0
    train_patients: int = 0
    paper_only: bool = False

    @field_validator("protocol")
    @classmethod
    def _has_what_listings_show(cls, protocol: Mapping[str, Any]) -> Mapping[str, Any]:
        if not protocol.get("name"):
            raise ValueError("it lacks its name")
        return protocol


class MetricRequest(Record):
    """What studies want a cell to be scored by, beside Dice, HD95 and its dataset's metrics: ``metrics.json``.

    It is read when the cell is tested, and changes none of its other numbers.

    Attributes:
        metrics: Names of the metrics.
    """

    remedy = "`harness retry STUDY --damaged` writes the file anew."

    metrics: tuple[str, ...]


class FailedAttempt(Record):
    """An attempt that failed: an entry of ``attempts.json``.

    Attributes:
        kind: What sort of failure; :mod:`harness.execution.workers.failures` lists them.
        reason: What happened, in a sentence.
        time: When, UTC, ISO 8601; empty where it is not known.
        accumulate: Parts each training batch was cut into.
    """

    kind: str = "error"
    reason: str
    time: Moment = ""
    accumulate: int = 1

    @field_validator("*", mode="before")
    @classmethod
    def _printable(cls, value: Any) -> Any:
        """Messages and logs are anybody's: release 0.2.0 stored them as they were."""
        return printable(value) if isinstance(value, str) else value


class Failure(FailedAttempt):
    """Why the last attempt failed: ``failure.json``.

    Attributes:
        hint: What to do.
        traceback: Of the exception, if there was one.
        log: The end of the attempt's log.
        attempt: 1-based number of the attempt.
    """

    remedy = "Run `harness retry STUDY --damaged`, or the study again: only the reason of the failure is lost."

    hint: str = ""
    traceback: str = ""
    log: str = ""
    attempt: int = 1


class HistoryRow(Record):
    """An epoch of training, as far as it is known: NaN is no JSON, and None stands for it.

    Attributes:
        epoch: 1-based.
        step: Optimiser steps done.
        loss: Mean training loss.
        val_dice: Mean Dice over regions on the validation cases; None where the epoch was not validated.
        lr: Learning rate of the last step.
        seconds: Wall time.
        waiting: Share of that time in which training waited for its next batch.
    """

    epoch: int
    step: int | None = None
    loss: float | None = None
    val_dice: float | None = None
    lr: float | None = None
    seconds: float | None = None
    waiting: float | None = None


class Progress(Record):
    """How far an attempt is: ``progress.json``.

    Attributes:
        phase: What the worker does, e.g. ``training``; empty before its first word.
        started: Begin of the attempt, UTC, ISO 8601; empty where it is not known.
        cell: Identity of the cell.
        pid: Process of the worker.
        host: Its machine.
        step: Training steps done.
        total: Training steps in all; None before training.
        epochs: Epochs in all.
        seconds_per_step: Wall time of a training step, in the mean of this attempt.
        history: The epochs so far.
        present: Modalities of the subset under test, where modalities are left out.
        cases: Test cases done, of all subsets.
        of: Test cases of all subsets.
    """

    remedy = "Run `harness retry STUDY --damaged`, or the study again: it goes on from the last checkpoint."

    phase: str = ""
    started: Moment = ""
    cell: str = ""
    pid: int | None = None
    host: str = ""
    step: int = 0
    total: int | None = None
    epochs: int = 0
    seconds_per_step: float | None = None
    history: tuple[HistoryRow, ...] = ()
    present: str = ""
    cases: int = 0
    of: int = 0


class Summary(Record):
    """The facts of a finished cell: ``result/summary.json``. What an earlier version did not record is None.

    Attributes:
        device: As :func:`harness.training.device.describe_device` names it.
        train_seconds: Wall time of training, over all attempts.
        commit: Of the code, or its release.
        packages: Versions by name.
        started: Begin of the last attempt, UTC, ISO 8601.
        finished: Its end.
        cell: Identity of the cell.
        start: What training started from: ``scratch``, ``pretrained:HASH`` or ``imported:HASH``.
        parameters: Trainable parameters.
        gflops: GFLOPs of one forward pass, batch 1.
        steps: Training steps done.
        attempt_seconds: Wall time of the last attempt, tests included.
        first_step_seconds: Of it, until its first training step was done.
        ranks: Processes that trained the cell together.
        accumulate: Parts each training batch was cut into.
        attempts: How often the cell was tried.
        failures: How the attempts before ended.
        determinism: Level of determinism.
        precision: Of the arithmetic of training.
        compile: How the training step was compiled.
        step: How training steps were done: ``eager``, as written, or ``recorded`` as a CUDA graph.
        augmentation: Where training batches were augmented: ``cpu``, patch by patch, or ``gpu``, whole.
        not_on_gpu: Why not on the GPU although the protocol allows it; empty where nothing stood in the way.
        peak_memory_mb: Most memory in MB: of tensors on the GPU where there is one, else of the process.
        reserved_memory_mb: Most memory of the GPU in MB that PyTorch's allocator held; None on a CPU.
        energy_wh: Energy the GPU drew; None where it is not known for the whole training.
        latency_seconds: Median time of predicting one test case; stored in ``testing.json``.
        training_patterns: Modalities present, joined by ``+``, to the number of training cases; empty where no case
            lacked one.
    """

    remedy = "`harness retry STUDY --damaged` computes the cell anew; a sound copy of the file serves as well."

    device: str
    train_seconds: float
    commit: str
    packages: Mapping[str, str]
    started: Moment
    finished: Moment
    cell: str = ""
    start: str = "scratch"
    parameters: int | None = None
    gflops: float | None = None
    steps: int | None = None
    attempt_seconds: float | None = None
    first_step_seconds: float | None = None
    ranks: int = 1
    accumulate: int = 1
    attempts: int = 1
    failures: tuple[FailedAttempt, ...] = ()
    determinism: str = ""
    precision: str = ""
    compile: str = "none"
    step: str = "eager"
    augmentation: str = "cpu"
    not_on_gpu: str = ""
    peak_memory_mb: float | None = None
    reserved_memory_mb: float | None = None
    energy_wh: float | None = None
    latency_seconds: float | None = None
    training_patterns: Mapping[str, int] = {}


class Timing(Record):
    """What testing a cell cost: ``result/testing.json``.

    Attributes:
        latency_seconds: Median wall time of predicting one test case.
    """

    remedy = Summary.remedy

    latency_seconds: float


class TrialSummary(Record):
    """What a trial of ``harness tune`` reached: its ``result/summary.json``.

    Attributes:
        val_dice: Mean validation Dice at the end.
        cell: Identity of the trial's cell.
        history: Epochs that were validated.
    """

    remedy = Summary.remedy

    val_dice: float
    cell: str = ""
    history: tuple[HistoryRow, ...] = ()


class RungScore(Record):
    """Dice of one region of one validation case."""

    case: str
    region: str
    dice: float
    patient: str


class RungScores(Record):
    """Validation scores of a training that paused at an epoch: ``rungs/EPOCH.json``.

    Attributes:
        scores: One per case and region.
        history: Epochs until then, each with its loss and seconds.
        cell: Identity of the cell.
        epoch: 1-based.
    """

    remedy = "Run `harness lead` again: the cell is trained to this epoch anew."

    scores: tuple[RungScore, ...]
    history: tuple[HistoryRow, ...]
    cell: str = ""
    epoch: int = 0


class Coverage(Record):
    """Test cases of a subset of the modalities, where cases lack some.

    Attributes:
        tested: Cases that have a modality of the subset.
        whole: Those that have all of them.
        of: All test cases.
    """

    tested: int
    whole: int
    of: int


class SubsetSummary(Record):
    """How a cell was tested with fewer modalities: ``subsets/HASH/subset.json``.

    Attributes:
        present: Modalities the network was given, in channel order.
        fill: What stood for the others: ``zeros``, ``mean`` or ``token``.
        dropout: How training dropped modalities: ``p`` at random (None where it did not, or where that is not known),
            ``per_patient`` the share of patients that lacked each; None where all were there.
        default_leading: The dataset's own leading modality.
        finished: UTC, ISO 8601.
        cell: Identity of the cell.
        values: One per modality: what stood for it, in normalised units.
        device: As in :class:`Summary`.
        seconds: Wall time.
        commit: As in :class:`Summary`.
        packages: As in :class:`Summary`.
        coverage: On how many test cases it stands; None where no case lacks a modality.
    """

    remedy = "Run `harness missing` again: the subset is tested anew."

    present: tuple[str, ...]
    fill: Literal["zeros", "mean", "token"]
    dropout: Mapping[str, Any] | None
    default_leading: str
    finished: Moment = ""
    cell: str = ""
    values: tuple[float, ...] = ()
    device: str = ""
    seconds: float | None = None
    commit: str = ""
    packages: Mapping[str, str] = {}
    coverage: Coverage | None = None
