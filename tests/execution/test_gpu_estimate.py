"""Estimates for GPUs that are not here, against a hand calculation and against times that others published."""

from __future__ import annotations

from dataclasses import replace

import pytest
from torch import nn

from harness.errors import HarnessError
from harness.execution.costs.gpus import GPUS, find_gpu, gpu_of_device
from harness.execution.costs.memory_and_time import FAST, SLOW, USUAL, Cases, cost, windows
from harness.execution.costs.plan import wall_seconds
from harness.segmenters import Options, Segmenter, Source, Task
from harness.segmenters.size import Operation, Work, count
from harness.study.protocol import Protocol, load_protocol

BOUND_BY_COMPUTE = Operation(flops=1e13, traffic=1e6, rate="half")
BOUND_BY_MEMORY = Operation(flops=0, traffic=1e10, rate="fp32")
WORK = Work(parameters=1_000_000, operations=(BOUND_BY_COMPUTE, BOUND_BY_MEMORY), kept=8e9)


def protocol(**changes) -> Protocol:
    return load_protocol({"base": "paper", **changes})


def test_an_estimate_by_hand():
    """One epoch of ten steps of batch 16; two validation and four test cases of eight slices, four flips."""
    short = protocol(training={"epochs": 1, "steps_per_epoch": 10})
    found = cost(WORK, short, modalities=4, cases=Cases(2, 4, (8, 128, 128)), gpu=GPUS["a100"])
    forward = 1e13 / (312e12 * 0.4) + 1e10 / (2039e9 * 0.16)
    update = 32 * 1e6 / (2039e9 * 0.7)
    assert found.step.usual == pytest.approx(3 * forward + update)
    passes = (2 * 8 + 4 * 8 * 4) / 16
    assert found.cell.usual == pytest.approx(10 * (3 * forward + update) + passes * forward)
    assert found.memory_gb == pytest.approx((12 * 1e6 + 8e9) / 1e9 * 1.15 + 0.9)
    assert found.largest_batch == int(((80 * 0.95 - 0.9) / 1.15 - 0.012) / (8 / 16))


@pytest.mark.parametrize(
    ("changes", "batches"),
    [
        ({}, 3 * 2 * 8 / 16),
        ({"training": {"validate_on": "patches", "validation_batches": 50}}, 3 * 50),
        ({"sampling": {"cases": "training_and_validation"}, "training": {"restart_if_dead_at": None}}, 0),
    ],
)
def test_validations_are_counted_as_they_are_made(changes, batches):
    """Three validations, of two cases of eight slices each, or of batches of patches, or none."""
    training = {"epochs": 6, "validate_every": 2, **changes.get("training", {})}
    found = cost(WORK, protocol(**{**changes, "training": training}), 4, Cases(2, 0, (8, 128, 128)), GPUS["a100"])
    forward = 1e13 / (312e12 * 0.4) + 1e10 / (2039e9 * 0.16)
    assert found.cell.usual - 6 * 250 * found.step.usual == pytest.approx(batches * forward)


def test_imported_weights_are_only_tested():
    cases = Cases(2, 4, (8, 128, 128))
    tested = cost(WORK, protocol(), 4, cases, GPUS["a100"], trained=False)
    assert tested.cell.usual == pytest.approx(4 * 8 * 4 / 16 * (1e13 / (312e12 * 0.4) + 1e10 / (2039e9 * 0.16)))


def test_bounds_enclose_the_estimate():
    found = cost(WORK, protocol(), 4, Cases(2, 4, (8, 128, 128)), GPUS["rtx3090"])
    assert found.step.low < found.step.usual < found.step.high
    assert found.cell.low < found.cell.usual < found.cell.high
    assert FAST.compute > USUAL.compute > SLOW.compute


@pytest.mark.parametrize(
    ("slower", "faster"),
    [("v100", "a100"), ("rtx3090", "rtx4090"), ("a100-40", "a100"), ("a100", "h100"), ("h100", "h200")],
)
def test_a_faster_card_takes_no_longer(slower, faster):
    cases = Cases(2, 4, (8, 128, 128))
    hours = [cost(WORK, protocol(), 4, cases, GPUS[name]).cell for name in (slower, faster)]
    assert hours[0].usual > hours[1].usual
    assert hours[0].low >= hours[1].low
    assert hours[0].high >= hours[1].high


def test_many_small_operations_wait_for_the_host():
    tiny = replace(WORK, parameters=10, operations=(Operation(1e3, 1e3, "half"),) * 5000)
    steps = [cost(tiny, protocol(), 1, Cases(1, 1, (1, 128, 128)), GPUS[name]).step.usual for name in ("v100", "h200")]
    assert steps == [pytest.approx(3 * 5000 * 8e-6, rel=1e-3)] * 2


def test_a_network_without_work_waits_for_its_data():
    nothing = replace(WORK, parameters=10, operations=())
    step = cost(nothing, protocol(), 4, Cases(1, 1, (1, 128, 128)), GPUS["h100"]).step
    assert step.usual == pytest.approx(0.047 / 8)
    assert cost(nothing, protocol(), 2, Cases(1, 1, (1, 128, 128)), GPUS["h100"]).step.usual < step.usual


