"""Parts of the authors' training recipes, as differences from protocol ``paper``.

A recipe is given as far as a protocol can say it; what it cannot say (a loss on overlapping regions, an augmentation
that batchgeneratorsv2 has not) is named beside the recipe. Epochs are the authors'; steps per epoch stay the
protocol's, since theirs depend on the size of their dataset.
"""

from collections.abc import Mapping
from typing import Any

#: Switches off what protocol ``paper`` does to patches.
NO_AUGMENTATION: Mapping[str, Any] = {
    "p_rotation": 0,
    "p_scale": 0,
    "p_noise": 0,
    "p_blur": 0,
    "p_brightness": 0,
    "p_contrast": 0,
    "p_low_resolution": 0,
    "p_gamma": 0,
    "p_gamma_inverted": 0,
    "mirror_axes": (),
}

#: nnU-Net's: SGD 1e-2, 1000 epochs; loss, schedule, clipping and augmentation are those of protocol ``paper``, which is
#: built on nnU-Net v1.
NNUNET: Mapping[str, Any] = {
    "training": {"epochs": 1000, "optimiser": {"lr": 1e-2}, "restart_if_dead_at": None},
}


def recipe(
    *,
    batch_size: int,
    epochs: int,
    optimiser: Mapping[str, Any],
    schedule: Mapping[str, Any],
    loss: Mapping[str, Any],
    augmentation: Mapping[str, Any],
    foreground: float = 0.0,
) -> dict[str, Any]:
    """Returns a recipe that shares nothing with nnU-Net's.

    Args:
        batch_size: Patches per step.
        epochs: Epochs.
        optimiser: Optimiser settings as in a protocol; gradients are clipped only where they say so.
        schedule: Schedule settings as in a protocol.
        loss: Loss settings as in a protocol.
        augmentation: Augmentation settings to switch on.
        foreground: Share of patches that must show foreground.
    """
    return {
        "sampling": {"batch_size": batch_size, "foreground": foreground},
        "augmentation": {**NO_AUGMENTATION, **augmentation},
        "training": {
            "epochs": epochs,
            "optimiser": {"nesterov": False, "clip_norm": None, **optimiser},
            "schedule": dict(schedule),
            "loss": dict(loss),
            "restart_if_dead_at": None,
        },
    }
