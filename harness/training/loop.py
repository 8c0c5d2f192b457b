"""The training loop: steps, epochs, checkpoints, and an exact continuation from any of them.

The loop makes no host synchronisation within an epoch: the loss is summed on the device and read once an epoch. Random
numbers of a step (dropout, stochastic depth) are seeded by the step's number, so that a run killed at any point and
continued from its last checkpoint gives the same numbers as one that was never killed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from harness.data.batches import Batch, TrainingBatches, stream
from harness.errors import TrainingError
from harness.randomness import derive
from harness.training.checkpoint import Checkpoints
from harness.training.device import Arithmetic
from harness.training.loss import SegmentationLoss
from harness.training.optimiser import learning_rate, make_optimiser
from harness.training.settings import TrainingSettings

__all__ = ["Epoch", "Hooks", "Interrupted", "Trainer"]


class Interrupted(Exception):
    """Training was asked to stop and has left a checkpoint."""


@dataclass(frozen=True)
class Epoch:
    """One line of the training history.

    Attributes:
        epoch: 1-based.
        step: Optimiser steps done.
        loss: Mean training loss of the epoch.
        val_dice: Mean Dice over the validation cases; NaN where the epoch was not validated.
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
    """What the loop asks of its surroundings.

    Attributes:
        validate: Returns the validation Dice of the network.
        fresh_weights: Returns newly initialised weights (the paper's restart).
        on_step: Called after each step with the number of steps done.
        on_epoch: Called after each epoch with the history so far.
        should_stop: Asked after each step.
    """

    validate: Callable[[nn.Module], float]
    fresh_weights: Callable[[], dict[str, Tensor]]
    on_step: Callable[[int], None]
    on_epoch: Callable[[list[Epoch]], None]
    should_stop: Callable[[], bool]


@dataclass
class _State:
    """What changes during training, beside weights."""

    step: int = 0
    history: list[Epoch] = field(default_factory=list)
    best: float = -1.0
    restarted: bool = False
    epoch_seconds: float = 0.0
    epoch_waiting: float = 0.0


