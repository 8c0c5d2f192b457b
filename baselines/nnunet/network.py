"""Builds nnU-Net's U-Net from nnU-Net's own planner and network factory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from nnunetv2.experiment_planning.experiment_planners.network_topology import get_pool_and_conv_props
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

from baselines.shared.supervision import output_weights
from harness.errors import StudyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from baselines.nnunet import NnUNetOptions
    from harness.segmenters.contract import Task

MIN_FEATURE_MAP = 4
"""No axis is pooled below this many voxels; ``UNet_featuremap_min_edge_length`` of nnU-Net's default planner."""
UNLIMITED = 999999
"""Poolings an axis may have in nnU-Net's default planner."""
MAX_FEATURES = {2: 512, 3: 320}
"""Cap of the channels by dimension; ``UNet_max_features_2d`` and ``_3d`` of nnU-Net's default planner."""
RESIDUAL_BLOCKS = (1, 3, 4, 6)
"""Residual blocks of a stage, finest first; deeper stages have as many as the last. From ``ResEncUNetPlanner``."""
CLASSES_TO_IMPORT = ("conv_op", "norm_op", "dropout_op", "nonlin")
"""Those of :func:`architecture`'s values that name a class, as in a plans file."""


class _SupervisedInTraining:
    """Makes a network of nnU-Net's return the coarser outputs in training mode only.

    Modules, parameters, initialisation and state dict are those of the network's class. nnU-Net's trainer switches
    ``decoder.deep_supervision`` off by hand before it predicts; here the mode of the module does so.

    Source: ``dynamic_network_architectures/architectures/unet.py``; the weights are those of
    ``nnunetv2/training/nnUNetTrainer/nnUNetTrainer.py``.

    Args:
        **kwargs: See the network's class.
    """

    decoder: Any

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._supervise_deeply = bool(self.decoder.deep_supervision)
        levels = len(self.decoder.seg_layers)
        if self._supervise_deeply:
            self.deep_supervision_weights = output_weights(levels)
            unused = [levels - 1 - level for level, weight in enumerate(self.deep_supervision_weights) if weight == 0.0]
        else:
            unused = list(range(levels - 1))
        heads = (f"decoder.seg_layers.{index}" for index in unused)
        self.dead_parameters = frozenset(f"{head}.{name}" for head in heads for name in ("weight", "bias"))
        """Heads without a place in the loss. nnU-Net builds them all the same, so that any checkpoint can be loaded."""

    def train(self, mode: bool = True) -> Self:
        """Sets the mode, and with it whether the coarser outputs are returned."""
        super().train(mode)  # type: ignore[misc]
        self.decoder.deep_supervision = mode and self._supervise_deeply
        return self


class NnUNet(_SupervisedInTraining, PlainConvUNet):  # type: ignore[misc]
    """nnU-Net's ``PlainConvUNet``, the network of the paper.

    Args:
        **kwargs: See ``PlainConvUNet``.
    """


class ResidualNnUNet(_SupervisedInTraining, ResidualEncoderUNet):  # type: ignore[misc]
    """nnU-Net's ``ResidualEncoderUNet``, the network of its residual-encoder presets.

    Args:
        **kwargs: See ``ResidualEncoderUNet``.
    """


def build(task: Task, options: NnUNetOptions) -> NnUNet | ResidualNnUNet:
    """Builds nnU-Net's network for a task.

    Source: Isensee et al., Nature Methods 2021; ``nnunetv2/utilities/get_network_from_plans.py`` of MIC-DKFZ/nnUNet.

    Args:
        task: Segmentation task.
        options: Encoder, widths, depth of a stage and deep supervision.

    Raises:
        StudyError: The patch cannot be halved as often as nnU-Net's planner would.
    """
    network = ResidualNnUNet if options.encoder == "resenc" else NnUNet
    return get_network_from_plans(  # type: ignore[no-any-return]
        arch_class_name=f"{network.__module__}.{network.__qualname__}",
        arch_kwargs=architecture(task.patch_size, options),
        arch_kwargs_req_import=CLASSES_TO_IMPORT,
        input_channels=task.in_channels,
        output_channels=task.out_channels,
        deep_supervision=options.deep_supervision,
    )


def architecture(patch_size: Sequence[int], options: NnUNetOptions) -> dict[str, Any]:
    """Returns the ``arch_kwargs`` of nnU-Net's plans for a patch.

    Isotropic spacing is assumed, because a task has none: every axis is pooled as long as it holds 8 voxels, and all
    kernels are 3. Anisotropic data that nnU-Net would plan from its fingerprint gets a different network there.

    Source: ``nnunetv2/experiment_planning/experiment_planners``: ``default_experiment_planner.py`` for widths, norm and
    activation, ``network_topology.py`` for the number of poolings, ``residual_unets`` for the blocks of ``resenc``.

    Args:
        patch_size: Spatial size of the input in voxels.
        options: Encoder, widths and depth of a stage.

    Raises:
        StudyError: The patch is not divisible by what the plan needs, or too small to be pooled once.
    """
    dims = len(patch_size)
    _, strides, kernel_sizes, padded, _ = get_pool_and_conv_props(
        (1.0,) * dims, tuple(patch_size), MIN_FEATURE_MAP, UNLIMITED
    )
    stages = len(strides)
    given, valid = (" x ".join(str(int(side)) for side in sides) for sides in (patch_size, padded))
    if stages == 1:
        smallest = " x ".join([str(2 * MIN_FEATURE_MAP)] * dims)
        raise StudyError(
            f"nnunet cannot pool a patch of {given} even once.", hint=f"Smallest valid patch_size: {smallest}."
        )
    if given != valid:
        raise StudyError(
            f"nnunet would halve a patch of {given} up to {stages - 1} times, which leaves a remainder.",
            hint=f"Nearest valid patch_size by nnU-Net's rule, which pads: {valid}.",
        )
    cap = options.max_features or MAX_FEATURES[dims]
    if options.encoder == "resenc":
        depth = {
            "n_blocks_per_stage": [RESIDUAL_BLOCKS[min(stage, len(RESIDUAL_BLOCKS) - 1)] for stage in range(stages)],
            "n_conv_per_stage_decoder": [1] * (stages - 1),
        }
    else:
        depth = {
            "n_conv_per_stage": [options.convs_per_stage] * stages,
            "n_conv_per_stage_decoder": [options.convs_per_stage] * (stages - 1),
        }
    return {
        "n_stages": stages,
        "features_per_stage": [min(options.base_features * 2**stage, cap) for stage in range(stages)],
        "conv_op": f"torch.nn.modules.conv.Conv{dims}d",
        "kernel_sizes": kernel_sizes,
        "strides": strides,
        **depth,
        "conv_bias": True,
        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dims}d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
