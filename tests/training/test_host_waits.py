"""A training step never waits for the device: nothing is read back from it."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from harness.data.batches.batches import Batch
from harness.training.checkpoint import Checkpoints
from harness.training.device import Precision
from harness.training.loop import Hooks, Trainer
from harness.training.settings import OptimiserSettings, TrainingSettings
from harness.training.validation import Validation

#: What reads a value back, or depends on one, below and above torch's own dispatch.
_OPERATORS = {"_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "equal"}
_METHODS = {"item", "cpu", "numpy", "tolist", "__bool__", "__float__", "__int__", "__index__"}


class _Operators(TorchDispatchMode):
    def __init__(self, seen):
        super().__init__()
        self._seen = seen

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self._seen[function.overloadpacket.__name__] += 1
        return function(*args, **(kwargs or {}))


def _is_bookkeeping(args) -> bool:
    """MONAI's Dice writes down its axes, ``arange(2, ndim).tolist()``: never on the device."""
    return (
        len(args) == 1
        and isinstance(args[0], torch.Tensor)
        and not args[0].is_floating_point()
        and args[0].shape in {(2,), (3,)}
    )


class _Methods(TorchFunctionMode):
    def __init__(self, seen):
        super().__init__()
        self._seen = seen

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if not _is_bookkeeping(args):
            self._seen[getattr(function, "__name__", "")] += 1
        return function(*args, **(kwargs or {}))


class Steps(torch.utils.data.Dataset):
    def __getitem__(self, step):
        return Batch(torch.ones(2, 1, 8, 8), torch.ones(2, 8, 8, dtype=torch.long))


class Reading(nn.Conv2d):
    def forward(self, images):
        images = super().forward(images)
        return images * float(images.mean())


class Copying(nn.Conv2d):
    def forward(self, images):
        images = super().forward(images)
        images.detach().cpu()
        return images


def waits(network, tmp_path, **changes) -> Counter:
    values = {"epochs": 1, "steps_per_epoch": 3, "refresh_batchnorm": 0, "precision": "fp32", **changes}
    settings = TrainingSettings(**values)
    hooks = Hooks(lambda *_: Validation(0.5, dead=False), dict, lambda _: None, lambda _: None, lambda: False)
    precision = Precision.choose(torch.device("cpu"), settings, 2)
    operators, methods = Counter(), Counter()

    class Watched(Trainer):
        def train_step(self, batch):
            with _Operators(operators), _Methods(methods):
                super().train_step(batch)

    Watched(network, Steps(), settings, precision, Checkpoints(tmp_path), 0, 0, hooks).run()
    assert operators["convolution"] >= 3, "the watch sees the steps"
    return Counter({name: operators[name] for name in _OPERATORS} | {name: methods[name] for name in _METHODS})


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_no_step_reads_from_the_device(tmp_path, optimiser, precision):
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Dropout2d(), nn.Conv2d(4, 3, 1))
    changes = {"optimiser": OptimiserSettings(name=optimiser), "precision": precision}
    assert +waits(network, tmp_path, **changes) == Counter()


@pytest.mark.parametrize(("culprit", "found"), [(Reading, "_local_scalar_dense"), (Copying, "cpu")])
def test_a_network_that_reads_is_found(tmp_path, culprit, found):
    assert waits(culprit(1, 3, 1), tmp_path)[found] == 3
