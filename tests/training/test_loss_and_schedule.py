"""Loss against its formula, schedule against the paper's."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from harness.errors import TrainingError
from harness.training.loss import SegmentationLoss
from harness.training.optimiser import learning_rate, make_optimiser
from harness.training.settings import LossSettings, OptimiserSettings, ScheduleSettings, TrainingSettings


def soft_dice(logits, labels, batch, background):
    """1 - mean over classes of (2 TP + e) / (2 TP + FP + FN + e), written out."""
    p = logits.softmax(1)
    t = F.one_hot(labels, logits.shape[1]).movedim(-1, 1).float()
    axes = (0, 2, 3) if batch else (2, 3)
    tp = (p * t).sum(axes)
    dice = (2 * tp + 1e-5) / (p.sum(axes) + t.sum(axes) + 1e-5)
    first = 0 if background else 1
    return 1 - dice[..., first:].mean()


@pytest.mark.parametrize("batch", [True, False])
@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("weights", [(1, 1), (1, 0), (0, 1), (0.4, 0.6)])
def test_the_loss_is_its_formula(batch, background, weights):
    torch.manual_seed(0)
    logits, labels = torch.randn(3, 4, 8, 8), torch.randint(0, 4, (3, 8, 8))
    settings = LossSettings(cross_entropy=weights[0], dice=weights[1], batch_dice=batch, dice_background=background)
    expected = weights[0] * F.cross_entropy(logits, labels) + weights[1] * soft_dice(logits, labels, batch, background)
    assert SegmentationLoss(settings)(logits, labels) == pytest.approx(expected.item(), abs=1e-5)


def test_deep_supervision_weighs_every_output_at_its_own_resolution():
    torch.manual_seed(0)
    labels = torch.randint(0, 3, (2, 8, 8))
    outputs = [torch.randn(2, 3, size, size) for size in (8, 4, 2)]
    one = SegmentationLoss(LossSettings())
    small = F.interpolate(labels[:, None].float(), size=4, mode="nearest-exact")[:, 0].long()
    expected = 0.6 * one(outputs[0], labels) + 0.4 * one(outputs[1], small)
    loss = SegmentationLoss(LossSettings(), (0.6, 0.4, 0.0))(outputs, labels)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)


def test_outputs_without_declared_weights_are_refused():
    with pytest.raises(TrainingError, match="2 outputs but declares 0 weights"):
        SegmentationLoss(LossSettings())([torch.zeros(1, 2, 4, 4)] * 2, torch.zeros(1, 4, 4, dtype=torch.long))


def test_half_precision_logits_do_not_overflow():
    logits = torch.full((4, 3, 256, 256), 30.0, dtype=torch.float16)
    assert math.isfinite(SegmentationLoss(LossSettings())(logits, torch.zeros(4, 256, 256, dtype=torch.long)).item())


class Reductions(TorchDispatchMode):
    """Notes by which reduction the negative log-likelihood is taken; 0 is none."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten.nll_loss2d_forward.default:
            self.seen.append(args[3])
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(("device", "reduction"), [("cpu", 1), ("cuda", 0)])
@pytest.mark.parametrize("spatial", [(8, 8), (4, 8, 8)])
def test_on_a_gpu_the_loss_uses_no_sum_that_strict_determinism_refuses(device, reduction, spatial):
    """Torch refuses ``nll_loss2d`` with a mean on CUDA, in any number of dimensions; tensors here are fake."""
    with FakeTensorMode(), Reductions() as reductions:
        logits = torch.empty(2, 3, *spatial, device=device)
        labels = torch.zeros(2, *spatial, dtype=torch.long, device=device)
        loss = SegmentationLoss(LossSettings(dice=0))(logits, labels)
    assert loss.shape == ()
    assert loss.device.type == device
    assert reductions.seen == [reduction]


def schedule(**changes):
    return TrainingSettings(
        epochs=10, steps_per_epoch=5, optimiser=OptimiserSettings(lr=0.1), schedule=ScheduleSettings(**changes)
    )


def test_poly_changes_each_epoch_as_in_nnunet():
    settings = schedule()
    for step in range(50):
        assert learning_rate(step, settings) == pytest.approx(0.1 * (1 - (step // 5) / 10) ** 0.9)


def test_poly_by_step_reaches_almost_zero():
    settings = schedule(per="step")
    rates = [learning_rate(step, settings) for step in range(50)]
    assert rates[0] == pytest.approx(0.1)
    assert all(a > b for a, b in pairwise(rates))
    assert 0 < rates[-1] < 0.1 * 0.04


def test_warm_up_is_linear_and_cosine_ends_near_zero():
    settings = schedule(name="cosine", per="step", warmup_epochs=2)
    rates = [learning_rate(step, settings) for step in range(50)]
    assert rates[:10] == pytest.approx([0.01 * (step + 1) for step in range(10)])
    assert rates[-1] < 0.001
    assert learning_rate(30, schedule(name="constant")) == 0.1


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_every_optimiser_lowers_a_simple_loss(name):
    weight = torch.nn.Parameter(torch.tensor([3.0]))
    optimiser = make_optimiser([weight], OptimiserSettings(name=name, lr=0.05, momentum=0.5))
    for _ in range(50):
        optimiser.zero_grad()
        (weight**2).sum().backward()
        optimiser.step()
    assert abs(weight.item()) < 2


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_a_step_that_the_loss_scaler_skips_leaves_no_trace(name, strict):
    """The first steps in float16 overflow by design until the scale is low enough."""
    weights = []
    torch.use_deterministic_algorithms(strict)
    try:
        for skipped in (0, 1):
            weight = torch.nn.Parameter(torch.ones(4))
            optimiser = make_optimiser([weight], OptimiserSettings(name=name, lr=0.1))
            scaler = torch.amp.GradScaler("cpu", init_scale=1.0)
            for factor in [math.inf] * skipped + [1.0, 0.5]:
                optimiser.zero_grad()
                scaler.scale((weight * factor).sum()).backward()
                scaler.unscale_(optimiser)
                scaler.step(optimiser)
                scaler.update()
            weights.append(weight.detach())
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(*weights)


def test_the_first_step_of_sgd_is_torchs_own():
    ours, theirs = (torch.nn.Parameter(torch.linspace(-1, 1, 7)) for _ in range(2))
    settings = OptimiserSettings(lr=0.1, momentum=0.99, weight_decay=0.01)
    plain = torch.optim.SGD([theirs], lr=0.1, momentum=0.99, nesterov=True, weight_decay=0.01, fused=True)
    for weight, optimiser in ((ours, make_optimiser([ours], settings)), (theirs, plain)):
        for _ in range(3):
            optimiser.zero_grad()
            (weight**3).sum().backward()
            optimiser.step()
    assert torch.equal(ours, theirs)
