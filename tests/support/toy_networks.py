"""Networks of a third party that behave, crash, explode, die or cannot be built; they join through entry points."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from pydantic import Field

from harness.errors import StudyError
from harness.segmenters import Options, Segmenter, Source, Task


class ToyOptions(Options):
    """Options of the toy."""

    width: int = Field(4, ge=1, description="Channels.")
    switch: str = Field("on", description="Something an ablation can flip.")


class StartOptions(ToyOptions):
    """Options of the toy that may start from weights."""

    pretrained: str = Field("none", description="`none`, or a .safetensors file.")


def build(task, options):
    """A two-layer network with BatchNorm and dropout, so that a wrong continuation shows."""
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(task.in_channels, options.width, 3, padding=1),
        nn.BatchNorm2d(options.width),
        nn.Dropout2d(0.3),
        nn.ReLU(),
        nn.Conv2d(options.width, task.out_channels, 1),
    )


def build_started(task, options):
    """The toy, with weights to start from."""
    network = build(task, options)
    if options.pretrained != "none":
        import torch
        from safetensors.numpy import load_file

        arrays = load_file(options.pretrained)  # also when only the size of a network without memory is asked for
        network.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    return network


def build_group(task, options):
    """Nothing that couples images or draws: several processes give the numbers of one."""
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(task.in_channels, options.width, 3, padding=1),
        nn.GroupNorm(2, options.width),
        nn.ReLU(),
        nn.Conv2d(options.width, task.out_channels, 1),
    )


def _misbehaving(task, options, act):
    from torch import nn

    class Misbehaving(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = build(task, options)

        def forward(self, images):
            return act(self, self.body(images))

    return Misbehaving()


def build_leading(task, options):
    """Sees the leading modality alone; without one, all of them."""
    from torch import nn

    class Leading(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(task.in_channels if task.leading is None else 1, options.width, 3, padding=1),
                nn.GroupNorm(2, options.width),
                nn.ReLU(),
                nn.Conv2d(options.width, task.out_channels, 1),
            )

        def forward(self, images):
            if options.switch == "crash" and self.training:
                raise RuntimeError("the network fell over")
            return self.body(images if task.leading is None else images[:, task.leading : task.leading + 1])

    return Leading()


def build_alike(task, options):
    """Sees the mean of the modalities, so that none can be worth more to it than another."""
    from torch import nn

    class Alike(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, task.out_channels, 3, padding=1)
            )

        def forward(self, images):
            return self.body(images.mean(dim=1, keepdim=True))

    return Alike()


def build_slow(task, options):
    """Takes its time, so that it can be disturbed; `TOY_PAUSE=0` leaves that out where nobody does."""

    def act(module, logits):
        if module.training:
            time.sleep(float(os.environ.get("TOY_PAUSE", "0.05")))
        return logits

    return _misbehaving(task, options, act)


def build_crashing(task, options):
    def act(module, logits):
        if module.training:
            raise RuntimeError("the network fell over")
        return logits

    return _misbehaving(task, options, act)


def build_leaking(task, options):
    def act(module, logits):
        if module.training:
            raise RuntimeError(f"leaked {os.environ.get('HARNESS_TEST_SECRET')}")
        return logits

    return _misbehaving(task, options, act)


def build_exploding(task, options):
    return _misbehaving(task, options, lambda module, logits: logits * float("nan") if module.training else logits)


def build_dying(task, options):
    def act(module, logits):
        if module.training:
            os.kill(os.getpid(), signal.SIGKILL)
        return logits

    return _misbehaving(task, options, act)


def build_once(task, options):
    """Falls over unless it did so before."""
    tried = Path("toy_once_was_tried")

    def act(module, logits):
        if module.training and not tried.exists():
            tried.touch()
            raise RuntimeError("not the first time")
        return logits

    return _misbehaving(task, options, act)


def build_large(task, options):
    """Needs more memory than there is for more than one image: on a GPU 0.6 of all of it for each."""
    import torch

    def act(module, logits):
        if module.training and logits.is_cuda:
            total = torch.cuda.get_device_properties(logits.device).total_memory
            torch.empty(int(0.6 * total) * len(logits), dtype=torch.uint8, device=logits.device)
        elif module.training and len(logits) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 TiB.")
        return logits

    return _misbehaving(task, options, act)


def build_reading(task, options):
    """Reads a value back from its device, which no recording can hold; only in training, so that it can be counted."""

    def act(module, logits):
        return logits * (1 + 0 * logits.mean().item()) if module.training else logits

    return _misbehaving(task, options, act)


def build_unbuildable(task, options):
    raise StudyError("toy_unbuildable needs patch sides of 7.", hint="The nearest valid patch_size is 63 x 63.")


def translate(released, network):
    """The toy's "authors" use other names, and keep a layer that nothing uses."""
    from harness.segmenters.released import Translation

    layers = {"stem": "0", "norm": "1", "head": "4"}
    ours = {}
    for name in released:
        layer, _, rest = name.partition(".")
        if layer in layers:
            ours[f"{layers[layer]}.{rest}"] = name
    weights = {mine: released[theirs] for mine, theirs in ours.items()}
    return Translation(weights, {mine: (theirs,) for mine, theirs in ours.items()}, frozenset({"spare.weight"}))


def _segmenter(name, factory, options=ToyOptions, **more):
    return Segmenter(
        name=name,
        title=name,
        summary="A toy.",
        source=Source(paper="none"),
        factory=f"toy_networks:{factory}",
        options=options,
        presets={"tiny": {}},
        **more,
    )


TOY = _segmenter(
    "toy",
    "build",
    translator="toy_networks:translate",
    official_task=Task(("a", "b"), leading=None, out_channels=2, patch_size=(64, 64)),
)
STARTED = _segmenter("toy_started", "build_started", StartOptions, pretrained_option="pretrained")
GROUP = _segmenter("toy_group", "build_group")
LEADING = _segmenter("toy_leading", "build_leading", uses_leading=True)
ALIKE = _segmenter("toy_alike", "build_alike")
SLOW = _segmenter("toy_slow", "build_slow")
CRASHING = _segmenter("toy_crashing", "build_crashing")
LEAKING = _segmenter("toy_leaking", "build_leaking")
EXPLODING = _segmenter("toy_exploding", "build_exploding")
DYING = _segmenter("toy_dying", "build_dying")
ONCE = _segmenter("toy_once", "build_once")
LARGE = _segmenter("toy_large", "build_large")
READING = _segmenter("toy_reading", "build_reading")
UNBUILDABLE = _segmenter("toy_unbuildable", "build_unbuildable")
