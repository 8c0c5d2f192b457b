"""A compiled training step computes what the plain one does."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from harness.data.batches.batches import Batch
from harness.training.checkpoint import Checkpoints
from harness.training.device import Precision
from harness.training.loop import Hooks, Trainer
from harness.training.settings import OptimiserSettings, TrainingSettings
from harness.training.validation import Validation


class Steps(torch.utils.data.Dataset):
    def __getitem__(self, step):
        drawn = torch.Generator().manual_seed(step)
        return Batch(torch.randn(2, 1, 16, 16, generator=drawn), torch.randint(0, 3, (2, 16, 16), generator=drawn))


def losses(folder, mode):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 1))
    settings = TrainingSettings(
        epochs=3,
        steps_per_epoch=3,
        precision="fp32",
        compile=mode,
        refresh_batchnorm=2,
        optimiser=OptimiserSettings(lr=0.05, momentum=0.5),
    )
    hooks = Hooks(lambda *_: Validation(0.5, dead=False), dict, lambda _: None, lambda _: None, lambda: False)
    precision = Precision.choose(torch.device("cpu"), settings, 2)
    trainer = Trainer(network, Steps(), settings, precision, Checkpoints(folder), 0, 0, hooks)
    return [epoch.loss for epoch in trainer.run()], network.state_dict()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["default", "cuda-graphs"])
def test_compiled_training_gives_the_curve_of_plain_training(tmp_path, monkeypatch, mode):
    """Inductor on this CPU; CUDA graphs need a GPU, on a CPU the mode compiles alike."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    curve, weights = losses(tmp_path / "plain", "none")
    compiled, found = losses(tmp_path / mode, mode)
    assert compiled == pytest.approx(curve, rel=1e-4)
    assert list(found) == list(weights), "the compiled network's weights bear the plain names"
    assert curve[-1] < curve[0]


@pytest.mark.parametrize(("parts", "expected"), [(1, "reduce-overhead"), (2, "default")])
def test_kernels_are_not_recorded_where_gradients_of_parts_are_summed(tmp_path, monkeypatch, parts, expected):
    """A replay would write over the gradients of the part before it."""
    modes = []
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(torch, "compile", lambda network, mode, dynamic: modes.append(mode) or network)
    settings = TrainingSettings(compile="cuda-graphs", precision="fp32")
    hooks = Hooks(lambda *_: Validation(0.5, dead=False), dict, lambda _: None, lambda _: None, lambda: False)
    precision = Precision.choose(torch.device("cpu"), settings, 2)
    Trainer(nn.Conv2d(1, 3, 1), Steps(), settings, precision, Checkpoints(tmp_path), 0, 0, hooks, parts)
    assert modes == [expected]
