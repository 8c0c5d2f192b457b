"""nnU-Net's own prediction of a case on its native grid.

Imports nnunetv2, and so is to be imported within :func:`baselines.nnunet_native.environment.nnunet_environment`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from baselines.nnunet_native.environment import arithmetic
from baselines.nnunet_native.raw import from_nnunet, to_nnunet

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from baselines.nnunet_native.trainer import ProtocolTrainer
    from harness.segmenters.external import ExternalProblem


def make_predict(problem: ExternalProblem, trainer: ProtocolTrainer) -> Callable[[str], NDArray[np.uint8]]:
    """Returns the function from a test case's name to its label map.

    Tiles overlap by half and are weighted by a Gaussian, predictions are averaged over mirrored inputs, and logits are
    resampled to the native grid: nnU-Net's defaults. Nothing is written.

    Args:
        problem: Training problem with the reader of the cases.
        trainer: Trained.
    """
    predictor = nnUNetPredictor(device=problem.device, allow_tqdm=False)
    network = trainer.planned_network
    predictor.manual_initialization(
        network,
        trainer.plans_manager,
        trainer.configuration_manager,
        [network.state_dict()],
        trainer.dataset_json,
        type(trainer).__name__,
        trainer.inference_allowed_mirroring_axes,
    )

    def predict(name: str) -> NDArray[np.uint8]:
        images, spacing = to_nnunet(problem.load(name), problem.slice_axis)
        with arithmetic(problem.device):
            label = predictor.predict_single_npy_array(images, {"spacing": spacing})
        return from_nnunet(label, problem.slice_axis)

    return predict
