from __future__ import annotations

import torch

from baselines.shared.norm_units import finer_logits
from baselines.shared.presence import (
    draw_all_or_sizes,
    draw_sets,
    keep,
    modalities_present,
    without_gradient_where_absent,
)


def test_every_set_of_modalities_but_the_empty_one_has_equal_chance() -> None:
    torch.manual_seed(0)
    drawn = draw_sets(15_000, 4, torch.device("cpu"))
    numbers = (drawn * torch.tensor([1, 2, 4, 8])).sum(dim=1)
    counts = torch.bincount(numbers, minlength=16)
    assert counts[0] == 0
    assert counts[1:].min() > 850
    assert counts[1:].max() < 1150


def test_all_modalities_or_a_smaller_number_are_drawn() -> None:
    torch.manual_seed(0)
    counts = torch.bincount(draw_all_or_sizes(12_000, 4, torch.device("cpu")).sum(dim=1).long(), minlength=5)
    assert counts[0] == 0
    assert abs(counts[4] - 6000) < 300
    assert all(abs(count - 2000) < 200 for count in counts[1:4])
    assert draw_all_or_sizes(3, 1, torch.device("cpu")).tolist() == [[1]] * 3


def test_what_is_absent_stays_absent_and_something_present_always_stays() -> None:
    torch.manual_seed(0)
    images = torch.zeros(500, 3, 2, 2)
    given = torch.tensor([1.0, 0.0, 1.0]).expand(500, 3)
    assert torch.equal(modalities_present(images, given), given)
    assert torch.equal(modalities_present(images, None), torch.ones(500, 3))
    drawn = modalities_present(images, given, draw_sets)
    assert not drawn[:, 1].any()
    assert drawn.sum(dim=1).min() == 1
    assert {tuple(row) for row in drawn.tolist()} == {(1, 0, 0), (0, 0, 1), (1, 0, 1)}


def test_features_of_absent_modalities_are_nothing() -> None:
    features = torch.ones(2, 3, 4, 5, 5)
    kept = keep(features, torch.tensor([[1.0, 0, 1], [0, 1, 1]]))
    assert kept.mean(dim=(2, 3, 4)).tolist() == [[1, 0, 1], [0, 1, 1]]


def test_absent_modalities_learn_nothing() -> None:
    logits = torch.ones(2, 3, 4, 4, requires_grad=True)
    without_gradient_where_absent(logits, torch.tensor([0.0, 1.0])).sum().backward()
    assert logits.grad is not None
    assert logits.grad.mean(dim=(1, 2, 3)).tolist() == [0, 1]


def test_finer_logits_give_the_upsampled_probabilities() -> None:
    logits = torch.randn(1, 3, 4, 4)
    expected = torch.nn.functional.interpolate(logits.softmax(1), scale_factor=2.0, mode="bilinear", align_corners=True)
    torch.testing.assert_close(finer_logits(logits, 2).softmax(1), expected)
    torch.testing.assert_close(finer_logits(logits, 1).softmax(1), logits.softmax(1))
