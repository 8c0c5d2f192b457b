"""Estimates for GPUs that are not here, against a hand calculation."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.errors import HarnessError
from harness.execution.costs.gpus import GPUS, find_gpu, gpu_of_device
from harness.execution.costs.memory_and_time import NOTHING, Cases, Known, Span, cost, windows
from harness.execution.costs.plan import wall_seconds
from harness.execution.costs.speed import FITTED
from harness.segmenters.size import Operation, Work
from harness.study.protocol import Protocol, load_protocol

BOUND_BY_COMPUTE = Operation(flops=1e13, traffic=1e6, rate="half")
BOUND_BY_MEMORY = Operation(flops=0, traffic=1e10, rate="fp32")
WORK = Work(parameters=1_000_000, operations=(BOUND_BY_COMPUTE, BOUND_BY_MEMORY), kept=8e9)


def protocol(**changes) -> Protocol:
    return load_protocol({"base": "paper", **changes})


FORWARD = 1e13 / (312e12 * FITTED.compute) + 1e10 / (2039e9 * FITTED.bandwidth) + 2 * FITTED.kernel
UPDATE = 32 * 1e6 / (2039e9 * 0.7)


def test_an_estimate_by_hand():
    """One epoch of ten steps of batch 16; two validation and four test cases of eight slices, four flips."""
    short = protocol(training={"epochs": 1, "steps_per_epoch": 10})
    found = cost(WORK, short, modalities=4, cases=Cases(2, 4, (8, 128, 128)), gpu=GPUS["a100"])
    assert found.step.usual == pytest.approx(3 * FORWARD + UPDATE)
    passes = (2 * 8 + 4 * 8 * 4) / 16
    seconds = 10 * (3 * FORWARD + UPDATE) + passes * FORWARD
    assert found.cell.usual == pytest.approx(seconds)
    assert found.energy.usual == pytest.approx(400 * 0.97 * seconds / 3.6e6)  # the GPU never waits
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
    assert found.cell.usual - 6 * 250 * found.step.usual == pytest.approx(batches * FORWARD)


def test_imported_weights_are_only_tested():
    cases = Cases(2, 4, (8, 128, 128))
    tested = cost(WORK, protocol(), 4, cases, GPUS["a100"], trained=False)
    assert tested.cell.usual == pytest.approx(4 * 8 * 4 / 16 * FORWARD)


def test_bounds_enclose_the_estimate():
    found = cost(WORK, protocol(), 4, Cases(2, 4, (8, 128, 128)), GPUS["rtx3090"])
    assert found.step.low < found.step.usual < found.step.high
    assert found.cell.low < found.cell.usual < found.cell.high
    assert found.energy.low < found.energy.usual < found.energy.high


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


TINY = replace(WORK, parameters=10, operations=(Operation(1e3, 1e3, "half"),) * 5000)


def step_of(work, known=NOTHING, gpu="h200", **training) -> Span:
    return cost(work, protocol(training=training), 1, Cases(1, 1, (1, 128, 128)), GPUS[gpu], known=known).step


def test_many_small_operations_wait_for_the_host():
    assert [step_of(TINY, gpu=gpu).usual for gpu in ("v100", "h200")] == [pytest.approx(3 * 5000 * 8e-6, rel=1e-3)] * 2
    measured = step_of(TINY, Known(launch=35e-6))
    assert measured.usual == pytest.approx(3 * 5000 * 35e-6)
    assert measured.high / measured.low < step_of(TINY).high / step_of(TINY).low


def test_recorded_steps_do_not_wait_for_the_host():
    recorded = step_of(TINY, step="recorded")
    assert recorded == step_of(TINY, Known(launch=1e-3), step="recorded")
    assert recorded.usual < step_of(TINY).usual
    assert step_of(TINY, compile="cuda-graphs") == recorded


def test_compiling_fuses_what_is_no_arithmetic():
    norm = replace(WORK, operations=(Operation(0, 1e10, "half", per_map=True),))
    for work in (replace(WORK, operations=(BOUND_BY_MEMORY,)), norm):
        assert step_of(work, compile="default").usual < step_of(work).usual
    convolution = replace(WORK, operations=(BOUND_BY_COMPUTE,))
    assert step_of(convolution, compile="default") == step_of(convolution)


def test_a_gpu_that_waits_draws_less_in_the_same_time():
    cases, waits = Cases(1, 1, (1, 128, 128)), Known(launch=1e-3)
    waiting = cost(TINY, protocol(), 1, cases, GPUS["h200"], known=waits)
    assert waiting.energy.usual / waiting.cell.usual * 3.6e6 == pytest.approx(700 * FITTED.idle, rel=0.05)


def test_a_network_without_work_waits_for_its_data():
    nothing = replace(WORK, parameters=10, operations=())
    step = cost(nothing, protocol(), 4, Cases(1, 1, (1, 128, 128)), GPUS["h100"]).step
    assert step.usual == pytest.approx(0.047 / 8)
    assert cost(nothing, protocol(), 2, Cases(1, 1, (1, 128, 128)), GPUS["h100"]).step.usual < step.usual
    volumes = protocol(patch_size=[128] * 3, sampling={"batch_size": 2})
    four, one = (cost(nothing, volumes, channels, Cases(1, 1, (128,) * 3), GPUS["h100"]).step for channels in (4, 1))
    assert four.usual / one.usual == pytest.approx(5 / 2), "the label is moved like a channel"


def test_loader_processes_only_read_where_the_gpu_augments():
    nothing, cases = replace(WORK, parameters=10, operations=()), Cases(1, 1, (1, 128, 128))
    on_gpu = protocol(augmentation={"device": "gpu"})
    read, made = (cost(nothing, one, 4, cases, GPUS["h100"]).step.usual for one in (on_gpu, protocol()))
    assert read == pytest.approx(0.08 * made)


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
