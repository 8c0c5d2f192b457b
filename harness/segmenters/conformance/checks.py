"""The promises of the segmenter contract, one function each."""

import io
import math
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from harness.segmenters.conformance.elsewhere import Elsewhere
from harness.segmenters.conformance.synthetic import (
    ConformanceError,
    are_probabilities,
    as_list,
    build,
    close,
    images_of,
    loss_of,
    mode_name,
    perturbed,
    predict,
    require,
    require_finite,
    some,
    target_of,
)
from harness.segmenters.contract import Segmenter, Task
from harness.segmenters.size import measure

OVERFIT_STEPS = 30
GRADIENT_BATCHES = 16
"""Most batches until every parameter has had a gradient: a network may drop modalities or blocks at random."""
IMPORTS_TORCH = 3
"""Exit status by which the child process of :func:`check_light_import` says that torch was imported."""
OVERFIT_LEARNING_RATES = (1e-2, 1e-3)
"""Tried in turn: the first is quick, the second is for networks that the first shakes apart."""


def check_facts(segmenter: Segmenter, task: Task, options: Mapping[str, Any]) -> None:
    """Name, title, summary and paper are given; adapted dimensions are dimensions; every preset is valid."""
    del task, options
    for fact in ("name", "title", "summary"):
        require(getattr(segmenter, fact), f"its {fact} is empty.")
    require(segmenter.source.paper, "its source names no paper.")
    require(
        segmenter.adapted_dims <= segmenter.spatial_dims,
        f"adapted_dims {set(segmenter.adapted_dims)} are not among its spatial_dims.",
    )
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
    command = [sys.executable, "-P", "-c", code, segmenter.name]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode not in (0, IMPORTS_TORCH):
        raise ConformanceError(f"its declaration cannot be imported: {done.stderr.strip().splitlines()[-1]}")
    require(
        done.returncode != IMPORTS_TORCH,
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
    except RuntimeError:  # it computes with its weights as it is built, which meta tensors refuse
        network = segmenter.build(segmenter.official_task, segmenter.official_options)
    counted = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    require(
        counted == segmenter.official_parameters,
        f"the official configuration has {counted:,} parameters, not {segmenter.official_parameters:,}.",
    )


def check_size(segmenter: Segmenter, task: Task, options: Mapping[str, Any]) -> None:
    """Parameters and GFLOPs can be measured without memory or arithmetic, as ``harness plan`` does before a run."""
    size = measure(segmenter, task, segmenter.parse_options(options))
    require(
        size.parameters > 0 and size.gflops > 0, f"it measures {size.parameters} parameters and {size.gflops} GFLOPs."
    )


def check_device(segmenter: Segmenter, task: Task, options: Mapping[str, Any]) -> None:
    """Moved to a device it stays there: it uses and makes no tensor elsewhere, and reads no value back.

    The device is torch's ``meta``, which computes nothing, so that a machine without a GPU will do.
    """
    network = build(segmenter, task, options).to("meta")
    images = torch.empty(2, task.in_channels, *task.patch_size, device="meta")
    for mode in (True, False):
        elsewhere = Elsewhere()
        try:
            with torch.no_grad(), elsewhere:
                network.train(mode)(images)
        except RuntimeError as error:
            if not elsewhere.seen and "meta tensors" not in str(error):
                raise
            if not elsewhere.seen:
                raise ConformanceError(
                    f"{mode_name(mode)} it reads a value back from its device, which each step waits for: {error}",
                    hint="Compute with the tensor itself, or with sizes.",
                ) from error
        require(
            not elsewhere.seen,
            f"{mode_name(mode)} tensors are on another device, in {some(sorted(elsewhere.seen))}.",
            hint="Register them as buffers, or make them on the device of the input.",
        )


def check_output(segmenter: Segmenter, task: Task, options: Mapping[str, Any]) -> None:
    """In both modes logits are float32 of shape ``(B, K, *spatial)``, and the input is left as it was."""
    network = build(segmenter, task, options)
    images = images_of(task)
    before = images.clone()
    for mode in (True, False):
        output = predict(network.train(mode), images)
        finest = output[0] if mode and isinstance(output, list | tuple) else output
        require(isinstance(finest, Tensor), f"{mode_name(mode)} returns {type(output).__name__}, not a tensor.")
        expected = (len(images), task.out_channels, *task.patch_size)
        require(
            tuple(finest.shape) == expected,
            f"{mode_name(mode)} the output has shape {tuple(finest.shape)}, not {expected}.",
        )
        require(finest.dtype == torch.float32, f"{mode_name(mode)} the output is {finest.dtype}, not torch.float32.")
        require(torch.equal(images, before), f"{mode_name(mode)} the network writes into its input.")
        require(not are_probabilities(finest), f"{mode_name(mode)} it returns probabilities.", "Return logits.")


def check_deep_supervision(segmenter: Segmenter, task: Task, options: Mapping[str, Any]) -> None:
    """A list comes in training mode only, finest first, with a weight for each output."""
    network = build(segmenter, task, options)
    images = images_of(task)
    output = predict(network.train(), images)
    weights: Any = getattr(network, "deep_supervision_weights", None)
    if isinstance(output, Tensor):
        require(weights is None, "it declares deep_supervision_weights and returns a single tensor in training mode.")
        return
    require(
        isinstance(output, list),
        f"in training mode it returns {type(output).__name__}, not a tensor or a list of tensors.",
    )
    require(weights is not None, "it returns a list in training mode and has no attribute deep_supervision_weights.")
    require(len(weights) == len(output), f"it returns {len(output)} outputs and declares {len(weights)} weights.")
    require(
        all(math.isfinite(weight) and weight >= 0 for weight in weights) and sum(weights) > 0,
        f"its deep_supervision_weights {list(weights)} are not finite, non-negative and some positive.",
    )
    previous = task.patch_size
    for index, logits in enumerate(output):
        size = tuple(logits.shape[2:])
        require(
            tuple(logits.shape[:2]) == (len(images), task.out_channels) and len(size) == task.spatial_dims,
            f"output {index} has shape {tuple(logits.shape)}.",
        )
        require(
            all(now <= before for now, before in zip(size, previous, strict=True)),
            f"output {index} has size {size}, after {previous}: the finest comes first.",
        )
        previous = size
    require(
        tuple(output[0].shape[2:]) == task.patch_size,
        f"the first output has size {tuple(output[0].shape[2:])}, not {task.patch_size}.",
    )
    require(isinstance(predict(network.eval(), images), Tensor), "it returns a list in eval mode.")


def check_finite(segmenter: Segmenter, task: Task, options: Mapping[str, Any]) -> None:
    """Logits, loss and gradients of a fresh network are finite."""
    network = build(segmenter, task, options).train()
    output = network(images_of(task))
    require_finite("output", *as_list(output))
    loss_of(network, output, target_of(task)).backward()  # type: ignore[no-untyped-call]
    for name, parameter in network.named_parameters():
        if parameter.grad is not None:
            require_finite(f"gradient of {name}", parameter.grad)


def check_gradients(segmenter: Segmenter, task: Task, options: Mapping[str, Any]) -> None:
    """Every trainable parameter receives a gradient, but those in ``dead_parameters``, which receive none.

    Parameters are perturbed first, because networks may start with closed gates (a scale of 0) that no gradient passes.
    """
    network = perturbed(build(segmenter, task, options)).train()
    trainable = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
    declared = frozenset(getattr(network, "dead_parameters", ()))
    if unknown := sorted(declared - trainable.keys()):
        raise ConformanceError(f"dead_parameters names tensors that are not trainable parameters: {some(unknown)}.")
    reached: set[str] = set()
    for seed in range(GRADIENT_BATCHES):
        loss_of(network, network(images_of(task, seed)), target_of(task, seed)).backward()  # type: ignore[no-untyped-call]
        reached = {name for name, p in trainable.items() if p.grad is not None and bool(p.grad.any())}
        if (seed or not declared) and trainable.keys() - declared <= reached:
            break  # what is declared dead has a second batch to show life
    if silent := sorted(trainable.keys() - reached - declared):
        count = sum(trainable[name].numel() for name in silent)
        raise ConformanceError(
            f"{len(silent)} tensors ({count:,} parameters) receive no gradient: {some(silent)}.",
            hint="Remove them, or name them in the network's attribute dead_parameters.",
        )
    if alive := sorted(declared & reached):
        raise ConformanceError(f"dead_parameters names tensors that receive a gradient: {some(alive)}.")


def check_determinism(segmenter: Segmenter, task: Task, options: Mapping[str, Any]) -> None:
    """One seed gives one network, and in eval mode one input gives one output."""
    first, second = (build(segmenter, task, options).eval() for _ in range(2))
    ours, theirs = first.state_dict(), second.state_dict()
    require(ours.keys() == theirs.keys(), "built twice from one seed, it has different parameters.")
    for name, value in ours.items():
        require(
            torch.equal(value, theirs[name]),
            f"built twice from one seed, {name} differs.",
            hint="Draw from torch's global generator.",
        )
    images = images_of(task)
    output = predict(first, images)
    require(
        close(output, predict(first, images)),
        "in eval mode it gives two outputs for one input.",
        hint="Is a dropout always active?",
    )
    require(close(output, predict(second, images)), "built twice from one seed, it gives two outputs for one input.")


def check_seeds(segmenter: Segmenter, task: Task, options: Mapping[str, Any]) -> None:
    """Another seed gives another network, so that repeated cells are independent."""
    images = images_of(task)
    first, second = (predict(build(segmenter, task, options, seed=seed).eval(), images) for seed in (0, 1))
    require(not close(first, second), "built from two seeds, it gives one output.", hint="Set no seed in the factory.")


def check_batch_independence(segmenter: Segmenter, task: Task, options: Mapping[str, Any]) -> None:
    """In eval mode an image's output does not depend on the other images of the batch."""
    network = perturbed(build(segmenter, task, options)).eval()
    images = images_of(task)
    require(
        close(predict(network, images)[:1], predict(network, images[:1])),
        "in eval mode an image's output depends on the rest of the batch.",
    )


def check_modalities(segmenter: Segmenter, task: Task, options: Mapping[str, Any]) -> None:
    """Every modality has an influence on the output, and their order matters."""
    network = perturbed(build(segmenter, task, options)).eval()
    image = images_of(task)[:1]
    without = [image.clone() for _ in task.modalities]
    for index, changed in enumerate(without):
        changed[:, index] = 0.0
    rows = [image, *without, image.flip(1)]
    output, *others, reversed_ = predict(network, torch.cat(rows)).chunk(len(rows))
    for index, (name, other) in enumerate(zip(task.modalities, others, strict=True)):
        require(not close(output, other), f"channel {index} ({name}) has no influence on the output.")
    require(
        task.in_channels == 1 or not close(output, reversed_),
        "the order of the modalities has no influence on the output.",
    )


def check_present(segmenter: Segmenter, task: Task, options: Mapping[str, Any]) -> None:
    """A network that takes the modalities present ignores the others, in every image of a batch on its own."""
    network = perturbed(build(segmenter, task, options)).eval()
    if not getattr(network, "takes_present", False):
        return
    images = images_of(task)
    image = images[:1]
    # Each absent modality in three rows of one batch: it is absent, so but with another image of it, and this present.
    absences = range(task.in_channels if task.in_channels > 1 else 0)
    rows, told = [image], torch.ones(1 + 3 * len(absences), task.in_channels, device=image.device)
    for absent in absences:
        changed = image.clone()
        changed[:, absent] = torch.randn(changed[:, absent].shape)
        rows += [image, changed, changed]
        told[3 * absent + 1 : 3 * absent + 3, absent] = 0
    output, *others = predict(partial(network, present=told), torch.cat(rows)).chunk(len(rows))
    for absent in absences:
        without, changed, neighbour = others[3 * absent : 3 * absent + 3]
        require(
            close(without, changed),
            f"the image of modality {absent}, which is not present, has an influence on the output.",
        )
        require(not close(output, neighbour), "a modality absent from one image is absent from its neighbours too.")
        require(not close(output, without), f"without modality {absent} its output is the same.")
    require(
        close(output, predict(network, images)[:1]),
        "told that all modalities are present, it gives another output than told nothing.",
    )
    predict(partial(network.train(), present=torch.ones(2, task.in_channels, device=image.device)), images)


def check_leading(segmenter: Segmenter, task: Task, options: Mapping[str, Any]) -> None:
    """The leading modality changes the function computed where ``uses_leading`` says so, and only there."""
    images = images_of(task)

    def output(leading: int | None) -> Tensor:
        chosen = Task(task.modalities, leading, task.out_channels, task.patch_size)
        return predict(perturbed(build(segmenter, chosen, options)).eval(), images)

    none, last = output(None), output(task.in_channels - 1)
    if not segmenter.uses_leading:
        require(close(none, last), "the leading modality changes its output, but it does not declare uses_leading.")
        return
    first = output(0)
    require(
        not close(first, last),
        "it declares uses_leading, but its output is the same for the first and the last modality leading.",
    )
    require(
        not close(none, first),
        "it declares uses_leading, but without a leading modality its output is the same as with the first.",
    )


def check_state_dict(segmenter: Segmenter, task: Task, options: Mapping[str, Any]) -> None:
    """A saved state dict, loaded without pickled code into another network, gives the same outputs."""
    images = images_of(task)
    saved = perturbed(build(segmenter, task, options)).train()
    with torch.no_grad():
        saved(images)  # moves running statistics away from their start
    file = io.BytesIO()
    torch.save(saved.state_dict(), file)
    file.seek(0)
    loaded = build(segmenter, task, options, seed=1)
    loaded.load_state_dict(torch.load(file, weights_only=True))
    require(
        close(predict(saved.eval(), images), predict(loaded.eval(), images)),
        "after a state dict's round trip the output differs.",
        hint="Is a buffer not registered?",
    )


def check_autocast(segmenter: Segmenter, task: Task, options: Mapping[str, Any]) -> None:
    """Under bfloat16 autocast logits and gradients are finite."""
    network = build(segmenter, task, options).train()
    images = images_of(task)
    with torch.autocast(images.device.type, dtype=torch.bfloat16):
        output = network(images)
    require_finite("output under autocast", *as_list(output))
    loss_of(network, output, target_of(task)).backward()  # type: ignore[no-untyped-call]
    for name, parameter in network.named_parameters():
        if parameter.grad is not None:
            require_finite(f"gradient of {name} under autocast", parameter.grad)


def check_overfits(segmenter: Segmenter, task: Task, options: Mapping[str, Any]) -> None:
    """Within a few steps of Adam the loss on one batch of two blobs falls by half."""
    images, target = images_of(task), target_of(task)
    ends = []
    for learning_rate in OVERFIT_LEARNING_RATES:
        network = build(segmenter, task, options).train()
        optimiser = torch.optim.Adam(network.parameters(), lr=learning_rate)
        losses: list[float] = []
        while len(losses) <= OVERFIT_STEPS:
            loss = loss_of(network, network(images), target)
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
    network = build(segmenter, task, options)
    images = images_of(task)
    torch.compiler.reset()
    try:
        compiled = torch.compile(network, backend="eager", fullgraph=True)
        network.train()
        compiled(images)
        network.eval()
        require(close(predict(network, images), predict(compiled, images)), "compiled, it gives another output.")
    finally:
        torch.compiler.reset()
