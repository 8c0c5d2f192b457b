"""Another encoder as the leading branch: any of ``segmentation_models_pytorch``, option ``leading_encoder: smp/NAME``.

The authors say that the leading branch's encoder is meant to be easy to swap. Such an encoder runs on its own, from the
leading modality alone, while T-CFAF expects to sit inside every level and to hand its result down. Both hold here:

- the encoder runs once, and each of its stages at 1/2, 1/4, 1/8 and 1/16 of the patch's sides is brought to the level's
  channels by a 1x1 convolution, batch norm and ReLU (its adapter);
- level l receives the native strided entry of level l - 1's *fused* map **plus** the adapted stage. What T-CFAF found
  at one level so flows down to the next, as in the native branch;
- the native residual groups, whose place the encoder takes, shrink to their two entry convolutions and their shortcut.

An encoder without a stage at 1/2 (``mit_b*`` and most transformers start at 1/4) is handled by the same rule: the
first level's native entry, a 7x7 convolution of the leading modality, is then alone. Stages deeper than 1/16 are not
used, and what would never get a gradient is taken out, so that the network's size is honest.
"""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._guards import detect_fake_mode
from torch._subclasses.fake_tensor import unset_fake_temporarily

from aahn.blocks import ResidualGroup, conv_bn_relu
from aahn.leading_branch import LeadingLevel, native_entries
from aahn.options import LEVELS, AAHNOptions
from harness.errors import StudyError, did_you_mean

PREFIX = "smp/"
PROBE_SIDE = 64  # of the image that finds parameters without a use


class EncoderLeadingBranch(nn.Module):
    """Four levels of ``width * 2^l`` channels, each fed by a stage of an encoder that runs on its own.

    Args:
        in_channels: Channels of the leading input.
        options: ``leading_encoder``, ``leading_weights`` and the widths.

    Raises:
        StudyError: The encoder is unknown, or its weights are not on this disk.
    """

    def __init__(self, in_channels: int, options: AAHNOptions) -> None:
        super().__init__()
        widths = [options.width << level for level in range(LEVELS)]
        name = options.leading_encoder.removeprefix(PREFIX)
        self.encoder = _build_in_place(name, in_channels, options.leading_weights)
        stage_channels: list[int] = list(self.encoder.out_channels)[1 : LEVELS + 1]  # type: ignore[arg-type]
        self.adapters = nn.ModuleList(
            conv_bn_relu(channels, width, kernel=1, bias=False) if channels else nn.Identity()
            for channels, width in zip(stage_channels, widths, strict=True)
        )
        self.present = [channels > 0 for channels in stage_channels]
        self.levels = nn.ModuleList(
            LeadingLevel(entry, ResidualGroup(width, width, 0))
            for entry, width in zip(native_entries(in_channels, widths), widths, strict=True)
        )

    def stages(self, x: Tensor) -> list[Tensor | None]:
        """Maps ``(B, in, H, W)`` to ``(B, width * 2^l, H / 2^(l+1), W / 2^(l+1))``, l = 0..3; None for no stage."""
        maps = self.encoder(x)[1:]
        return [
            adapter(stage) if present else None
            for adapter, stage, present in zip(self.adapters, maps, self.present, strict=True)
        ]


class _Unused(nn.Module):
    """Stands where a module was that nothing used depends on; an encoder may still call it."""

    def forward(self, x: Tensor, *_: Any) -> Tensor:
        return x


def _build_in_place(name: str, in_channels: int, weights: str) -> nn.Module:
    """Returns the encoder where modules are being built now, be it the meta device or fake tensors.

    It is filled, and probed for unused parameters, in real memory; some encoders cannot even be built without values.
    """
    fake = detect_fake_mode()
    with unset_fake_temporarily(), torch.device("cpu"):
        encoder = _build_encoder(name, in_channels, weights)
    if fake is not None:
        encoder._apply(fake.from_tensor)  # type: ignore[no-untyped-call]
        return encoder
    return encoder.to(torch.get_default_device())


