"""Optimiser and learning-rate schedule, as functions of the settings."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import Parameter

from harness.training.settings import OptimiserSettings, ScheduleSettings, TrainingSettings


def make_optimiser(parameters: Iterable[Parameter], settings: OptimiserSettings) -> torch.optim.Optimizer:
    """Returns the optimiser, fused (one kernel for all parameters); on a GPU its steps can be recorded."""
    chosen = list(parameters)
    if settings.name == "sgd":
        sgd = torch.optim.SGD(
            chosen,
            lr=settings.lr,
            momentum=settings.momentum,
            nesterov=settings.nesterov and settings.momentum > 0,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        if settings.momentum > 0:
            # Left to itself, fused SGD takes uninitialised memory as momentum, and where the loss scaler skips the
            # first step, as it does by design, that memory is never written. Zeros give the same first step.
            for parameter in chosen:
                if parameter.requires_grad:
                    sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return sgd
    kind = torch.optim.Adam if settings.name == "adam" else torch.optim.AdamW
    return kind(
        chosen,
        lr=settings.lr,
        betas=settings.betas,
        weight_decay=settings.weight_decay,
        fused=True,
        capturable=any(parameter.device.type == "cuda" for parameter in chosen),
    )


def load_optimiser(optimiser: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Continues from a checkpoint, which carries the momentum of a restart, perhaps from another kind of device.

    Args:
        optimiser: As :func:`make_optimiser` returns it.
        state: Its state dict in the checkpoint.
    """
    capturable = [group.get("capturable") for group in optimiser.param_groups]
    optimiser.load_state_dict(dict(state))
    for group, here in zip(optimiser.param_groups, capturable, strict=True):
        if here is not None:
            group["capturable"] = here


class Rate:
    """The learning rate of an optimiser, and the one place where it is set.

    On a GPU, and where a step is recorded, it is a tensor there, which the recording reads; else it is a number.

    Args:
        device: Device of the parameters.
        recorded: Whether steps are recorded.
    """

    def __init__(self, device: torch.device, recorded: bool) -> None:
        on_gpu = device.type == "cuda"
        kind = torch.float32 if on_gpu else torch.float64  # kernels of a CPU read the number that a float holds
        self._tensor = torch.zeros((), device=device, dtype=kind) if on_gpu or recorded else None

    def set(self, optimiser: torch.optim.Optimizer, value: float) -> None:
        """Sets the rate of every group, whatever a checkpoint has put there."""
        if self._tensor is not None:
            self._tensor.fill_(value)
        for group in optimiser.param_groups:
            group["lr"] = value if self._tensor is None else self._tensor


def renew_convolution(module: nn.Module) -> None:
    """Draws the kernel of a convolution anew and zeroes its bias, as the released code's restart; others stay."""
    if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        nn.init.kaiming_normal_(module.weight, a=1e-2)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def learning_rate(step: int, settings: TrainingSettings) -> float:
    """Returns the learning rate of a step (0-based).

    Poly is ``lr * (1 - e / E)^power`` with e the epochs done (or the steps done, ``per: step``), as nnU-Net v1.
    """
    schedule: ScheduleSettings = settings.schedule
    per_epoch = settings.steps_per_epoch
    total = settings.epochs * per_epoch
    warmup = schedule.warmup_epochs * per_epoch
    if step < warmup:
        return settings.optimiser.lr * (step + 1) / warmup
    if schedule.per == "epoch":
        step -= step % per_epoch
    time = (step - warmup) / max(total - warmup, 1)
    if schedule.name == "poly":
        return float(settings.optimiser.lr * (1 - time) ** schedule.power)
    if schedule.name == "cosine":
        return settings.optimiser.lr * 0.5 * (1 + math.cos(math.pi * time))
    return settings.optimiser.lr
