"""One training step: forward pass, loss, backward pass, clipping and optimiser, the same for training and benchmark."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from harness.data.batches.batches import Batch
from harness.errors import RecordingError
from harness.recording.host_contact import host_contact
from harness.recording.recorder import Recorder
from harness.recording.work import RecordedWork
from harness.training.compilation import prepare_compilation
from harness.training.determinism import find_nondeterministic_op
from harness.training.device import Precision
from harness.training.loss import SegmentationLoss
from harness.training.optimiser import Rate, load_optimiser, make_optimiser, renew_convolution
from harness.training.ranks import Ranks
from harness.training.settings import CompileMode, TrainingSettings

#: Momentum after a restart (the released code).
_RESTART_MOMENTUM = 0.95


class TrainingStep:
    """Updates the weights of one network, once per call.

    What a call does on the device depends on nothing but tensors that stay where they are: the batch, the learning
    rate, weights and the optimiser's state. Random numbers are seeded before.

    Args:
        network: Network, already on the device, in training mode whenever a step is taken.
        settings: Training settings of the protocol.
        precision: Device, precision, memory format.
        accumulate: Parts a batch is cut into where the whole does not fit in memory. Their gradients are summed, so the
            effective batch stays; BatchNorm and batch Dice see a part at a time.
        ranks: The processes that train this network together; default: this one alone.
        recorder: Records the step; default: it is done as written each time.

    Attributes:
        network: The network in the memory format, with whatever its layers need to see the whole batch.
        loss_sum: Sum of the losses of the steps so far, on the device; who reads it sets it to 0, in place.
    """

    def __init__(
        self,
        network: nn.Module,
        settings: TrainingSettings,
        precision: Precision,
        accumulate: int = 1,
        ranks: Ranks | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self._ranks = ranks or Ranks()
        self.network = self._ranks.prepare(precision.to_memory_format(network))
        self._forward = _compiled(self._ranks.wrap(self.network), settings.compile, accumulate)
        self._settings = settings
        self._precision = precision
        self._accumulate = accumulate
        self._loss = SegmentationLoss(settings.loss, getattr(network, "deep_supervision_weights", ()))
        self._optimiser = make_optimiser(self.network.parameters(), settings.optimiser)
        self._rate = Rate(precision.device, recorder is not None)
        self._scaler = torch.amp.GradScaler(precision.device.type, enabled=precision.needs_scaler)
        self.loss_sum = torch.zeros((), device=precision.device)
        self._recorded = RecordedWork(self._update, recorder, self._forget_gradients) if recorder is not None else None
        self._unchecked = recorder is not None

    def __call__(self, batch: Batch, rate: float, seed: int) -> None:
        """Updates the weights once with the gradients of a batch.

        Args:
            batch: Batch on the device, images in the memory format.
            rate: Learning rate.
            seed: Seed of the step's random numbers (dropout, stochastic depth).

        Raises:
            RecordingError: The step cannot be recorded.
        """
        if self._unchecked:
            self._check_recordable(batch)
            self._unchecked = False
        torch.manual_seed(seed)
        self._rate.set(self._optimiser, rate)
        if self._recorded is None:
            self._update(*batch)
        else:
            self._recorded(*batch)

    def _update(self, images: Tensor, labels: Tensor) -> None:
        """Does the work on the device, which is what a recording holds."""
        self._forget_gradients()
        for part in self.parts(Batch(images, labels)):
            loss = self._loss_of(*part) * (len(part.images) / len(images))
            self._scaler.scale(loss * self._ranks.size).backward()  # type: ignore[no-untyped-call]
            self.loss_sum += loss.detach()
        if self._settings.optimiser.clip_norm is not None:
            self._scaler.unscale_(self._optimiser)
            nn.utils.clip_grad_norm_(self.network.parameters(), self._settings.optimiser.clip_norm)
        self._scaler.step(self._optimiser)
        self._scaler.update()

    def _loss_of(self, images: Tensor, labels: Tensor) -> Tensor:
        if self._settings.compile == "cuda-graphs":
            # What the last replay returned may be overwritten now.
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        with self._precision.autocast():
            output = self._forward(images)
        loss: Tensor = self._loss(*self._ranks.gather(output, labels))
        return loss

    def _forget_gradients(self) -> None:
        self._optimiser.zero_grad(set_to_none=True)

    def _check_recordable(self, batch: Batch) -> None:
        """Refuses a network that a recording would break on or freeze, by a forward pass that changes nothing.

        Raises:
            RecordingError: The host takes part in what the network or the loss computes.
        """
        buffers = [(buffer, buffer.clone()) for buffer in self.network.buffers()]
        images, labels = next(self.parts(batch))  # the whole may not fit in memory
        with torch.no_grad():
            with host_contact(self.network, self._precision.device) as found, self._precision.autocast():
                self._loss(self.network(images), labels)
            for buffer, before in buffers:
                buffer.copy_(before)
        if found:
            raise RecordingError.because("; ".join(found))

    def parts(self, batch: Batch) -> Iterator[Batch]:
        """Yields a batch whole, or in the parts that fit in memory."""
        return map(Batch, batch.images.chunk(self._accumulate), batch.labels.chunk(self._accumulate))

    def find_nondeterministic_op(self, batch: Batch) -> str:
        """Returns the module, in words, whose backward pass is refused for want of determinism; gradients are lost."""

        def loss_of() -> Tensor:
            with self._precision.autocast():
                output = self.network(batch.images)
            loss: Tensor = self._loss(output, batch.labels)
            return loss

        return find_nondeterministic_op(self.network, loss_of)

    def restart(self, fresh_weights: Callable[[], Mapping[str, Tensor]]) -> None:
        """Starts again with momentum 0.95, as the released code does where nothing was learnt.

        Args:
            fresh_weights: Returns newly initialised weights; asked where every weight is renewed, and the optimiser
                with them. Else only the kernels of convolutions are drawn anew, by torch's global generator.
        """
        if self._recorded is not None:
            self._recorded.invalidate()  # the momentum is a number that a recording has frozen
        if self._settings.restart == "convolutions":
            self.network.apply(renew_convolution)
            self._optimiser.param_groups[0]["momentum"] = _RESTART_MOMENTUM
            return
        self.network.load_state_dict(fresh_weights())
        optimiser = self._settings.optimiser.model_copy(update={"momentum": _RESTART_MOMENTUM})
        self._optimiser = make_optimiser(self.network.parameters(), optimiser)

    def release(self) -> None:
        """Frees gradients and the memory of a recording; the next step begins anew."""
        self._forget_gradients()
        if self._recorded is not None:
            self._recorded.invalidate()

    def state_dict(self) -> dict[str, Any]:
        """Returns what a checkpoint holds of the step: weights, optimiser, scaler, sum of losses."""
        return {
            "network": self.network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "scaler": self._scaler.state_dict(),
            "loss_sum": self.loss_sum,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from a checkpoint, perhaps of a card of another precision; other keys than its own are ignored."""
        self.network.load_state_dict(state["network"])
        load_optimiser(self._optimiser, state["optimiser"])
        if state["scaler"]:  # empty where the training began on a GPU that needed none
            self._scaler.load_state_dict(state["scaler"])
        self.loss_sum.copy_(state["loss_sum"])
        if self._recorded is not None:
            self._recorded.invalidate()  # the optimiser's state lies elsewhere now


def _compiled(network: nn.Module, mode: CompileMode, parts: int) -> Callable[[Tensor], Tensor | list[Tensor]]:
    """Returns the training step's forward pass; patches of a cell have one size, so that shapes are static.

    Kernels are not recorded where a batch is cut into parts: gradients of one part live in the recording's memory, and
    the next part's replay writes over them before they are summed (PyTorch issue 169545).
    """
    if mode == "none":
        return network
    prepare_compilation()
    inductor = "reduce-overhead" if mode == "cuda-graphs" and parts == 1 else "default"
    compiled: Callable[[Tensor], Tensor | list[Tensor]] = torch.compile(network, mode=inductor, dynamic=False)
    return compiled
