"""Networks of which no code is public: their parts compute what they say, and they say that nothing proves them."""

from __future__ import annotations

import importlib
import itertools

import pytest
import torch
from torch import nn

from baselines.agsevnet.network import REGULARISATION, guided_filter, window_sums
from baselines.mbanet.network import ShuffleAttention, shuffle
from harness.errors import StudyError
from harness.segmenters import SEGMENTERS, Task

NAMES = ("agsevnet", "mbanet", "menet")

#: Of four modalities and four classes, in two and in three dimensions.
PARAMETERS = {
    "agsevnet": (9_309_511, 44_833_351),
    "mbanet": (3_138_516, 7_461_332),
    "menet": (9_013_460, 26_855_764),
}


def build(name: str, patch_size: tuple[int, ...], modalities: int = 4, **options: object) -> nn.Module:
    task = Task(tuple("abcdefgh"[:modalities]), None, 4, patch_size)
    with torch.device("meta"):
        return SEGMENTERS.get(name).build(task, options)


def test_these_and_no_others_are_known_from_their_papers_alone() -> None:
    known = {name for name in SEGMENTERS.names() if SEGMENTERS.get(name).source.paper_only}
    assert known >= {*NAMES}
    assert not any(SEGMENTERS.get(name).source.repository for name in known)
    assert {name for name in known if not SEGMENTERS.is_foreign(name)} == {*NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_they_have_no_configuration_of_the_authors_and_list_their_gaps(name: str) -> None:
    segmenter = SEGMENTERS.get(name)
    assert (segmenter.official_task, segmenter.official_parameters, dict(segmenter.native_recipe)) == (None, None, {})
    text = importlib.import_module(f"baselines.{name}").__doc__ or ""
    assert "From the paper: no code to compare with." in text
    assert text.count("\n- ") >= 6


@pytest.mark.parametrize("name", NAMES)
def test_parameters(name: str) -> None:
    counts = [sum(one.numel() for one in build(name, (128,) * dims).parameters()) for dims in (2, 3)]
    assert tuple(counts) == PARAMETERS[name]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("patch_size", "nearest"), [((40, 64), "48 x 64"), ((16, 16, 16), "32 x 32 x 32")])
def test_patch_they_cannot_take_is_refused_with_the_nearest(
    name: str, patch_size: tuple[int, ...], nearest: str
) -> None:
    with pytest.raises(StudyError, match=name) as caught:
        build(name, patch_size, preset="tiny")
    assert nearest in str(caught.value)


def test_menet_has_an_encoder_for_each_modality_alone() -> None:
    network = build("menet", (64, 64), modalities=3, preset="tiny")
    first = [encoder.levels[0][0].conv.weight.shape for encoder in network.encoders]
    assert first == [(4, 1, 3, 3)] * 3


def test_windows_are_summed() -> None:
    x = torch.rand(2, 3, 5, 4, 6, dtype=torch.float64)
    expected = nn.functional.conv3d(x.reshape(6, 1, 5, 4, 6), torch.ones(1, 1, 3, 3, 3, dtype=x.dtype), padding=1)
    torch.testing.assert_close(window_sums(x), expected.reshape(x.shape))


def test_the_guided_filter_is_the_mean_of_weighted_fits() -> None:
    """Against a least-squares fit of each window, written out."""
    generator = torch.Generator().manual_seed(0)
    shape = (5, 6)
    guide, x, weights = (torch.rand(shape, dtype=torch.float64, generator=generator) for _ in range(3))
    fits = torch.zeros(*shape, 2, dtype=torch.float64)
    for place in itertools.product(*map(range, shape)):
        window = tuple(slice(max(0, at - 1), at + 2) for at in place)
        g, p, w = (each[window].flatten() for each in (guide, x, weights))
        w = w / w.sum()
        columns = torch.stack((g, torch.ones_like(g)), dim=1)
        ridge = torch.diag(torch.tensor([REGULARISATION, 0.0], dtype=torch.float64))
        fits[place] = torch.linalg.solve(columns.T @ (w[:, None] * columns) + ridge, columns.T @ (w * p))
    expected = torch.zeros(shape, dtype=torch.float64)
    for place in itertools.product(*map(range, shape)):
        window = tuple(slice(max(0, at - 1), at + 2) for at in place)
        slope, offset = fits[window].reshape(-1, 2).mean(dim=0)
        expected[place] = slope * guide[place] + offset
    torch.testing.assert_close(guided_filter(guide[None, None], x[None, None], weights[None, None])[0, 0], expected)


def test_a_flat_guide_smooths_and_a_map_that_is_its_own_guide_keeps_its_edge() -> None:
    step = torch.zeros(1, 1, 6, 6, dtype=torch.float64)
    step[..., 3:] = 1.0
    alike = torch.ones_like(step)
    smoothed, kept = guided_filter(torch.zeros_like(step), step, alike), guided_filter(step, step, alike)
    assert (smoothed - step).abs().max() > 0.3
    assert (kept - step).abs().max() < 0.05


def test_shuffling_interleaves_the_halves() -> None:
    assert shuffle(torch.arange(6.0).reshape(1, 6, 1, 1)).flatten().tolist() == [0, 3, 1, 4, 2, 5]


def test_shuffle_attention_weighs_half_of_a_group_by_channel_and_half_by_place() -> None:
    """Against the formulas, written out for one image and its second group."""
    torch.manual_seed(0)
    attention = ShuffleAttention(2, 8, 2)
    for parameter in attention.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(1, 8, 3, 3)
    scales = [parameter.detach() for parameter in (attention.channel_scale, attention.place_scale)]
    biases = [parameter.detach() for parameter in (attention.channel_bias, attention.place_bias)]
    found = attention(x).detach()
    unshuffled = torch.cat((found[:, 0::2], found[:, 1::2]), dim=1)[0, 4:]
    channels, places = x[0, 4:6], x[0, 6:8]
    by_channel = channels * torch.sigmoid(scales[0] * channels.mean(dim=(1, 2), keepdim=True) + biases[0])
    spread = places.var(dim=(1, 2), keepdim=True, correction=0)
    normalised = (places - places.mean(dim=(1, 2), keepdim=True)) / (spread + 1e-5).sqrt()
    by_place = places * torch.sigmoid(scales[1] * normalised + biases[1])
    torch.testing.assert_close(unshuffled, torch.cat((by_channel, by_place)))
