"""What a forward pass costs, against counts made by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import Tensor, nn
from torch.nn import functional

from harness.segmenters import Options, Segmenter, Source, Task
from harness.segmenters.size import Operation, count, measure

TASK = Task(("a", "b"), leading=None, out_channels=4, patch_size=(8, 8))


class Attention(nn.Module):
    """One head over all pixels."""

    def forward(self, images: Tensor) -> Tensor:
        pixels = images.flatten(2).transpose(1, 2)
        return functional.scaled_dot_product_attention(pixels, pixels, pixels)


def segmenter(make: Callable[[], nn.Module]) -> Segmenter:
    class Made(Segmenter):
        def build(self, task, options=None):
            return make()

    return Made(name="made", title="made", summary="", source=Source(paper=""), factory="")


def convolution() -> nn.Module:
    return nn.Conv2d(2, 4, 3, padding=1)


def two_layers() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1))


def test_fused_attention_counts_as_its_two_matrix_products():
    size = measure(segmenter(Attention), TASK, Options())
    assert size.gflops * 1e9 == pytest.approx(2 * (2 * 64 * 64 * 2))
    work = count(segmenter(Attention), TASK, Options(), batch=3, mixed=True)
    assert sum(one.flops for one in work.operations) == pytest.approx(3 * 2 * (2 * 64 * 64 * 2))


def test_a_convolution_by_hand():
    work = count(segmenter(convolution), TASK, Options(), batch=5, mixed=False)
    images, weights, output = 5 * 2 * 64, 4 * 2 * 9 + 4, 5 * 4 * 64
    (operation,) = work.operations
    assert operation == Operation(2 * 5 * 64 * 4 * 2 * 9, 4 * (images + weights + output), "tf32")
    assert (work.parameters, work.kept) == (weights, 4 * images)


def test_mixed_precision_halves_the_traffic_of_a_convolution_and_keeps_what_it_casts():
    work = count(segmenter(convolution), TASK, Options(), batch=5, mixed=True)
    images, weights, output = 5 * 2 * 64, 4 * 2 * 9 + 4, 5 * 4 * 64
    assert Operation(2 * 5 * 64 * 4 * 2 * 9, 2 * (images + weights + output), "half") in work.operations
    assert work.kept == 2 * (images + 4 * 2 * 9)


def test_work_grows_with_the_batch_and_views_cost_nothing():
    small, large = (count(segmenter(nn.Flatten), TASK, Options(), batch, mixed=False) for batch in (1, 2))
    assert small.operations == large.operations == ()
    small, large = (count(segmenter(two_layers), TASK, Options(), batch, mixed=True) for batch in (4, 8))
    assert large.kept - small.kept == 4 * 2 * 64 * (2 + 4)
    assert sum(one.flops for one in large.operations) == 2 * sum(one.flops for one in small.operations)
