from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import torch
from golden import PRECISIONS, Arithmetic, Golden, unfilled, watch
from torch import Tensor

from baselines.transbts import SEGMENTER
from baselines.transbts.released import IGNORED_PREFIXES, POSITIONS, translate
from harness.errors import HarnessError, StudyError
from harness.segmenters import Task
from harness.segmenters.released import import_weights

FACTS = json.loads((Path(__file__).parents[1] / "parity" / "baseline_facts.json").read_text())["TransBTS"]
SLICES = Task(("ct", "pet"), None, 3, (64, 48))
VOLUMES = Task(("ct", "pet"), None, 3, (32, 16, 24))

#: Modules of the golden and ours; the output of the first attention, which is no module here, is what norm2 is given.
STAGES = {
    "Unet.InitConv": "stem",
    "Unet.EnBlock1": "levels.0",
    "Unet.EnBlock2_2": "levels.1",
    "Unet.EnBlock3_2": "levels.2",
    "Unet.EnBlock4_4": "levels.3",
    "conv_x": "embed.2",
    "transformer.net.7": "transformer.3",
    "Enblock8_1": "unembed",
    "Enblock8_2": "neck",
    "DeUp4": "ups.0",
    "DeBlock4": "refinements.0",
    "DeBlock3": "refinements.1",
    "DeBlock2": "refinements.2",
    "endconv": "head",
}


PAPER = {"preset": "paper"}


def test_parameters_are_the_official_ones_but_for_the_dead() -> None:
    with torch.device("meta"):
        network = SEGMENTER.build(SEGMENTER.official_task, SEGMENTER.official_options)
    golden = Golden.load("transbts")
    dead = [shape for name, shape in golden.facts["state_dict"].items() if name.startswith(IGNORED_PREFIXES)]
    shapes = Counter(str(list(parameter.shape)) for parameter in network.parameters())
    assert shapes + Counter(map(str, dead)) == Counter(FACTS["param_shape_histogram"])
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == SEGMENTER.official_parameters
    assert count + FACTS["params_never_receiving_gradient"] == FACTS["params"]


def test_every_released_entry_has_its_place() -> None:
    golden = Golden.load("transbts")
    released = {n: tensor for n, tensor in golden.released_shapes().items() if n not in golden.facts["not_filled"]}
    with torch.device("meta"):
        network = SEGMENTER.build(SEGMENTER.official_task, PAPER)
    translation = translate(released, network)
    expected = {name: value.shape for name, value in network.state_dict().items() if value.ndim}
    assert {name: value.shape for name, value in translation.weights.items()} == expected
    used = {name for names in translation.sources.values() for name in names}
    assert used | translation.ignored == released.keys()


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
def test_official_configuration_equals_the_released_code(precision: Arithmetic) -> None:
    golden = Golden.load("transbts", precision)
    network = unfilled(SEGMENTER, SEGMENTER.official_task, PAPER, precision)
    report = import_weights(network, golden.released(), translate)
    assert report.complete
    seen: dict[str, Tensor] = {}
    network.transformer[0].norm2.register_forward_pre_hook(
        lambda _, inputs: seen.update({"transformer.net.0": inputs[0].clone()})
    )
    with torch.inference_mode(), watch({t: network.get_submodule(o) for t, o in STAGES.items()}) as watched:
        logits = network(golden.input)
    seen |= watched
    assert seen.keys() == set(golden.stages)
    golden.check_output(logits.softmax(dim=1))
    for path in golden.stages:
        golden.check_stage(path, seen[path])
    for path in golden.probes:
        golden.check_probe(path, seen[path])


def test_weights_of_another_patch_keep_their_place_in_the_volume() -> None:
    cube = Task(("ct",), None, 2, (32, 32, 32))
    large = Task(("ct",), None, 2, (64, 32, 48))
    network = SEGMENTER.build(large, {"preset": "tiny"})
    ramp = torch.arange(4.0)[:, None, None].expand(4, 4, 4).reshape(1, 64, 1).expand(-1, -1, 128)
    translation = translate({POSITIONS: ramp}, network)
    assert translation.resized == {"positions"}
    resized = translation.weights["positions"].unflatten(1, (8, 4, 6))
    assert torch.allclose(resized[0, :, 1, 2, 7], torch.tensor([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]))
    same = translate({POSITIONS: ramp}, SEGMENTER.build(cube, {"preset": "tiny"}))
    assert same.weights["positions"] is ramp
    assert not same.resized


