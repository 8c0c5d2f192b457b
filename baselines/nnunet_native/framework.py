"""Runs nnU-Net on a split: export, fingerprint, plans, preprocessing, training, prediction.

Each stage is done once; a run that was interrupted continues after the last one it completed, and within training
after the last epoch. nnunetv2 is imported only once its folders are known.
"""

from __future__ import annotations

import json
import math
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

import nibabel as nib

from baselines.nnunet_native.environment import arithmetic, nnunet_environment, pools, processes, variables
from baselines.nnunet_native.raw import DATASET, export, identifiers
from harness.errors import HarnessError
from harness.segmenters.external import ExternalResult

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor, nn

    from baselines.nnunet_native import NnUNetNativeOptions
    from harness.segmenters.external import ExternalProblem

NUMBER = int(DATASET[len("Dataset") :][:3])
PLANS = "nnUNetPlans"
_PLANNERS = "nnunetv2.experiment_planning.experiment_planners"
PLANNERS = {
    "default": f"{_PLANNERS}.default_experiment_planner:ExperimentPlanner",
    **{
        f"resenc_{size.lower()}": f"{_PLANNERS}.residual_unets.residual_encoder_unet_planners:nnUNetPlannerResEnc{size}"
        for size in ("M", "L", "XL")
    },
}
"""nnU-Net's planners by option; imported once nnU-Net's folders are known."""


def run(problem: ExternalProblem, options: NnUNetNativeOptions) -> ExternalResult:
    """Trains nnU-Net on a split; a :data:`harness.segmenters.external.Runner`.

    Args:
        problem: The split, and how long to train.
        options: Planner options.

    Raises:
        HarnessError: The data do not suit the configuration, or nnU-Net has other folders in mind.
        Exception: What ``should_stop`` returned; a rerun with the same folder continues.
    """
    configuration = options.configuration or ("2d" if problem.task.spatial_dims == 2 else "3d_fullres")
    raw, preprocessed = problem.folder / "raw", problem.folder / "preprocessed" / DATASET
    with nnunet_environment(problem.folder, problem.device), arithmetic(problem.device):
        stages: dict[str, Callable[[], None]] = {
            "export": lambda: export(problem, raw),
            "fingerprint": lambda: _extract_fingerprint(raw),
            "plans": lambda: _plan(preprocessed, configuration, options),
            "split": lambda: _write_split(preprocessed, problem),
            "preprocessing": lambda: _preprocess(preprocessed, configuration),
        }
        for name, work in stages.items():
            _once(problem, problem.folder / "done" / name, work)

        from baselines.nnunet_native.prediction import make_predict
        from baselines.nnunet_native.trainer import ProtocolTrainer

        plans = {**_read(preprocessed / f"{PLANS}.json"), "continue_training": False}  # only of its loggers
        trainer = ProtocolTrainer(plans, configuration, 0, _read(preprocessed / "dataset.json"), problem.device)
        trainer.prepare(problem)
        trainer.train()
        network = trainer.planned_network
        return ExternalResult(
            predict=make_predict(problem, trainer),
            parameters=sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad),
            weights=_weights(network),
            history=trainer.history,
        )


def _once(problem: ExternalProblem, done: Path, work: Callable[[], None]) -> None:
    if done.exists():
        return
    if (reason := problem.should_stop()) is not None:
        raise reason
    work()
    done.parent.mkdir(exist_ok=True)
    done.touch()


def _extract_fingerprint(raw: Path) -> None:
    """Extracts the fingerprint.

    nnU-Net draws 10⁸ foreground intensities, with replacement, however few voxels there are. Here it draws no more
    than the cases have voxels; only CT normalisation looks at them.
    """
    from nnunetv2.experiment_planning.dataset_fingerprint import fingerprint_extractor as module

    count = processes()
    extractor = module.DatasetFingerprintExtractor(NUMBER, count)
    extractor.show_progress_bar = False
    voxels = sum(math.prod(nib.load(path).shape) for path in (raw / DATASET / "labelsTr").iterdir())
    extractor.num_foreground_voxels_for_intensitystats = min(extractor.num_foreground_voxels_for_intensitystats, voxels)
    with pools(count, module):
        extractor.run(overwrite_existing=True)


def _plan(preprocessed: Path, configuration: str, options: NnUNetNativeOptions) -> None:
    """Plans with the planner options.

    In 2D the axes keep their order, so that slices are cut along the file's last axis, the dataset's slice axis.
    """
    planner = resolve_name(PLANNERS[options.planner])(
        NUMBER,
        gpu_memory_target_in_gb=options.gpu_memory_gb,
        plans_name=PLANS,
        suppress_transpose=configuration == "2d",
    )
    planner.UNet_base_num_features = options.base_features
    with variables(nnUNet_n_proc_DA="1"):  # the planner takes it for torch's number of threads, which 0 is not
        planner.plan_experiment()
    path = preprocessed / f"{PLANS}.json"
    plans = _read(path)
    if configuration not in plans["configurations"]:
        raise HarnessError(
            f"nnU-Net plans no {configuration} for these data; it plans {', '.join(plans['configurations'])}.",
            hint="Set the model's option `configuration`.",
        )
    if options.batch_size is not None:
        plans["configurations"][configuration]["batch_size"] = options.batch_size
        path.write_text(json.dumps(plans, indent=4))


def _write_split(preprocessed: Path, problem: ExternalProblem) -> None:
    """Writes the one fold there is; without validation cases nnU-Net looks at its training cases, as fold ``all``."""
    cases = list(identifiers(problem))
    train, val = cases[: len(problem.train)], cases[len(problem.train) :]
    (preprocessed / "splits_final.json").write_text(json.dumps([{"train": train, "val": val or train}], indent=2))


def _preprocess(preprocessed: Path, configuration: str) -> None:
    from nnunetv2.preprocessing.preprocessors import default_preprocessor as module
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    manager = PlansManager(str(preprocessed / f"{PLANS}.json")).get_configuration(configuration)
    preprocessor = manager.preprocessor_class(verbose=False)
    preprocessor.show_progress_bar = False
    count = processes()
    with pools(count, module):
        preprocessor.run(NUMBER, configuration, PLANS, num_processes=count)


def _weights(network: nn.Module) -> dict[str, Tensor]:
    """Returns each tensor once: nnU-Net's decoder refers to the encoder, so a state dict lists it under two names."""
    named = [*network.named_parameters(), *network.named_buffers()]
    return {name: tensor.detach().cpu() for name, tensor in named}


def _read(path: Path) -> Any:
    return json.loads(path.read_text())
