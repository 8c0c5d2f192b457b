"""The network as a whole: sizes, shapes, refusals, and what it must not do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch

from aahn import SEGMENTER
from aahn.network import AAHN, build, check_patch_size
from harness.errors import StudyError
from harness.registry import Registry
from harness.segmenters.contract import Options, Segmenter, Task

Build = Callable[..., AAHN]
SIDE = 32  # of a micro network's patch


def parameters(preset: str, task: Task) -> int:
    with torch.device("meta"):
        network = SEGMENTER.build(task, {"preset": preset})
    return sum(parameter.numel() for parameter in network.parameters())


def test_entry_point_finds_it_without_torch() -> None:
    assert Registry("harness.segmenters", Segmenter, "model").get("aahn") is SEGMENTER
    code = "import sys, aahn; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_parameter_counts() -> None:
    task = SEGMENTER.official_task
    assert task is not None
    assert parameters("paper", task) == SEGMENTER.official_parameters == 410_521_332 - 2_828_640
    assert parameters("small", task) == 23_829_516
    assert parameters("tiny", Task(("t1", "epi"), 0, 3, (128, 128))) == 2_776_751


def test_defaults_are_the_paper_preset() -> None:
    assert SEGMENTER.parse_options({}) == SEGMENTER.parse_options({"preset": "paper"})


@pytest.mark.parametrize("modalities", range(1, 9))
def test_any_number_of_modalities(micro: Build, modalities: int) -> None:
    network = micro(modalities=modalities, leading=modalities - 1, classes=modalities + 1).eval()
    assert network(torch.randn(1, modalities, SIDE, SIDE)).shape == (1, modalities + 1, SIDE, SIDE)


@pytest.mark.parametrize(("token_patch", "patch"), [(1, (16, 16)), (1, (48, 16)), (2, (64, 96)), (4, (64, 128))])
def test_any_patch_size_the_strides_allow(micro: Build, token_patch: int, patch: tuple[int, int]) -> None:
    network = micro(token_patch=token_patch, patch=patch).eval()
    assert network(torch.randn(1, 3, *patch)).shape == (1, 3, *patch)


@pytest.mark.parametrize(
    ("patch", "token_patch", "nearest"),
    [((100, 130), 8, "128x128"), ((160, 200), 8, "128x256"), ((160, 160), 4, "192x192"), ((8, 129), 1, "16x128")],
)
def test_an_invalid_patch_size_names_the_nearest_valid_one(
    patch: tuple[int, int], token_patch: int, nearest: str
) -> None:
    with pytest.raises(StudyError, match=f"multiples of {16 * token_patch}, not {patch[0]}x{patch[1]}") as error:
        check_patch_size(patch, token_patch)
    assert nearest in error.value.hint
    sides = tuple(int(side) for side in nearest.split("x"))
    assert check_patch_size(sides, token_patch) == sides


def test_three_dimensions_are_refused() -> None:
    task = Task(("a",), 0, 2, (128, 128, 128))
    with pytest.raises(StudyError, match="2D"):
        SEGMENTER.build(task)
    with pytest.raises(StudyError, match="2D"):
        build(task, SEGMENTER.parse_options({}))


def test_options_of_another_segmenter_are_refused() -> None:
    with pytest.raises(TypeError, match="AAHNOptions"):
        build(Task(("a",), 0, 2, (128, 128)), Options())


@pytest.mark.parametrize("shape", [(1, 3, 64, 64), (1, 2, SIDE, SIDE), (3, SIDE, SIDE)])
def test_an_input_it_was_not_built_for_is_refused(micro: Build, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="was built for"):
        micro()(torch.zeros(shape))


def test_state_dict_round_trip(micro: Build) -> None:
    first, second = micro(awake=True).eval(), micro().eval()
    second.load_state_dict(first.state_dict())
    x = torch.randn(1, 3, SIDE, SIDE)
    assert torch.equal(first(x), second(x))


def test_modality_order_matters(micro: Build) -> None:
    network = micro(awake=True).eval()
    x = torch.randn(1, 3, SIDE, SIDE)
    assert not torch.allclose(network(x), network(x[:, [0, 2, 1]]))
    assert not torch.allclose(network(x), network(x[:, [2, 1, 0]]))


def test_cases_of_a_batch_do_not_touch_each_other_in_eval(micro: Build) -> None:
    network = micro(awake=True).eval()
    x = torch.randn(3, 3, SIDE, SIDE)
    together = network(x)
    alone = torch.cat([network(case[None]) for case in x])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_memory_layout_does_not_matter(micro: Build) -> None:
    network = micro(awake=True).eval()
    x = torch.randn(2, 3, SIDE, SIDE)
    expected = network(x)
    network = network.to(memory_format=torch.channels_last)
    torch.testing.assert_close(network(x.to(memory_format=torch.channels_last)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_one_graph_for_the_compiler(micro: Build) -> None:
    network = micro(awake=True).eval()
    x = torch.randn(1, 3, SIDE, SIDE)
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), network(x))


def test_autocast_trains(micro: Build) -> None:
    network = micro(awake=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = network(torch.randn(2, 3, SIDE, SIDE))
    logits.float().square().mean().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters() if parameter.grad is not None)


def test_dropout_acts_in_training_only(micro: Build) -> None:
    network = micro(dropout=0.5)
    x = torch.randn(2, 3, SIDE, SIDE)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))