class Trainer:
    """Trains one network.

    Args:
        network: On the arithmetic's device already.
        batches: Where training patches come from.
        settings: How to train.
        arithmetic: Device, precision, memory format.
        checkpoints: Where to continue from and save to.
        seed: The cell's seed.
        workers: Loader processes.
        hooks: What the loop asks of its surroundings.
    """

    def __init__(
        self,
        network: nn.Module,
        batches: TrainingBatches,
        settings: TrainingSettings,
        arithmetic: Arithmetic,
        checkpoints: Checkpoints,
        seed: int,
        workers: int,
        hooks: Hooks,
    ) -> None:
        self._network = network.to(memory_format=arithmetic.memory_format)
        self._forward = torch.compile(network) if settings.compile else network
        self._batches = batches
        self._settings = settings
        self._arithmetic = arithmetic
        self._checkpoints = checkpoints
        self._seed = seed
        self._workers = workers
        self._hooks = hooks
        self._loss = SegmentationLoss(settings.loss, getattr(network, "deep_supervision_weights", ()))
        self._optimiser = make_optimiser(network.parameters(), settings.optimiser)
        self._scaler = torch.amp.GradScaler(arithmetic.device.type, enabled=arithmetic.needs_scaler)
        self._state = _State()
        self._loss_sum = torch.zeros((), device=arithmetic.device)

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole training."""
        return self._settings.epochs * self._settings.steps_per_epoch

    def run(self) -> list[Epoch]:
        """Trains to the end, from the last checkpoint if there is one; leaves the weights to be tested in the network.

        Returns:
            The history, one entry an epoch.

        Raises:
            Interrupted: ``should_stop`` said so; a checkpoint was written.
            TrainingError: The loss is not finite.
        """
        self._resume()
        self._network.train()
        started = time.monotonic()
        batches = stream(self._batches, self._state.step, self.total_steps, self._workers, self._on_cuda)
        for batch in self._timed(batches):
            self._step(batch)
            self._state.step += 1
            self._hooks.on_step(self._state.step)
            if self._state.step % self._settings.steps_per_epoch == 0:
                self._end_epoch(self._state.epoch_seconds + time.monotonic() - started)
                started = time.monotonic()
            elif self._hooks.should_stop():
                self._state.epoch_seconds += time.monotonic() - started
                self._save()
                raise Interrupted
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

    @property
    def _on_cuda(self) -> bool:
        return self._arithmetic.device.type == "cuda"

    def _move(self, batch: Batch) -> Batch:
        device = self._arithmetic.device
        return Batch(
            batch.images.to(device, memory_format=self._arithmetic.memory_format, non_blocking=True),
            batch.labels.to(device, non_blocking=True),
        )

    def _step(self, batch: Batch) -> None:
        batch = self._move(batch)
        torch.manual_seed(derive(self._seed, "step", self._state.step))
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate(self._state.step, self._settings)
        self._optimiser.zero_grad(set_to_none=True)
        with self._arithmetic.autocast():
            output = self._forward(batch.images)
        loss = self._loss(output, batch.labels)
        self._scaler.scale(loss).backward()
        if self._settings.optimiser.clip_norm is not None:
            self._scaler.unscale_(self._optimiser)
            nn.utils.clip_grad_norm_(self._network.parameters(), self._settings.optimiser.clip_norm)
        self._scaler.step(self._optimiser)
        self._scaler.update()
        self._loss_sum += loss.detach()

    def _end_epoch(self, seconds: float) -> None:
        number = self._state.step // self._settings.steps_per_epoch
        loss = float(self._loss_sum) / self._settings.steps_per_epoch  # the epoch's one host synchronisation
        self._loss_sum.zero_()
        if not math.isfinite(loss):
            raise TrainingError(
                f"The training loss of epoch {number} is {loss}.",
                hint="Lower `training.optimiser.lr` or set `training.precision: fp32` in the protocol.",
            )
        lr = learning_rate(self._state.step - 1, self._settings)
        waiting = self._state.epoch_waiting / seconds if seconds > 0 else 0.0
        epoch = Epoch(number, self._state.step, loss, self._validate(number), lr, seconds, waiting)
        self._state.history.append(epoch)
        self._state.epoch_seconds = self._state.epoch_waiting = 0.0
        if self._dead(epoch):
            self._restart()
        if number % self._settings.checkpoint.every_epochs == 0 or self._state.step == self.total_steps:
            self._save()
        self._hooks.on_epoch(self._state.history)
        if self._hooks.should_stop() and self._state.step < self.total_steps:
            self._save()
            raise Interrupted

    def _validate(self, number: int) -> float:
        last = number == self._settings.epochs
        if not last and number % self._settings.validate_every and number != self._settings.restart_if_dead_at:
            return math.nan
        with self._arithmetic.autocast():
            score = self._hooks.validate(self._network)
        self._network.train()
        if score > self._state.best:
            self._state.best = score
            if self._settings.checkpoint.select == "best":
                self._checkpoints.save_best(self._network.state_dict())
        return score

    def _dead(self, epoch: Epoch) -> bool:
        return epoch.epoch == self._settings.restart_if_dead_at and epoch.val_dice == 0 and not self._state.restarted

    def _restart(self) -> None:
        """Starts again with momentum 0.95, as the paper does where nothing was learnt."""
        self._network.load_state_dict(self._hooks.fresh_weights())
        optimiser = self._settings.optimiser.model_copy(update={"momentum": 0.95})
        self._optimiser = make_optimiser(self._network.parameters(), optimiser)
        self._state.restarted = True

    def _save(self) -> None:
        self._checkpoints.save(
            {
                "network": self._network.state_dict(),
                "optimiser": self._optimiser.state_dict(),
                "scaler": self._scaler.state_dict(),
                "loss_sum": self._loss_sum,
                "state": asdict(self._state),
            }
        )

    def _resume(self) -> None:
        found: dict[str, Any] | None = self._checkpoints.load()
        if found is None:
            return
        state = found["state"]
        self._state = _State(**{**state, "history": [Epoch(**epoch) for epoch in state["history"]]})
        self._network.load_state_dict(found["network"])
        self._optimiser.load_state_dict(found["optimiser"])  # carries the momentum of a restart
        self._scaler.load_state_dict(found["scaler"])
        self._loss_sum = found["loss_sum"].to(self._arithmetic.device)
        self._hooks.on_step(self._state.step)
        self._hooks.on_epoch(self._state.history)

    def _choose_weights(self) -> None:
        if self._settings.checkpoint.select == "best" and (best := self._checkpoints.load_best()) is not None:
            self._network.load_state_dict(best)

    def _refresh_batchnorm(self) -> None:
        """Estimates BatchNorm statistics with the final weights, on batches that training did not use."""
        count = self._settings.refresh_batchnorm
        if not count:
            return
        torch.manual_seed(derive(self._seed, "refresh_batchnorm"))
        batches = stream(self._batches, self.total_steps, self.total_steps + count, self._workers, self._on_cuda)
        with torch.no_grad(), self._arithmetic.autocast():
            update_bn((self._move(batch).images for batch in batches), self._network)
