"""The conformance suite: whether a network keeps the segmenter contract.

It serves our networks and anybody else's, and knows none by name. From pytest::

    @pytest.mark.parametrize(("check", "case"), conformance.plan(SEGMENTER), ids=str)
    def test_conformance(check, case):
        check(SEGMENTER, case.task, case.options)

What a network may declare besides the contract of :class:`harness.segmenters.contract.Segmenter`:

``dead_parameters: frozenset[str]``
    Names, as in ``named_parameters()``, of the parameters that never receive a gradient in this configuration, kept for
    the sake of somebody's checkpoints or of parity with published counts. Every other parameter must receive one, and
    these must not. A parameter whose effect a following normalisation cancels (the bias of a convolution before an
    instance norm) receives rounding noise and counts as alive.

All checks run on the CPU, in small cases, from fixed seeds; the caller's random state is left as it was.
"""

from __future__ import annotations

import io
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.errors import HarnessError, StudyError
from harness.segmenters.contract import Segmenter, Task

__all__ = ["CHECKS", "Case", "Check", "CheckResult", "ConformanceError", "cases", "plan", "run"]

MODALITY_COUNTS = (1, 2, 4)
CLASSES = 3
SIDES = {2: 64, 3: 32}
"""Side of the patch by dimension; where a network refuses it, its official patch or ``FALLBACK_SIDE`` is taken."""
FALLBACK_SIDE = 128
OVERFIT_STEPS = 30
IMPORTS_TORCH = 3
"""Exit status by which the child process of :func:`check_light_import` says that torch was imported."""
OVERFIT_LEARNING_RATES = (1e-2, 1e-3)
"""Tried in turn: the first is quick, the second is for networks that the first shakes apart."""


class ConformanceError(HarnessError):
    """A network breaks the segmenter contract."""


@dataclass(frozen=True)
class Case:
    """What one check builds a network for.

    Attributes:
        task: What to segment.
        options: Options as a study would give them.
    """

    task: Task
    options: Mapping[str, Any]

    def __str__(self) -> str:
        size = "x".join(map(str, self.task.patch_size))
        leading = "" if self.task.leading is None else f"-lead{self.task.leading}"
        return f"{size}-{self.task.in_channels}mod{leading}"


@dataclass(frozen=True)
class Check:
    """One promise of the contract.

    Calling it raises :class:`ConformanceError` where the promise is broken, or where anything else goes wrong.

    Attributes:
        name: Short name, for reports and test ids.
        function: Raises where the promise is broken.
        scope: Whether every case is worth its time, or one of each dimension, or a single one.
        slow: Whether it takes so long that it is left out unless asked for.
        min_modalities: Number of modalities without which there is nothing to check.
    """

    name: str
    function: Callable[[Segmenter, Task, Mapping[str, Any]], None]
    scope: Literal["case", "dimension", "segmenter"] = "case"
    slow: bool = False
    min_modalities: int = 1

    def __call__(self, segmenter: Segmenter, task: Task, options: Mapping[str, Any]) -> None:
        """Runs the check on one case.

        Raises:
            ConformanceError: The promise is broken; the message names segmenter, check and case.
        """
        where = f"{segmenter.name}, {self.name}, {Case(task, options)}"
        with torch.random.fork_rng(devices=[]):
            try:
                self.function(segmenter, task, options)
            except ConformanceError as error:
                raise ConformanceError(f"{where}: {error.message}", hint=error.hint) from error
            except Exception as error:
                raise ConformanceError(f"{where}: {type(error).__name__}: {error}") from error

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class CheckResult:
    """How one check went on one case.

    Attributes:
        check: The check's name.
        case: The case, in short.
        passed: Whether the promise is kept.
        message: What is wrong; empty where the check passed.
        seconds: Time taken.
    """

    check: str
    case: str
    passed: bool
    message: str
    seconds: float