def test_weights_of_other_modalities_are_refused() -> None:
    with torch.device("meta"):
        network = SEGMENTER.build(Task(("t1", "t2"), None, 4, (128, 128, 128)))
        released = {name: torch.empty(shape) for name, shape in Golden.load("transbts").facts["state_dict"].items()}
    with pytest.raises(HarnessError, match=r"stem.weight \(16, 4, 3, 3, 3\) instead of \(16, 2, 3, 3, 3\)"):
        import_weights(network, released, translate)


@pytest.mark.parametrize("task", [SLICES, VOLUMES], ids=["2d", "3d"])
def test_stem_dropout_is_all_that_always_changes(task: Task) -> None:
    steady = SEGMENTER.build(task, {"preset": "tiny"}).eval()
    always = SEGMENTER.build(task, {"preset": "tiny", "stem_dropout": "always"}).eval()
    always.load_state_dict(steady.state_dict())
    image = torch.randn(1, 2, *task.patch_size)
    with torch.no_grad():
        once, again = always(image), always(image)
        assert not torch.equal(once, again)
        always.stem_dropout.rate = 0.0
        assert torch.equal(always(image), steady(image))


def test_stem_drops_whole_channels_in_training() -> None:
    network = SEGMENTER.build(SLICES, {"preset": "tiny", "stem_dropout_rate": 0.5}).train()
    with watch({"stem": network.stem_dropout}) as seen:
        network(torch.randn(8, 2, 64, 48))
    dropped = (seen["stem"] == 0).flatten(2)
    assert torch.equal(dropped.any(dim=2), dropped.all(dim=2))
    assert 0 < dropped.all(dim=2).sum() < 64


def test_slices_and_volumes_are_one_network() -> None:
    """A volume whose slices are all alike, seen by kernels that read their middle plane only, is its slice."""
    flat = SEGMENTER.build(SLICES, {"preset": "tiny"}).eval()
    deep = SEGMENTER.build(Task(("ct", "pet"), None, 3, (64, 48, 8)), {"preset": "tiny"}).eval()
    weights = {}
    for name, wanted in deep.state_dict().items():
        given = flat.state_dict()[name]
        if wanted.ndim == 5 and wanted.shape[-1] == 3:
            given = torch.stack((torch.zeros_like(given), given, torch.zeros_like(given)), dim=-1)
        elif wanted.ndim == 5:
            given = given[..., None].expand(wanted.shape)
        weights[name] = given
    deep.load_state_dict(weights)
    image = torch.randn(1, 2, 64, 48)
    with torch.no_grad():
        expected = flat(image)[..., None].expand(-1, -1, -1, -1, 8)
        torch.testing.assert_close(deep(image[..., None].expand(-1, -1, -1, -1, 8)), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("patch_size", "nearest"),
    [((100, 128), "104 x 128"), ((30, 32, 32), "32 x 32 x 32"), ((3, 16), "8 x 16")],
)
def test_patch_that_is_no_multiple_of_8_is_refused_with_the_nearest_valid_one(
    patch_size: tuple[int, ...], nearest: str
) -> None:
    with pytest.raises(StudyError, match="8 voxels") as caught:
        SEGMENTER.build(Task(("ct",), None, 2, patch_size), {"preset": "tiny"})
    assert nearest in str(caught.value.hint)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"num_heads": 3}, "num_heads 3 does not divide hidden_size 512"), ({"width": 12}, "multiple of 8")],
)
def test_widths_that_do_not_divide_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        SEGMENTER.parse_options(options)


def test_slices_are_declared_an_adaptation() -> None:
    assert SEGMENTER.adapted_dims == {2}
