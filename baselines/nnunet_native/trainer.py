"""nnU-Net's trainer, with the protocol's epochs, the cell's seed, and a word after each epoch.

Imports nnunetv2, and so is to be imported within :func:`baselines.nnunet_native.environment.nnunet_environment`.
"""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from harness.errors import TrainingError
from harness.randomness import derive
from harness.segmenters.external import ExternalEpoch

if TYPE_CHECKING:
    from torch import nn

    from harness.segmenters.external import ExternalProblem

VALIDATION_SHARE = 5
"""nnU-Net trains on 250 batches an epoch and validates on 50."""


class ProtocolTrainer(nnUNetTrainer):  # type: ignore[misc]
    """nnU-Net's default trainer; loss, optimiser, schedule and augmentation are the parent's.

    Source: ``nnunetv2/training/nnUNetTrainer/nnUNetTrainer.py``.
    """

    _problem: ExternalProblem

    def prepare(self, problem: ExternalProblem) -> None:
        """Applies the protocol and builds the network; continues from the last checkpoint if there is one.

        Args:
            problem: Epochs, steps, seed, device and whom to tell.
        """
        self._problem = problem
        self.device = problem.device  # the parent insists on the first GPU
        self.num_epochs = problem.epochs
        self.num_iterations_per_epoch = problem.steps_per_epoch
        self.num_val_iterations_per_epoch = max(1, round(problem.steps_per_epoch / VALIDATION_SHARE))
        self.save_every = 1
        self.logger.plot_progress_png = _draw_nothing
        _seed(derive(problem.seed, "network"))
        self.initialize()
        for checkpoint in (self._checkpoint("final"), self._checkpoint("latest")):
            if checkpoint.exists():
                self.load_checkpoint(str(checkpoint))
                problem.on_epoch(self.history)
                break

    def train(self) -> None:
        """Trains to the end, if it has not been reached before.

        Raises:
            TrainingError: The loss is not finite.
            Exception: What ``should_stop`` returned; a checkpoint was written.
        """
        if self._checkpoint("final").exists():
            return
        try:
            self.run_training()
        finally:
            for loader in (self.dataloader_train, self.dataloader_val):
                if hasattr(loader, "_finish"):
                    loader._finish()

    @property
    def planned_network(self) -> nn.Module:
        """The network, in evaluation mode and with one output."""
        self.set_deep_supervision_enabled(False)
        network: nn.Module = self.network
        return network.eval()

    @property
    def history(self) -> list[ExternalEpoch]:
        """One entry for each epoch that was completed, those before an interruption included."""
        logger: Any = self.logger
        logged: dict[str, list[Any]] = getattr(logger, "local_logger", logger).my_fantastic_logging
        names = ("train_losses", "mean_fg_dice", "lrs", "epoch_start_timestamps", "epoch_end_timestamps")
        columns = zip(*(logged[name][: self.current_epoch] for name in names), strict=True)
        return [
            ExternalEpoch(float(loss), float(dice) if self._problem.val else math.nan, float(lr), float(end - start))
            for loss, dice, lr, start, end in columns
        ]

    def on_epoch_start(self) -> None:
        """Seeds the epoch, so that a continued training draws what an uninterrupted one would."""
        _seed(derive(self._problem.seed, "epoch", self.current_epoch))
        super().on_epoch_start()

    def on_train_epoch_end(self, train_outputs: list[dict[str, Any]]) -> None:
        """Logs the loss and refuses one that is not finite."""
        super().on_train_epoch_end(train_outputs)
        loss = float(np.mean([output["loss"] for output in train_outputs]))
        if not math.isfinite(loss):
            raise TrainingError(
                f"nnU-Net's training loss of epoch {self.current_epoch + 1} is {loss}.",
                hint="Look at the images' intensities, or try another seed.",
            )

    def on_epoch_end(self) -> None:
        """Saves, reports the history, and stops on request."""
        super().on_epoch_end()
        self._problem.on_epoch(self.history)
        if self.current_epoch < self.num_epochs and (reason := self._problem.should_stop()) is not None:
            raise reason

    def save_checkpoint(self, filename: str) -> None:
        """Writes a checkpoint at once, so that none is ever half written."""
        unfinished = f"{filename}.part"
        super().save_checkpoint(unfinished)
        Path(unfinished).replace(filename)

    def _save_debug_information(self) -> None:
        """Writes nothing: the harness records machine and versions itself."""

    def _checkpoint(self, name: str) -> Path:
        return Path(self.output_folder) / f"checkpoint_{name}.pth"


def _draw_nothing(output_folder: str) -> None:
    """Stands in for nnU-Net's plot, which takes seconds an epoch; the report draws the curves."""
    del output_folder


def _seed(number: int) -> None:
    random.seed(number)
    np.random.seed(number % 2**32)
    torch.manual_seed(number)