def cases(segmenter: Segmenter) -> list[Case]:
    """Returns the cases a segmenter is checked on.

    They span its dimensions, 1, 2 and 4 modalities as far as it takes them, and no, the first and the last leading
    modality where the leading modality matters. They use its preset ``tiny`` where it has one. Within a dimension the
    last case is the richest.

    Raises:
        ConformanceError: No patch size that was tried can be built.
    """
    options = {"preset": "tiny"} if "tiny" in segmenter.presets else {}
    low, high = segmenter.modality_counts
    counts = [count for count in MODALITY_COUNTS if low <= count <= high] or [low]
    found = []
    for dims in sorted(segmenter.spatial_dims):
        patch_size = _valid_patch(segmenter, dims, counts[-1], options)
        for count in counts:
            names = tuple(f"modality{index}" for index in range(count))
            leadings = dict.fromkeys([None, 0, count - 1]) if segmenter.uses_leading else [None]
            found += [Case(Task(names, leading, CLASSES, patch_size), options) for leading in leadings]
    return found


def plan(segmenter: Segmenter, *, slow: bool = False) -> list[tuple[Check, Case]]:
    """Returns every check with every case it is worth running on.

    Args:
        segmenter: What to check.
        slow: Whether to include the slow checks.

    Raises:
        ConformanceError: No patch size that was tried can be built.
    """
    found = cases(segmenter)
    richest = {case.task.spatial_dims: case for case in found}
    chosen = {"case": found, "dimension": list(richest.values()), "segmenter": found[-1:]}
    return [
        (check, case)
        for check in CHECKS
        if slow or not check.slow
        for case in chosen[check.scope]
        if case.task.in_channels >= check.min_modalities
    ]


def run(segmenter: Segmenter, *, slow: bool = False) -> list[CheckResult]:
    """Runs the suite on a segmenter and reports every result, good or bad.

    Args:
        segmenter: What to check.
        slow: Whether to include the slow checks.
    """
    started = time.perf_counter()
    try:
        todo = plan(segmenter, slow=slow)
    except HarnessError as error:
        return [CheckResult("builds", "", False, str(error), time.perf_counter() - started)]
    results = []
    for check, case in todo:
        started = time.perf_counter()
        message = ""
        try:
            check(segmenter, case.task, case.options)
        except ConformanceError as error:
            message = str(error)
        results.append(CheckResult(check.name, str(case), not message, message, time.perf_counter() - started))
    return results


# --- checks -----------------------------------------------------------------------------------------------------------


def check_facts(segmenter: Segmenter, task: Task, options: Mapping[str, Any]) -> None:
    """Name, title, summary and paper are given; adapted dimensions are dimensions; every preset is valid."""
    del task, options
    for fact in ("name", "title", "summary"):
        if not getattr(segmenter, fact):
            raise ConformanceError(f"its {fact} is empty.")
    if not segmenter.source.paper:
        raise ConformanceError("its source names no paper.")
    if not segmenter.adapted_dims <= segmenter.spatial_dims:
        raise ConformanceError(f"adapted_dims {set(segmenter.adapted_dims)} are not among its spatial_dims.")
    for preset in segmenter.presets:
        segmenter.parse_options({"preset": preset})


def check_light_import(segmenter: Segmenter, task: Task, options: Mapping[str, Any]) -> None:
    """Declaring the segmenter imports no torch, so that studies are listed and checked quickly."""
    del task, options
    code = (
        "import sys; from harness.segmenters import SEGMENTERS; name = sys.argv[1]; "
        f"name in SEGMENTERS.names() and SEGMENTERS.get(name); sys.exit({IMPORTS_TORCH} * ('torch' in sys.modules))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", code, segmenter.name]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode not in (0, IMPORTS_TORCH):
        raise ConformanceError(f"its declaration cannot be imported: {done.stderr.strip().splitlines()[-1]}")
    if done.returncode == IMPORTS_TORCH:
        raise ConformanceError(
            "its declaration imports torch.",
            hint="Import torch in the module of the factory, not in the declaration's.",
        )


