"""The training loop: steps, epochs, checkpoints, and an exact continuation from any of them.

The loop makes no host synchronisation within an epoch: the loss is summed on the device and read once per epoch. Random
numbers of a step (dropout, stochastic depth) are seeded by the step's number, so that a run killed at any point and
continued from its last checkpoint gives the same numbers as one that was never killed.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from harness.data.batches.batches import Batch, TrainingBatches, stream
from harness.errors import NotFiniteError, TrainingError
from harness.randomness import derive
from harness.recording.recorder import Recorder
from harness.training.checkpoint import Checkpoints
from harness.training.determinism import explain_nondeterministic_ops
from harness.training.device import Precision
from harness.training.optimiser import learning_rate
from harness.training.ranks import Ranks
from harness.training.settings import TrainingSettings
from harness.training.step import TrainingStep
from harness.training.transfer import on_device
from harness.training.validation import Validation

#: Weight of the old value in the exponential average that weights may be chosen by (nnU-Net v1).
_OLD = 0.9

_NOT_VALIDATED = Validation(math.nan, dead=False)


class Interrupted(Exception):
    """Training was stopped and has saved a checkpoint."""


@dataclass(frozen=True)
class Epoch:
    """One line of the training history.

    Attributes:
        epoch: 1-based.
        step: Optimiser steps done.
        loss: Mean training loss of the epoch.
        val_dice: Validation Dice; NaN where the epoch was not validated.
        lr: Learning rate of the epoch's last step.
        seconds: Wall time of the epoch, without validation.
        waiting: Share of that time (0 to 1) in which the loop waited for its next batch; NaN where it is not known.
    """

    epoch: int
    step: int
    loss: float
    val_dice: float
    lr: float
    seconds: float
    waiting: float = math.nan


@dataclass(frozen=True)
class Hooks:
    """Callbacks of the training loop.

    Attributes:
        validate: Validates the network after an epoch (1-based).
        fresh_weights: Returns newly initialised weights (the released code's restart).
        on_step: Called after each step with the number of steps done.
        on_epoch: Called after each epoch with the history so far.
        should_stop: Asked after each step.
    """

    validate: Callable[[nn.Module, int], Validation]
    fresh_weights: Callable[[], dict[str, Tensor]]
    on_step: Callable[[int], None]
    on_epoch: Callable[[list[Epoch]], None]
    should_stop: Callable[[], bool]


@dataclass
class _State:
    """State of the training besides weights."""

    step: int = 0
    history: list[Epoch] = field(default_factory=list)
    best: float = -1.0
    average: float | None = None
    restarted: bool = False
    epoch_seconds: float = 0.0
    epoch_waiting: float = 0.0


class Trainer:
    """Trains one network.

    Args:
        network: Network, already on the device.
        batches: Training batches by step number.
        settings: Training settings of the protocol.
        precision: Device, precision, memory format.
        checkpoints: Checkpoints to continue from and to save to.
        seed: The cell's seed.
        workers: Loader processes.
        hooks: Callbacks of the loop.
        accumulate: Parts a batch is cut into where the whole does not fit in memory. Their gradients are summed, so the
            effective batch stays; BatchNorm and batch Dice see a part at a time.
        ranks: The processes that train this network together; default: this one alone.
        recorder: Records the step; default: it is done as written each time.
        augment_on_device: Augment batches on the device instead of patch by patch on the host.
    """

    def __init__(
        self,
        network: nn.Module,
        batches: TrainingBatches,
        settings: TrainingSettings,
        precision: Precision,
        checkpoints: Checkpoints,
        seed: int,
        workers: int,
        hooks: Hooks,
        accumulate: int = 1,
        ranks: Ranks | None = None,
        recorder: Recorder | None = None,
        augment_on_device: bool = False,
    ) -> None:
        self._ranks = ranks or Ranks()
        self._step = TrainingStep(network, settings, precision, accumulate, self._ranks, recorder)
        self._network = self._step.network
        self._batches = batches
        self._augment = batches.augmentation(accumulate) if augment_on_device else None
        self._settings = settings
        self._precision = precision
        self._checkpoints = checkpoints
        self._seed = seed
        self._workers = workers
        self._hooks = hooks
        self._state = _State()
        self._last_step = self.total_steps

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole training."""
        return self._settings.epochs * self._settings.steps_per_epoch

    def run(self, until: int | None = None) -> list[Epoch]:
        """Trains to the end, from the last checkpoint if there is one; leaves the weights to be tested in the network.

        Args:
            until: Epoch to stop after; default: the last one. The learning rate and all else are as in the whole
                training, and another call goes on from the checkpoint as if there had been no stop.

        Returns:
            The history, one entry per epoch.

        Raises:
            Interrupted: ``should_stop`` returned true; a checkpoint was written.
            NotFiniteError: The loss is not finite.
            RecordingError: The step cannot be recorded.
            TrainingError: An operator is refused under strict determinism.
        """
        self._resume()
        self._ranks.any(True)  # no rank trains and writes checkpoints before all ranks have read theirs
        self._network.train()
        started = time.monotonic()
        self._last_step = (until or self._settings.epochs) * self._settings.steps_per_epoch
        for batch in self._timed(self._stream(self._state.step, self._last_step)):
            with explain_nondeterministic_ops(self._network, partial(self._step.find_nondeterministic_op, batch)):
                self.train_step(batch)
            self._state.step += 1
            self._hooks.on_step(self._state.step)
            if self._state.step % self._settings.steps_per_epoch == 0:
                self._end_epoch(self._state.epoch_seconds + time.monotonic() - started)
                started = time.monotonic()
            elif self._asked_to_stop():
                self._state.epoch_seconds += time.monotonic() - started
                self._save()
                raise Interrupted
        self._step.release()
        self._choose_weights()
        self._refresh_batchnorm()
        self._network.eval()
        return self._state.history

    def _timed(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Yields the batches and adds up the time spent in waiting for them; the host's clock, no synchronisation."""
        while True:
            began = time.monotonic()
            batch = next(batches, None)
            self._state.epoch_waiting += time.monotonic() - began
            if batch is None:
                return
            yield batch

    def _stream(self, first: int, last: int) -> Iterator[Batch]:
        """Yields the batches of some steps, on the device."""
        pinned = self._precision.device.type == "cuda"
        if self._augment is None:
            return on_device(stream(self._batches, first, last, self._workers, pinned), self._precision)
        raw = stream(self._batches.unaugmented(), first, last, self._workers, pinned)
        return on_device(raw, self._precision, self._augment)

    def _asked_to_stop(self) -> bool:
        return self._ranks.any(self._hooks.should_stop())

    def train_step(self, batch: Batch) -> None:
        """Updates the weights once with the gradients of a batch."""
        self._step(batch, learning_rate(self._state.step, self._settings), self._step_seed())

    def _step_seed(self) -> int:
        """Processes that share a step draw dropout of their own; the first one draws as one process alone does."""
        own = ("rank", self._ranks.rank) if not self._ranks.is_main else ()
        return derive(self._seed, "step", self._state.step, *own)

    def _end_epoch(self, seconds: float) -> None:
        number = self._state.step // self._settings.steps_per_epoch
        loss = float(self._step.loss_sum) / self._settings.steps_per_epoch  # the epoch's one host synchronisation
        self._step.loss_sum.zero_()
        if not math.isfinite(loss):
            raise NotFiniteError(
                f"The training loss of epoch {number} is {loss}.",
                hint="Lower `training.optimiser.lr` or set `training.precision: fp32` in the protocol.",
            )
        lr = learning_rate(self._state.step - 1, self._settings)
        waiting = self._state.epoch_waiting / seconds if seconds > 0 else 0.0
        found = self._validate(number)
        epoch = Epoch(number, self._state.step, loss, found.dice, lr, seconds, waiting)
        self._state.history.append(epoch)
        self._state.epoch_seconds = self._state.epoch_waiting = 0.0
        if found.dead and number == self._settings.restart_if_dead_at and not self._state.restarted:
            self._restart()
        if number % self._settings.checkpoint.every_epochs == 0 or self._state.step == self._last_step:
            self._save()
        self._hooks.on_epoch(self._state.history)
        if self._asked_to_stop() and self._state.step < self._last_step:
            self._save()
            raise Interrupted

    def _validate(self, number: int) -> Validation:
        last = number == self._settings.epochs
        if not last and number % self._settings.validate_every and number != self._settings.restart_if_dead_at:
            return _NOT_VALIDATED
        found = _NOT_VALIDATED
        if self._ranks.is_main:
            with self._precision.autocast(), explain_nondeterministic_ops(self._network):
                found = self._hooks.validate(self._network, number)
        found = Validation(self._ranks.broadcast(found.dice), bool(self._ranks.broadcast(float(found.dead))))
        self._network.train()
        self._keep_best(found.dice)
        return found

    def _keep_best(self, score: float) -> None:
        """Keeps the weights if they are the best so far by what the protocol chooses them by."""
        select = self._settings.checkpoint.select
        if select == "best_average" and not math.isnan(score):
            before = self._state.average
            score = score if before is None else _OLD * before + (1 - _OLD) * score
            self._state.average = score
        if score > self._state.best:
            self._state.best = score
            if select != "final" and self._ranks.is_main:
                self._checkpoints.save_best(self._network.state_dict())

    def _restart(self) -> None:
        """Starts again with momentum 0.95, as the released code does where nothing was learnt."""
        self._state.restarted = True
        if self._settings.restart == "convolutions":
            torch.manual_seed(derive(self._seed, "restart"))
        self._step.restart(self._hooks.fresh_weights)

    def _save(self) -> None:
        if not self._ranks.is_main:
            return
        self._checkpoints.save({**self._step.state_dict(), "state": asdict(self._state)})

    def _resume(self) -> None:
        checkpoint: dict[str, Any] | None = self._checkpoints.load()
        if checkpoint is None:
            return
        state = checkpoint["state"]
        self._state = _State(**{**state, "history": [Epoch(**epoch) for epoch in state["history"]]})
        self._step.load_state_dict(checkpoint)
        self._hooks.on_step(self._state.step)
        self._hooks.on_epoch(self._state.history)

    def _choose_weights(self) -> None:
        if self._settings.checkpoint.select == "final" or self._state.best < 0:  # nothing was ever chosen
            return
        best = self._checkpoints.load_best()
        if best is None:
            raise TrainingError(
                "The checkpoint with the best validation score is damaged or missing.",
                hint="Remove the cell's folder `work` and run the study again; the cell is then trained anew.",
            )
        self._network.load_state_dict(best)

    def _refresh_batchnorm(self) -> None:
        """Estimates BatchNorm statistics with the final weights, on batches that training did not use."""
        count = self._settings.refresh_batchnorm
        if not count:
            return
        torch.manual_seed(derive(self._seed, "refresh_batchnorm"))
        batches = self._stream(self.total_steps, self.total_steps + count)
        with torch.no_grad(), self._precision.autocast():
            update_bn((images for batch in batches for images, _ in self._step.parts(batch)), self._network)