def test_what_does_not_fit_is_said():
    large = replace(WORK, kept=200e9)
    assert cost(large, protocol(), 4, Cases(1, 1, (1, 128, 128)), GPUS["a100"]).largest_batch == 5
    assert (
        cost(replace(WORK, parameters=10**10), protocol(), 4, Cases(1, 1, (1, 128, 128)), GPUS["a100"]).largest_batch
        == 0
    )


def test_windows_are_those_of_monai():
    from monai.data.utils import dense_patch_slices

    for side in (100, 128, 129, 192, 240, 256, 300):
        interval = 128 if side == 128 else 64
        expected = len(dense_patch_slices((max(side, 128), 128), (128, 128), (interval, 128)))
        assert windows((3, side, 100), (128, 128), 0.5) == 3 * expected
    assert windows((155, 240, 240), (128, 128, 128), 0.5) == 2 * 3 * 3


def test_cards_are_found_however_they_are_written():
    assert find_gpu("RTX 3090") is find_gpu("rtx3090") is GPUS["rtx3090"]
    assert find_gpu("A100-40") is GPUS["a100-40"]
    with pytest.raises(HarnessError, match="Unknown GPU model 'rtx309'") as caught:
        find_gpu("rtx309")
    assert "Did you mean 'rtx3090'?" in caught.value.hint


@pytest.mark.parametrize(
    ("device", "name"),
    [
        ("NVIDIA GeForce RTX 3090", "rtx3090"),
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("NVIDIA A100-SXM4-40GB", "a100-40"),
        ("Tesla V100-SXM2-32GB", "v100"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA H100 PCIe", "h100-pcie"),
    ],
)
def test_the_drivers_name_of_a_card(device, name):
    assert gpu_of_device(device) is GPUS[name]


@pytest.mark.parametrize("device", ["NVIDIA GeForce RTX 3090 Ti", "cpu (1 thread)", "Tesla V100-SXM2-16GB"])
def test_another_card_is_not_taken_for_one_that_is_known(device):
    assert gpu_of_device(device) is None


def test_cells_share_cards_the_longest_first():
    assert wall_seconds([5, 4, 3, 3, 3], 2) == 10
    assert wall_seconds([5, 4], 3) == 5
    assert wall_seconds([], 2) == 0


def unet(dims: int, strides: list, width: int, channels: int, classes: int) -> nn.Module:
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    conv, norm = {2: (nn.Conv2d, nn.InstanceNorm2d), 3: (nn.Conv3d, nn.InstanceNorm3d)}[dims]
    features = [min(32 * 2**level, width) for level in range(len(strides))]
    return PlainConvUNet(
        channels, len(strides), features, conv, 3, strides, 2, classes, 2, True, norm, {"affine": True}, None, None,
        nn.LeakyReLU, {"inplace": True}, deep_supervision=True,
    )  # fmt: skip


#: Seconds of an epoch of 250 steps of nnU-Net (version 1, mixed precision), by its authors, fastest of five:
#: documentation/expected_epoch_times.md of MIC-DKFZ/nnUNet, on A100 40 GB and V100 32 GB SXM; without data loading
#: where three-dimensional.
PUBLISHED = {
    "liver 3D": ((128, 128, 128), 2, [1, 2, 2, 2, 2, 2], 320, (1, 3), (41.1, 70.96)),
    "heart 3D": ((80, 192, 160), 2, [1, 2, 2, 2, 2, (1, 2, 2)], 320, (1, 2), (48.53, 79.0)),
    "prostate 3D": (
        (20, 320, 256), 2, [1, (1, 2, 2), (1, 2, 2), 2, 2, (1, 2, 2), (1, 2, 2)], 320, (2, 3), (43.87, 70.58)
    ),
    "liver 2D": ((512, 512), 12, [1] + [2] * 7, 480, (1, 3), (39.71, 60.69)),
    "heart 2D": ((320, 256), 40, [1] + [2] * 6, 480, (1, 2), (40.06, 66.03)),
    "prostate 2D": ((320, 320), 32, [1] + [2] * 6, 480, (2, 3), (42.21, 68.88)),
}  # fmt: skip


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in PUBLISHED])
def test_close_to_the_times_that_nnunets_authors_publish(name):
    patch, batch, strides, width, (channels, classes), seconds = PUBLISHED[name]

    class Made(Segmenter):
        def build(self, task, options=None):
            return unet(len(patch), strides, width, channels, classes)

    made = Made(name="made", title="", summary="", source=Source(paper=""), factory="")
    task = Task(tuple(f"m{index}" for index in range(channels)), None, classes, patch)
    work = count(made, task, Options(), batch, mixed=True)
    common = protocol(patch_size=patch, sampling={"batch_size": batch, "workers": 1000})
    shape = patch if len(patch) == 3 else (1, *patch)
    for gpu, published in zip(("a100-40", "v100"), seconds, strict=True):
        step = cost(work, common, channels, Cases(1, 1, shape), GPUS[gpu]).step
        ratio = step.usual * 250 / published
        print(f"{name} on {gpu}: estimated / published {ratio:.2f}")
        assert 0.75 < ratio < 1.35
        assert step.low * 250 < published < step.high * 250