def check_official_parameters(segmenter: Segmenter, task: Task, options: Mapping[str, Any]) -> None:
    """The authors' configuration has as many trainable parameters as declared."""
    del task, options
    if segmenter.official_parameters is None:
        return
    if segmenter.official_task is None:
        raise ConformanceError("it declares official_parameters, but no official_task to count them in.")
    try:
        with torch.device("meta"):
            network = segmenter.build(segmenter.official_task, segmenter.official_options)
    except (
        NotImplementedError,
        RuntimeError,
    ):  # it computes with its weights as it is built, which meta tensors refuse
        network = segmenter.build(segmenter.official_task, segmenter.official_options)
    counted = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    if counted != segmenter.official_parameters:
        raise ConformanceError(
            f"the official configuration has {counted:,} parameters, not {segmenter.official_parameters:,}."
        )


def check_output(segmenter: Segmenter, task: Task, options: Mapping[str, Any]) -> None:
    """In both modes logits are float32 of shape ``(B, K, *spatial)``, and the input is left as it was."""
    network = _build(segmenter, task, options)
    images = _images(task)
    before = images.clone()
    for mode in (True, False):
        output = network.train(mode)(images)
        finest = output[0] if mode and isinstance(output, list | tuple) else output
        if not isinstance(finest, Tensor):
            raise ConformanceError(f"{_mode(mode)} returns {type(output).__name__}, not a tensor.")
        expected = (len(images), task.out_channels, *task.patch_size)
        if tuple(finest.shape) != expected:
            raise ConformanceError(f"{_mode(mode)} the output has shape {tuple(finest.shape)}, not {expected}.")
        if finest.dtype != torch.float32:
            raise ConformanceError(f"{_mode(mode)} the output is {finest.dtype}, not torch.float32.")
        if not torch.equal(images, before):
            raise ConformanceError(f"{_mode(mode)} the network writes into its input.")


def check_deep_supervision(segmenter: Segmenter, task: Task, options: Mapping[str, Any]) -> None:
    """A list comes in training mode only, finest first, with a weight for each output."""
    network = _build(segmenter, task, options)
    images = _images(task)
    output = network.train()(images)
    weights = getattr(network, "deep_supervision_weights", None)
    if isinstance(output, Tensor):
        if weights is not None:
            raise ConformanceError("it declares deep_supervision_weights and returns a single tensor in training mode.")
        return
    if not isinstance(output, list):
        raise ConformanceError(
            f"in training mode it returns {type(output).__name__}, not a tensor or a list of tensors."
        )
    if weights is None:
        raise ConformanceError("it returns a list in training mode and has no attribute deep_supervision_weights.")
    if len(weights) != len(output):
        raise ConformanceError(f"it returns {len(output)} outputs and declares {len(weights)} weights.")
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights) or sum(weights) <= 0:
        raise ConformanceError(
            f"its deep_supervision_weights {list(weights)} are not finite, non-negative and some positive."
        )
    previous = task.patch_size
    for index, logits in enumerate(output):
        size = tuple(logits.shape[2:])
        if tuple(logits.shape[:2]) != (len(images), task.out_channels) or len(size) != task.spatial_dims:
            raise ConformanceError(f"output {index} has shape {tuple(logits.shape)}.")
        if any(now > before for now, before in zip(size, previous, strict=True)):
            raise ConformanceError(f"output {index} has size {size}, after {previous}: the finest comes first.")
        previous = size
    if tuple(output[0].shape[2:]) != task.patch_size:
        raise ConformanceError(f"the first output has size {tuple(output[0].shape[2:])}, not {task.patch_size}.")
    if not isinstance(network.eval()(images), Tensor):
        raise ConformanceError("it returns a list in eval mode.")


def check_finite(segmenter: Segmenter, task: Task, options: Mapping[str, Any]) -> None:
    """Logits, loss and gradients of a fresh network are finite."""
    network = _build(segmenter, task, options).train()
    output = network(_images(task))
    _require_finite("output", *_as_list(output))
    _loss(network, output, _target(task)).backward()  # type: ignore[no-untyped-call]
    for name, parameter in network.named_parameters():
        if parameter.grad is not None:
            _require_finite(f"gradient of {name}", parameter.grad)