def _build_encoder(name: str, in_channels: int, weights: str) -> nn.Module:
    """Returns the encoder down to 1/16, with pretrained weights if named, without unused parameters."""
    # Takes seconds, and only studies that name such an encoder need it.
    from segmentation_models_pytorch.encoders import encoders as known
    from segmentation_models_pytorch.encoders import get_encoder

    if name not in known and not name.startswith("tu-"):
        raise StudyError(f"aahn: unknown leading encoder '{PREFIX}{name}'.", hint=did_you_mean(name, known))
    try:
        encoder: nn.Module = get_encoder(name, in_channels=3, depth=LEVELS, weights=None)
    except (KeyError, ValueError, RuntimeError) as error:
        raise StudyError(
            f"aahn: the leading encoder '{PREFIX}{name}' cannot be built: {error}",
            hint="It must offer stages at 1/2 (or none there), 1/4, 1/8 and 1/16 of the image.",
        ) from error
    if weights != "none":
        settings = known.get(name, {}).get("pretrained_settings", {}).get("imagenet", {})
        _load_weights(encoder, name, _find_weights(name, weights, settings))
    if in_channels != 3:  # a pretrained first convolution is summed over or repeated along the channels
        encoder.set_in_channels(in_channels, pretrained=weights != "none")  # type: ignore[operator]
    _drop_unused(encoder, in_channels)
    return encoder


def pretrained_file(options: AAHNOptions) -> Path:
    """Returns the file of the leading encoder's pretrained weights on this disk.

    Raises:
        StudyError: It is not there.
    """
    from segmentation_models_pytorch.encoders import encoders as known

    name = options.leading_encoder.removeprefix(PREFIX)
    settings = known.get(name, {}).get("pretrained_settings", {}).get("imagenet", {})
    return _find_weights(name, options.leading_weights, settings)


def _find_weights(name: str, weights: str, settings: Mapping[str, str]) -> Path:
    """Returns the file of pretrained weights; never downloads one.

    Args:
        name: The encoder's name.
        weights: ``imagenet`` or a path.
        settings: Repository and revision of the encoder's ImageNet weights on Hugging Face.
    """
    if weights != "imagenet":
        path = Path(weights).expanduser()
        if not path.is_file():
            raise StudyError(
                f"aahn: leading_weights '{weights}' is neither `none` nor `imagenet` nor a file.",
                hint="Give the path of a .safetensors file or of a state dict saved by torch.",
            )
        return path
    hub = Path(torch.hub.get_dir()) / "checkpoints"
    if "repo_id" in settings:
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(settings["repo_id"], "model.safetensors", revision=settings.get("revision"))
        if isinstance(cached, str):
            return Path(cached)
    for candidate in sorted(hub.glob(f"{name}-*.pth")):
        return candidate
    where = f"{settings['repo_id']} in the Hugging Face cache, or " if "repo_id" in settings else ""
    raise StudyError(
        f"aahn: no ImageNet weights of '{name}' are on this disk, and none are ever downloaded.",
        hint=f"Put them there yourself ({where}{hub}/{name}-*.pth), or give a file's path as leading_weights.",
    )


def _load_weights(encoder: nn.Module, name: str, path: Path) -> None:
    """Loads every tensor of the encoder from a file; classifier heads in the file are ignored."""
    expected = encoder.state_dict()
    given = _read(path)
    lacking = [key for key, tensor in expected.items() if key not in given or given[key].shape != tensor.shape]
    if lacking:
        raise StudyError(
            f"aahn: {path} does not hold the weights of '{name}': {len(lacking)} of {len(expected)} entries are "
            f"missing or of another shape, e.g. {lacking[0]}.",
            hint="Expected are the entry names of segmentation_models_pytorch.",
        )
    nn.Module.load_state_dict(encoder, {key: given[key] for key in expected})


def _read(path: Path) -> Mapping[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken file shows itself in many ways; each ends here
        raise StudyError(f"aahn: leading_weights {path} cannot be read: {error}", hint="Is it a state dict?") from error
    if not isinstance(content, dict):
        raise StudyError(f"aahn: leading_weights {path} holds no state dict.", hint="Expected is name -> tensor.")
    return content


@torch.enable_grad()
def _drop_unused(encoder: nn.Module, in_channels: int) -> None:
    """Replaces the modules that no used stage depends on by identities; they would be built and never trained."""
    training = encoder.training
    maps = encoder.eval()(torch.zeros(1, in_channels, PROBE_SIDE, PROBE_SIDE))[1:]
    functools.reduce(torch.add, [stage.sum() for stage in maps if stage.shape[1]]).backward()
    for path, module in list(encoder.named_modules()):
        parameters = list(module.parameters())
        if path and parameters and all(parameter.grad is None for parameter in parameters):
            parent, _, child = path.rpartition(".")
            setattr(encoder.get_submodule(parent), child, _Unused())
    encoder.zero_grad(set_to_none=True)
    encoder.train(training)
