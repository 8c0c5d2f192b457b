"""Each check catches the network that breaks its promise, and passes one that keeps them all."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.errors import StudyError
from harness.segmenters import Options, Segmenter, Source, Task
from harness.segmenters.conformance import CHECKS, ConformanceError, cases, computing_on, plan, run, synthetic

CHECK = {check.name: check for check in CHECKS}


class Sound(nn.Module):
    """Two convolutions: keeps every promise."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task
        conv = {2: nn.Conv2d, 3: nn.Conv3d}[task.spatial_dims]
        self.first = conv(task.in_channels, 8, 3, padding=1)
        self.last = conv(8, task.out_channels, 1)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        return self.last(functional.relu(self.first(x)))


class Strided(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[..., ::2]


class Probabilities(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).softmax(dim=1)


class Double(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).double()


class WritesIntoInput(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.sub_(1.0))


class Deep(Sound):
    deep_supervision_weights: tuple[float, ...] = (0.7, 0.3)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        fine = super().forward(x)
        return self.outputs(fine, functional.avg_pool2d(fine, 2))

    def outputs(self, fine: Tensor, coarse: Tensor) -> Tensor | list[Tensor]:
        return [fine, coarse] if self.training else fine


class DeepInEval(Deep):
    def outputs(self, fine: Tensor, coarse: Tensor) -> list[Tensor]:
        return [fine, coarse]


class DeepCoarsestFirst(Deep):
    def outputs(self, fine: Tensor, coarse: Tensor) -> Tensor | list[Tensor]:
        return [coarse, fine] if self.training else fine


class DeepUnweighted(Deep):
    deep_supervision_weights = None  # type: ignore[assignment]


class DeepMiscounted(Deep):
    deep_supervision_weights = (0.5, 0.3, 0.2)


class DeepNegative(Deep):
    deep_supervision_weights = (1.0, -0.5)


class WeightedAlone(Sound):
    deep_supervision_weights = (1.0,)


class NotFinite(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).log()


class SquareRootOfZero(Sound):
    """Finite logits, infinite gradients."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + (self.first.bias * 0).sum().sqrt()


class UnusedLayer(Sound):
    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.spare = nn.Linear(3, 3)


class UnusedLayerDeclared(UnusedLayer):
    dead_parameters = frozenset({"spare.weight", "spare.bias"})


class AliveDeclaredDead(Sound):
    dead_parameters = frozenset({"first.bias"})


class UnknownDeclaredDead(Sound):
    dead_parameters = frozenset({"first.nothing"})


class ClosedGate(Sound):
    """Sound: its gate starts closed and would open in training."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(functional.relu(self.first(x)) * self.gate)


class OwnRandomness(Sound):
    def __init__(self, task: Task) -> None:
        super().__init__(task)
        nn.init.constant_(self.last.bias, random.random())


class DropoutInEval(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return functional.dropout(super().forward(x), 0.5, training=True)


class OwnSeed(Sound):
    def __init__(self, task: Task) -> None:
        torch.manual_seed(0)
        super().__init__(task)


class BatchMean(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x - x.mean(dim=0))


class IgnoresLastModality(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(torch.cat([x[:, :-1], torch.zeros_like(x[:, -1:])], dim=1))


class ForgetsOrder(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.mean(dim=1, keepdim=True).expand_as(x))


class Leading(Sound):
    def forward(self, x: Tensor) -> Tensor:
        lead = 0 if self.task.leading is None else x[:, self.task.leading].unsqueeze(1)
        return super().forward(x) + lead


class LeadingButFirstIsDefault(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + x[:, self.task.leading or 0].unsqueeze(1)


class UnregisteredState(Sound):
    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.shift = torch.randn(())

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.shift


class DividesByRounding(Sound):
    """Finite in float32; bfloat16 rounds the divisor to 0."""

    def forward(self, x: Tensor) -> Tensor:
        hidden = super().forward(x)
        return hidden / ((hidden * 0 + 1 + 1e-3) - 1)


class Constant(Sound):
    """Learns the classes' frequencies and sees nothing of the image."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x * 0)


class DataDependentBranch(Sound):
    def forward(self, x: Tensor) -> Tensor:
        output = super().forward(x)
        return output if output.sum() > 1e9 else output * 2


class TableBesideTheDevice(Sound):
    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.table = torch.ones(task.patch_size)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x * self.table)


class TableMadeInForward(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x * torch.arange(x.shape[-1]).to(x.device))


class TableMadeOnTheDevice(Sound):
    """Sound: it is made where the input is; single numbers may come from the host."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x * torch.arange(x.shape[-1], device=x.device) / torch.tensor(32.0))


class DrawsOnTheHost(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * random.uniform(0.5, 1.0)


class OwnGenerator(Sound):
    """Draws from a generator of its own, which nobody can see."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.draw = np.random.default_rng(0)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.draw.uniform(0.5, 1.0)


class CountsItsCalls(Sound):
    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x) / self.calls


class Drops(Sound):
    """Sound: torch's generator is seeded for each step."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.dropout(super().forward(x), training=self.training)


class Told(Sound):
    """Sound: absent modalities have no influence."""

    takes_present = True

    def forward(self, x: Tensor, present: Tensor | None = None) -> Tensor:
        return super().forward(x if present is None else x * self.seen(present)[:, :, None, None])

    def seen(self, present: Tensor) -> Tensor:
        return present


class ToldButDeaf(Told):
    def seen(self, present: Tensor) -> Tensor:
        return torch.ones_like(present)


class ToldForTheWholeBatch(Told):
    def seen(self, present: Tensor) -> Tensor:
        return present.prod(dim=0, keepdim=True)


class ToldOfAll(Told):
    def seen(self, present: Tensor) -> Tensor:
        return present / 2


class Sometimes(Sound):
    """Sound: a layer that a quarter of the steps leave out."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.rare = nn.Conv2d(task.out_channels, task.out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        logits = super().forward(x)
        return logits + self.rare(logits) * (torch.rand((), device=x.device) < 0.25 if self.training else 1)


NETWORKS: dict[str, Callable[[Task], nn.Module]] = {
    network.__name__: network
    for network in [Sound, *(sub for kind in (Sound, Deep, Told) for sub in kind.__subclasses__())]
}
NETWORKS["UnusedLayerDeclared"] = UnusedLayerDeclared


class NetworkOption(Options):
    network: str = "Sound"


def build(task: Task, options: NetworkOption) -> nn.Module:
    return NETWORKS[options.network](task)


def build_from_96(task: Task, options: NetworkOption) -> nn.Module:
    if min(task.patch_size) < 96:
        raise StudyError("too small.")
    return NETWORKS[options.network](task)


def refuse(task: Task, options: NetworkOption) -> nn.Module:
    raise StudyError("never.")


SEGMENTER = Segmenter(
    name="example",
    title="Example",
    summary="Two convolutions.",
    source=Source(paper="None"),
    factory=f"{__name__}:build",
    options=NetworkOption,
)
TASK = Task(("a", "b", "c"), None, 3, (32, 32))


def check(name: str, network: str, task: Task = TASK, **changes: object) -> None:
    CHECK[name](replace(SEGMENTER, **changes), task, {"network": network})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("promise", "network", "message"),
    [
        ("device", "TableBesideTheDevice", "on another device, in aten.mul.Tensor"),
        ("device", "TableMadeInForward", "on another device, in aten._to_copy.default, aten.arange.default"),
        ("device", "DataDependentBranch", "reads a value back"),
        ("output", "Strided", "shape"),
        ("output", "Double", "float64"),
        ("output", "Probabilities", "returns probabilities"),
        ("output", "WritesIntoInput", "writes into its input"),
        ("output", "DeepInEval", "in eval mode returns list"),
        ("deep_supervision", "DeepInEval", "list in eval mode"),
        ("deep_supervision", "DeepCoarsestFirst", "finest"),
        ("deep_supervision", "DeepUnweighted", "no attribute deep_supervision_weights"),
        ("deep_supervision", "DeepMiscounted", "2 outputs and declares 3 weights"),
        ("deep_supervision", "DeepNegative", "non-negative"),
        ("deep_supervision", "WeightedAlone", "single tensor"),
        ("finite", "NotFinite", "output is not finite"),
        ("finite", "SquareRootOfZero", "gradient of first.bias is not finite"),
        ("gradients", "UnusedLayer", "2 tensors (12 parameters) receive no gradient: spare.bias, spare.weight"),
        ("gradients", "AliveDeclaredDead", "receive a gradient: first.bias"),
        ("gradients", "UnknownDeclaredDead", "not trainable parameters: first.nothing"),
        ("determinism", "OwnRandomness", "last.bias differs"),
        ("determinism", "DropoutInEval", "two outputs for one input"),
        ("seeds", "OwnSeed", "two seeds"),
        ("batch_independence", "BatchMean", "rest of the batch"),
        ("modalities", "IgnoresLastModality", "channel 2 (c) has no influence"),
        ("modalities", "ForgetsOrder", "order of the modalities"),
        ("present", "ToldButDeaf", "the image of modality 0, which is not present, has an influence"),
        ("present", "ToldForTheWholeBatch", "absent from its neighbours too"),
        ("present", "ToldOfAll", "another output than told nothing"),
        ("leading", "Leading", "does not declare uses_leading"),
        ("state_dict", "UnregisteredState", "round trip"),
        ("autocast", "DividesByRounding", "under autocast is not finite"),
        ("recorded", "DrawsOnTheHost", "the network draws from `random`"),
        ("recorded", "OwnGenerator", "something of the host is frozen"),
        ("recorded", "CountsItsCalls", "something of the host is frozen"),
        ("recorded", "DataDependentBranch", "(DataDependentBranch) reads a value back"),
        ("overfits", "Constant", "took the loss from"),
        ("output", "Missing", "KeyError"),
    ],
)
def test_a_broken_promise_is_caught(promise: str, network: str, message: str) -> None:
    with pytest.raises(ConformanceError) as caught:
        check(promise, network)
    assert message in caught.value.message
    assert caught.value.message.startswith(f"example, {promise}, 32x32-3mod: ")


@pytest.mark.parametrize("dims", [frozenset(), frozenset({2, 4})])
def test_dimensions_that_no_network_has_are_refused(dims: frozenset[int]) -> None:
    (result,) = run(replace(SEGMENTER, spatial_dims=dims))
    assert not result.passed
    assert "spatial_dims" in result.message


@pytest.mark.parametrize("network", ["Sound", "Deep", "Drops", "TableMadeOnTheDevice"])
def test_what_stays_on_the_device_can_be_recorded(network: str) -> None:
    check("recorded", network)


def test_a_constant_output_does_not_overfit_in_3d() -> None:
    with pytest.raises(ConformanceError, match="took the loss"):
        check("overfits", "Constant", replace(TASK, patch_size=(16, 16, 16)), spatial_dims=frozenset({3}))


@pytest.mark.slow
def test_a_graph_break_is_caught() -> None:
    with pytest.raises(ConformanceError):
        check("compiles", "DataDependentBranch")


@pytest.mark.parametrize(
    ("network", "message"),
    [("Sound", "first and the last modality"), ("LeadingButFirstIsDefault", "without a leading modality")],
)
def test_a_leading_modality_without_effect_is_caught(network: str, message: str) -> None:
    with pytest.raises(ConformanceError, match=message):
        check("leading", network, uses_leading=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"title": ""}, "title is empty"),
        ({"source": Source("")}, "names no paper"),
        ({"adapted_dims": frozenset({3})}, "adapted_dims"),
        ({"presets": {"tiny": {"nothing": 1}}}, "no option 'nothing'"),
    ],
)
def test_wrong_facts_are_caught(changes: Mapping[str, object], message: str) -> None:
    with pytest.raises(ConformanceError, match=message):
        check("facts", "Sound", **changes)


@pytest.mark.parametrize(("task", "message"), [(TASK, "251 parameters, not 5"), (None, "no official_task")])
def test_a_wrong_official_count_is_caught(task: Task | None, message: str) -> None:
    with pytest.raises(ConformanceError, match=message):
        check("official_parameters", "Sound", official_parameters=5, official_task=task)


def test_a_layer_that_steps_leave_out_at_random_is_not_dead() -> None:
    for seed in range(4):
        torch.manual_seed(seed)
        check("gradients", "Sometimes")


@pytest.mark.parametrize(
    "network", ["Sound", "Deep", "ClosedGate", "UnusedLayerDeclared", "TableMadeOnTheDevice", "Told"]
)
def test_what_keeps_the_contract_passes(network: str) -> None:
    counts = SEGMENTER.modality_counts if network == "Sound" else (2, 2)
    results = run(replace(SEGMENTER, presets={"tiny": {"network": network}}, modality_counts=counts))
    assert results
    assert [result.message for result in results if not result.passed] == []


def test_run_reports_failures_and_goes_on() -> None:
    results = run(replace(SEGMENTER, presets={"tiny": {"network": "UnusedLayer"}}, modality_counts=(2, 2)))
    assert {result.check for result in results if not result.passed} == {"gradients"}
    assert all(result.passed is not bool(result.message) for result in results)


def test_cases_span_dimensions_modalities_and_leading() -> None:
    leading = replace(SEGMENTER, uses_leading=True, spatial_dims=frozenset({2, 3}), modality_counts=(2, 8))
    found = {(c.task.spatial_dims, c.task.in_channels, c.task.leading) for c in cases(leading)}
    assert found == {(d, m, lead) for d in (2, 3) for m in (2, 4) for lead in (None, 0, m - 1)}
    assert {case.task.in_channels for case in cases(replace(SEGMENTER, modality_counts=(3, 3)))} == {3}


def test_a_refused_patch_is_replaced_by_the_official_or_a_common_one() -> None:
    picky = replace(SEGMENTER, factory=f"{__name__}:build_from_96")
    assert {case.task.patch_size for case in cases(picky)} == {(128, 128)}
    official = replace(picky, official_task=replace(TASK, patch_size=(96, 112)))
    assert {case.task.patch_size for case in cases(official)} == {(96, 112)}


def test_a_segmenter_that_refuses_everything_fails() -> None:
    (result,) = run(replace(SEGMENTER, factory=f"{__name__}:refuse"))
    assert not result.passed
    assert "refuses every patch" in result.message
    assert "128x128: never." in result.message


def test_a_factory_that_cannot_be_imported_fails() -> None:
    (result,) = run(replace(SEGMENTER, factory="nowhere.network:build"))
    assert "nowhere" in result.message


def test_the_callers_random_state_is_left_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    check("overfits", "Sound")
    assert torch.equal(torch.rand(1), expected)


def test_slow_checks_are_left_out_unless_asked_for() -> None:
    assert {check.name for check, _ in plan(SEGMENTER, slow=True)} - {check.name for check, _ in plan(SEGMENTER)} == {
        "compiles"
    }


def test_networks_images_and_labels_of_checks_come_to_a_device() -> None:
    with computing_on("meta"):
        network, images, labels = (
            synthetic.build(SEGMENTER, TASK, {}),
            synthetic.images_of(TASK),
            synthetic.target_of(TASK),
        )
        assert synthetic.perturbed(network).first.weight.is_meta
    assert images.is_meta
    assert labels.is_meta
    assert synthetic.images_of(TASK).device == torch.device("cpu")