def check_gradients(segmenter: Segmenter, task: Task, options: Mapping[str, Any]) -> None:
    """Every trainable parameter receives a gradient, but those in ``dead_parameters``, which receive none.

    Parameters are perturbed first, because networks may start with closed gates (a scale of 0) that no gradient passes.
    """
    network = _perturbed(_build(segmenter, task, options)).train()
    for seed in range(2):
        _loss(network, network(_images(task, seed)), _target(task, seed)).backward()  # type: ignore[no-untyped-call]
    trainable = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
    declared = frozenset(getattr(network, "dead_parameters", ()))
    if unknown := sorted(declared - trainable.keys()):
        raise ConformanceError(f"dead_parameters names what is no trainable parameter: {_some(unknown)}.")
    reached = {name for name, p in trainable.items() if p.grad is not None and bool(p.grad.any())}
    if silent := sorted(trainable.keys() - reached - declared):
        count = sum(trainable[name].numel() for name in silent)
        raise ConformanceError(
            f"{len(silent)} tensors ({count:,} parameters) receive no gradient: {_some(silent)}.",
            hint="Remove them, or name them in the network's attribute dead_parameters.",
        )
    if alive := sorted(declared & reached):
        raise ConformanceError(f"dead_parameters names what receives a gradient: {_some(alive)}.")


def check_determinism(segmenter: Segmenter, task: Task, options: Mapping[str, Any]) -> None:
    """One seed gives one network, and in eval mode one input gives one output."""
    first, second = (_build(segmenter, task, options).eval() for _ in range(2))
    ours, theirs = first.state_dict(), second.state_dict()
    if ours.keys() != theirs.keys():
        raise ConformanceError("built twice from one seed, it has different parameters.")
    for name, value in ours.items():
        if not torch.equal(value, theirs[name]):
            raise ConformanceError(
                f"built twice from one seed, {name} differs.", hint="Draw from torch's global generator."
            )
    images = _images(task)
    output = _predict(first, images)
    if not _close(output, _predict(first, images)):
        raise ConformanceError("in eval mode it gives two outputs for one input.", hint="Is a dropout always active?")
    if not _close(output, _predict(second, images)):
        raise ConformanceError("built twice from one seed, it gives two outputs for one input.")


def check_seeds(segmenter: Segmenter, task: Task, options: Mapping[str, Any]) -> None:
    """Another seed gives another network, so that repeated cells are independent."""
    images = _images(task)
    first, second = (_predict(_build(segmenter, task, options, seed=seed).eval(), images) for seed in (0, 1))
    if _close(first, second):
        raise ConformanceError("built from two seeds, it gives one output.", hint="Set no seed in the factory.")


def check_batch_independence(segmenter: Segmenter, task: Task, options: Mapping[str, Any]) -> None:
    """In eval mode an image's output does not depend on the other images of the batch."""
    network = _perturbed(_build(segmenter, task, options)).eval()
    images = _images(task)
    if not _close(_predict(network, images)[:1], _predict(network, images[:1])):
        raise ConformanceError("in eval mode an image's output depends on the rest of the batch.")


def check_modalities(segmenter: Segmenter, task: Task, options: Mapping[str, Any]) -> None:
    """Every modality has an influence on the output, and their order matters."""
    network = _perturbed(_build(segmenter, task, options)).eval()
    images = _images(task)
    output = _predict(network, images)
    for index, name in enumerate(task.modalities):
        without = images.clone()
        without[:, index] = 0.0
        if _close(output, _predict(network, without)):
            raise ConformanceError(f"channel {index} ({name}) has no influence on the output.")
    if task.in_channels > 1 and _close(output, _predict(network, images.flip(1))):
        raise ConformanceError("the order of the modalities has no influence on the output.")


def check_leading(segmenter: Segmenter, task: Task, options: Mapping[str, Any]) -> None:
    """The leading modality changes the function computed where ``uses_leading`` says so, and only there."""
    images = _images(task)
    outputs = {}
    for leading in (None, 0, task.in_channels - 1):
        chosen = Task(task.modalities, leading, task.out_channels, task.patch_size)
        outputs[leading] = _predict(_perturbed(_build(segmenter, chosen, options)).eval(), images)
    none, first, last = outputs.values()
    if segmenter.uses_leading:
        if _close(first, last):
            raise ConformanceError("it declares uses_leading, and the first or the last modality leading is all one.")
        if _close(none, first):
            raise ConformanceError("it declares uses_leading, and no leading modality equals the first one leading.")
    elif not (_close(none, first) and _close(none, last)):
        raise ConformanceError("the leading modality changes its output, and it does not declare uses_leading.")


def check_state_dict(segmenter: Segmenter, task: Task, options: Mapping[str, Any]) -> None:
    """A saved state dict, loaded without pickled code into another network, gives the same outputs."""
    images = _images(task)
    saved = _perturbed(_build(segmenter, task, options)).train()
    with torch.no_grad():
        saved(images)  # moves running statistics away from their start
    file = io.BytesIO()
    torch.save(saved.state_dict(), file)
    file.seek(0)
    loaded = _build(segmenter, task, options, seed=1)
    loaded.load_state_dict(torch.load(file, weights_only=True))
    if not _close(_predict(saved.eval(), images), _predict(loaded.eval(), images)):
        raise ConformanceError(
            "after a state dict's round trip the output differs.", hint="Is a buffer not registered?"
        )


def check_autocast(segmenter: Segmenter, task: Task, options: Mapping[str, Any]) -> None:
    """Under bfloat16 autocast logits and gradients are finite."""
    network = _build(segmenter, task, options).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = network(_images(task))
    _require_finite("output under autocast", *_as_list(output))
    _loss(network, output, _target(task)).backward()  # type: ignore[no-untyped-call]
    for name, parameter in network.named_parameters():
        if parameter.grad is not None:
            _require_finite(f"gradient of {name} under autocast", parameter.grad)


def check_overfits(segmenter: Segmenter, task: Task, options: Mapping[str, Any]) -> None:
    """Within a few steps of Adam the loss on one batch of two blobs falls by half."""
    images, target = _images(task), _target(task)
    ends = []
    for learning_rate in OVERFIT_LEARNING_RATES:
        network = _build(segmenter, task, options).train()
        optimiser = torch.optim.Adam(network.parameters(), lr=learning_rate)
        losses: list[float] = []
        while len(losses) <= OVERFIT_STEPS:
            loss = _loss(network, network(images), target)
            losses.append(loss.item())
            if losses[-1] <= losses[0] / 2:
                return
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        ends.append(f"from {losses[0]:.3f} to {losses[-1]:.3f} at a learning rate of {learning_rate}")
    raise ConformanceError(f"on one batch, {OVERFIT_STEPS} steps of Adam took the loss {' and '.join(ends)}.")


def check_compiles(segmenter: Segmenter, task: Task, options: Mapping[str, Any]) -> None:
    """``torch.compile`` captures one whole graph in either mode, and it computes the same."""
    network = _build(segmenter, task, options)
    images = _images(task)
    torch.compiler.reset()
    try:
        compiled = torch.compile(network, backend="eager", fullgraph=True)
        network.train()
        compiled(images)
        network.eval()
        if not _close(_predict(network, images), _predict(compiled, images)):
            raise ConformanceError("compiled, it gives another output.")
    finally:
        torch.compiler.reset()


CHECKS: tuple[Check, ...] = (
    Check("facts", check_facts, scope="segmenter"),
    Check("light_import", check_light_import, scope="segmenter"),
    Check("official_parameters", check_official_parameters, scope="segmenter"),
    Check("output", check_output),
    Check("deep_supervision", check_deep_supervision),
    Check("finite", check_finite),
    Check("gradients", check_gradients),
    Check("determinism", check_determinism),
    Check("seeds", check_seeds, scope="dimension"),
    Check("batch_independence", check_batch_independence),
    Check("modalities", check_modalities),
    Check("leading", check_leading, scope="dimension", min_modalities=2),
    Check("state_dict", check_state_dict),
    Check("autocast", check_autocast, scope="dimension"),
    Check("overfits", check_overfits, scope="dimension"),
    Check("compiles", check_compiles, scope="dimension", slow=True),
)
"""Every check, cheapest promises first."""


# --- what the checks share --------------------------------------------------------------------------------------------


def _valid_patch(segmenter: Segmenter, dims: int, modalities: int, options: Mapping[str, Any]) -> tuple[int, ...]:
    """Returns the first patch size the segmenter can be built for: a small one, its official one, a common one."""
    official = segmenter.official_task
    candidates = [(SIDES.get(dims, FALLBACK_SIDE),) * dims, (FALLBACK_SIDE,) * dims]
    if official is not None and official.spatial_dims == dims:
        candidates.insert(1, official.patch_size)
    names = tuple(f"modality{index}" for index in range(modalities))
    refusals = []
    for patch_size in candidates:
        try:
            _build(segmenter, Task(names, 0 if segmenter.uses_leading else None, CLASSES, patch_size), options)
        except StudyError as error:
            refusals.append(f"{'x'.join(map(str, patch_size))}: {error.message}")
        except Exception as error:
            raise ConformanceError(f"{segmenter.name} cannot be built: {type(error).__name__}: {error}") from error
        else:
            return patch_size
    raise ConformanceError(
        f"{segmenter.name} declares {dims}D and refuses every patch that was tried ({'; '.join(refusals)}).",
        hint="Give it an official_task with a patch size it accepts.",
    )


def _build(segmenter: Segmenter, task: Task, options: Mapping[str, Any], seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return segmenter.build(task, options)


def _perturbed(network: nn.Module) -> nn.Module:
    """Adds small noise to every parameter, which opens gates that start closed."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.02)
    return network


def _target(task: Task, seed: int = 0, batch: int = 2) -> Tensor:
    """Returns labels ``(B, *spatial)``: background and one blob of each foreground class, along the diagonal.

    Blobs are large enough that their frequencies alone, without their places, explain less than half of the loss.
    """
    generator = torch.Generator().manual_seed(seed)
    grid = torch.stack(torch.meshgrid(*(torch.linspace(0, 1, side) for side in task.patch_size), indexing="ij"), dim=-1)
    labels = torch.zeros(batch, *task.patch_size, dtype=torch.long)
    for image in labels:
        for label in range(1, task.out_channels):
            centre = label / task.out_channels + 0.1 * (torch.rand(task.spatial_dims, generator=generator) - 0.5)
            image[(grid - centre).norm(dim=-1) < 0.1 * task.spatial_dims] = label
    return labels


def _images(task: Task, seed: int = 0, batch: int = 2) -> Tensor:
    """Returns images ``(B, M, *spatial)``: the blobs of :func:`_target` in noise, each modality in its own contrast."""
    generator = torch.Generator().manual_seed(1000 + seed)
    labels = _target(task, seed, batch)
    channels = [torch.rand(task.out_channels, generator=generator)[labels] for _ in task.modalities]
    contrast = torch.stack(channels, dim=1) * 4 - 2
    return contrast + 0.3 * torch.randn(contrast.shape, generator=generator)


def _loss(network: nn.Module, output: Tensor | list[Tensor], target: Tensor) -> Tensor:
    """Returns the cross-entropy, weighted over outputs where there are several; an output of weight 0 has no part."""
    if isinstance(output, Tensor):
        return functional.cross_entropy(output.float(), target)
    weights: list[float] = network.deep_supervision_weights  # type: ignore[assignment]
    terms = []
    for logits, weight in zip(output, weights, strict=True):
        if weight > 0:
            resized = functional.interpolate(target[:, None].float(), logits.shape[2:], mode="nearest-exact")
            terms.append(weight * functional.cross_entropy(logits.float(), resized[:, 0].long()))
    return torch.stack(terms).sum()


def _predict(network: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    with torch.no_grad():
        return network(images)


def _as_list(output: Tensor | list[Tensor]) -> list[Tensor]:
    return [output] if isinstance(output, Tensor) else list(output)


def _close(one: Tensor, other: Tensor) -> bool:
    """Whether two outputs differ by no more than the rounding of another order of summation."""
    tolerance = 1e-4 * max(float(one.abs().max()), 1e-6)
    return one.shape == other.shape and bool(torch.allclose(one, other, rtol=0.0, atol=tolerance))


def _require_finite(what: str, *tensors: Tensor) -> None:
    if not all(bool(tensor.isfinite().all()) for tensor in tensors):
        raise ConformanceError(f"the {what} is not finite.")


def _some(names: list[str], most: int = 4) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def _mode(training: bool) -> str:
    return "in training mode" if training else "in eval mode"
