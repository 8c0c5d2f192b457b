from __future__ import annotations

import inspect
import json
import math
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from baselines.nnunet_native import SEGMENTER
from baselines.nnunet_native.environment import nnunet_environment, pools, processes, variables
from baselines.nnunet_native.framework import PLANNERS
from baselines.nnunet_native.raw import DATASET, dataset_json, export, file_axes, from_nnunet, identifiers, to_nnunet
from harness.errors import DataError, HarnessError, StudyError
from harness.segmenters import Task
from harness.segmenters.external import ExternalCase, ExternalEpoch, ExternalProblem, ExternalResult

SHAPE = (24, 8, 20)
"""The slice axis is the second, and not the coarsest."""
SLICE_AXIS = 1
AFFINE = np.array([[0, 0, -2.0, 5], [1.0, 0, 0, -3], [0, 1.5, 0, 2], [0, 0, 0, 1]])
TINY = SEGMENTER.parse_options({"preset": "tiny"})


class Stopped(Exception):
    pass


def blobs(seed: int) -> ExternalCase:
    """A case with two bright boxes, one in each modality."""
    random = np.random.default_rng(seed)
    images = random.normal(100, 5, (2, *SHAPE)).astype(np.float32)
    label = np.zeros(SHAPE, np.uint8)
    for value in (1, 2):
        corner = [int(random.integers(0, side // 2)) for side in SHAPE]
        box = tuple(slice(start, start + side // 3) for start, side in zip(corner, SHAPE, strict=True))
        label[box] = value
        images[value - 1][box] += 80
    return ExternalCase(images, label, AFFINE)


def seed_of(name: str) -> int:
    return sum(map(ord, name))


def label_of(name: str) -> NDArray[np.uint8]:
    label = blobs(seed_of(name)).label
    assert label is not None
    return label


def dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


@dataclass
class Bench:
    """A split of generated cases; the label of the test case is withheld."""

    folder: Path
    device: str = "cpu"
    train: tuple[str, ...] = ("a b/1",)
    val: tuple[str, ...] = ("ä",)
    loaded: list[str] = field(default_factory=list)
    histories: list[list[ExternalEpoch]] = field(default_factory=list)

    def load(self, name: str) -> ExternalCase:
        self.loaded.append(name)
        case = blobs(seed_of(name))
        return replace(case, label=None) if name == "test" else case

    def problem(self, **changes: Any) -> ExternalProblem:
        standard: dict[str, Any] = {
            "task": Task(("t1", "flair"), None, 3, (16, 16)),
            "labels": {0: "nothing", 1: "core", 2: "ignore"},
            "slice_axis": SLICE_AXIS,
            "train": self.train,
            "val": self.val,
            "test": ("test",),
            "load": self.load,
            "folder": self.folder,
            "epochs": 2,
            "steps_per_epoch": 2,
            "seed": 7,
            "device": torch.device(self.device),
            "on_epoch": lambda history: self.histories.append(list(history)),
            "should_stop": lambda: None,
        }
        return ExternalProblem(**{**standard, **changes})


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "external")


@pytest.fixture(params=["cpu", pytest.param("cuda:0", marks=pytest.mark.cuda)])
def bench_anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    return Bench(tmp_path / "external", request.param)


def stop_after(epochs: int, bench: Bench) -> Callable[[], Exception | None]:
    return lambda: Stopped() if len(bench.histories) >= epochs else None


def test_slice_axis_is_nnunets_first() -> None:
    assert [file_axes(axis) for axis in range(3)] == [(1, 2, 0), (0, 2, 1), (0, 1, 2)]


@pytest.mark.parametrize("slice_axis", range(3))
def test_axes_come_back(slice_axis: int) -> None:
    case = blobs(0)
    assert case.label is not None
    images, spacing = to_nnunet(replace(case, images=case.label[None].astype(np.float32)), slice_axis)
    assert images.shape[1] == SHAPE[slice_axis]
    assert spacing[0] == [1.0, 1.5, 2.0][slice_axis]
    back = from_nnunet(images[0], slice_axis)
    assert back.dtype == np.uint8
    assert np.array_equal(back, case.label)


@pytest.mark.parametrize("slice_axis", range(3))
def test_nnunet_reads_from_files_what_prediction_gives_it(bench: Bench, slice_axis: int) -> None:
    from nnunetv2.imageio.nibabel_reader_writer import NibabelIO

    problem = bench.problem(slice_axis=slice_axis)
    export(problem, bench.folder)
    for number, name in enumerate(("a b/1", "ä")):
        case = bench.load(name)
        files = [str(bench.folder / DATASET / f"imagesTr/case_{number:04d}_{channel:04d}.nii.gz") for channel in (0, 1)]
        read, properties = NibabelIO().read_images(files)
        images, spacing = to_nnunet(case, slice_axis)
        assert np.array_equal(read, images)
        assert properties["spacing"] == spacing
        label, _ = NibabelIO().read_seg(str(bench.folder / DATASET / f"labelsTr/case_{number:04d}.nii.gz"))
        assert np.array_equal(from_nnunet(label[0], slice_axis), case.label)


def test_files_keep_their_place_in_the_world(bench: Bench) -> None:
    export(bench.problem(), bench.folder)
    file = nib.load(bench.folder / DATASET / "imagesTr/case_0000_0000.nii.gz")
    native = (5, 7, 11)
    moved = [native[axis] for axis in file_axes(SLICE_AXIS)]
    assert np.allclose(file.affine @ [*moved, 1], AFFINE @ [*native, 1])
    assert file.get_fdata()[tuple(moved)] == pytest.approx(bench.load("a b/1").images[0][native])


def test_dataset_json_says_what_nnunet_must_know(bench: Bench) -> None:
    assert dataset_json(bench.problem()) == {
        "channel_names": {"0": "t1", "1": "flair"},
        "labels": {"background": 0, "1 core": 1, "2 ignore": 2},
        "numTraining": 2,
        "file_ending": ".nii.gz",
        "overwrite_image_reader_writer": "NibabelIO",
        "dataset": {
            "case_0000": {
                "images": ["imagesTr/case_0000_0000.nii.gz", "imagesTr/case_0000_0001.nii.gz"],
                "label": "labelsTr/case_0000.nii.gz",
            },
            "case_0001": {
                "images": ["imagesTr/case_0001_0000.nii.gz", "imagesTr/case_0001_0001.nii.gz"],
                "label": "labelsTr/case_0001.nii.gz",
            },
        },
    }


def test_export_leaves_test_cases_alone(bench: Bench) -> None:
    problem = bench.problem()
    export(problem, bench.folder)
    assert bench.loaded == ["a b/1", "ä"]
    assert identifiers(problem) == {"case_0000": "a b/1", "case_0001": "ä"}
    names = sorted(str(path.relative_to(bench.folder / DATASET)) for path in bench.folder.rglob("*.nii.gz"))
    images = [f"imagesTr/case_{case:04d}_{channel:04d}.nii.gz" for case in (0, 1) for channel in (0, 1)]
    assert names == [*images, "labelsTr/case_0000.nii.gz", "labelsTr/case_0001.nii.gz"]


def test_export_that_was_stopped_goes_on_with_the_next_case(bench: Bench) -> None:
    with pytest.raises(Stopped):
        export(bench.problem(should_stop=lambda: Stopped()), bench.folder)
    assert bench.loaded == ["a b/1"]
    export(bench.problem(), bench.folder)
    assert bench.loaded == ["a b/1", "ä"]


@pytest.mark.parametrize(("said", "cores", "used"), [("8", 3, 3), ("2", 16, 2), ("0", 16, 1)])
def test_processes_are_no_more_than_the_cores_that_were_given(
    monkeypatch: pytest.MonkeyPatch, said: str, cores: int, used: int
) -> None:
    monkeypatch.setenv("nnUNet_def_n_proc", said)
    monkeypatch.setattr("baselines.nnunet_native.environment.cores", lambda: cores)
    assert processes() == used
    monkeypatch.setenv("nnUNet_def_n_proc", "many")
    with pytest.raises(HarnessError, match="nnUNet_def_n_proc is 'many'"):
        processes()


def test_cases_without_foreground_are_refused(bench: Bench) -> None:
    def empty(name: str) -> ExternalCase:
        return replace(blobs(0), label=np.zeros(SHAPE, np.uint8))

    with pytest.raises(DataError, match="no training or validation case"):
        export(bench.problem(load=empty), bench.folder)


def test_environment_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw, results, augmentation = "nnUNet_raw", "nnUNet_results", "nnUNet_n_proc_DA"
    monkeypatch.setenv(raw, "mine")
    monkeypatch.delenv(results, raising=False)
    monkeypatch.delenv(augmentation, raising=False)
    with nnunet_environment(tmp_path, torch.device("cpu")):
        assert os.environ[raw] == str(tmp_path / "raw")
        assert os.environ[augmentation] == "0"
    assert os.environ[raw] == "mine"
    assert results not in os.environ


def test_folders_that_nnunet_fixed_before_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nnunetv2 import paths

    monkeypatch.setattr(paths, "nnUNet_raw", "/elsewhere")
    with (
        pytest.raises(HarnessError, match="before its folders were known"),
        nnunet_environment(tmp_path, torch.device("cpu")),
    ):
        pass


def test_pool_of_one_is_this_process() -> None:
    import nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor as module

    with pools(1, module), module.multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(os.getpid) == os.getpid()
    assert module.multiprocessing is multiprocessing
    with pools(2, module):
        assert module.multiprocessing is multiprocessing


@pytest.mark.linux("forks this process")
def test_forked_process_ends_although_this_one_only_takes_note(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    try:
        with nnunet_environment(tmp_path, torch.device("cpu")):
            process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,), daemon=True)
            process.start()
            process.terminate()
            process.join(30)
            assert process.exitcode == -signal.SIGTERM
    finally:
        signal.signal(signal.SIGTERM, before)


def test_variables_are_restored_after_an_error() -> None:
    with pytest.raises(Stopped), variables(NNUNET_TEST="1"):
        raise Stopped
    assert "NNUNET_TEST" not in os.environ


def test_factory_is_the_plain_planned_network() -> None:
    from baselines.nnunet import SEGMENTER as NNUNET

    task = Task(("t1", "flair"), None, 3, (32, 32))
    ours, plain = SEGMENTER.build(task, TINY), NNUNET.build(task, {"base_features": 8})
    assert {name: value.shape for name, value in ours.state_dict().items()} == {
        name: value.shape for name, value in plain.state_dict().items()
    }


@pytest.mark.parametrize("options", [{"configuration": "3d_lowres"}, {"gpu_memory_gb": 0}, {"batch_size": 0}])
def test_bad_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(StudyError):
        SEGMENTER.parse_options(options)


def check(result: ExternalResult, bench: Bench, epochs: int) -> None:
    label: NDArray[np.uint8] = result.predict("test")
    assert label.shape == SHAPE
    assert label.dtype == np.uint8
    assert set(np.unique(label)) <= {0, 1, 2}
    assert len(result.history) == epochs
    assert all(math.isfinite(epoch.loss) and epoch.seconds > 0 for epoch in result.history)
    assert result.parameters == sum(tensor.numel() for tensor in result.weights.values())
    splits = json.loads((bench.folder / "preprocessed" / DATASET / "splits_final.json").read_text())
    cases = json.loads((bench.folder / "raw/cases.json").read_text())
    assert [[cases[case] for case in splits[0][part]] for part in ("train", "val")] == [["a b/1"], ["ä"]]
    assert len(splits) == 1
    preprocessed = [path.name for path in bench.folder.rglob("*.b2nd")]
    assert sorted(preprocessed) == ["case_0000.b2nd", "case_0000_seg.b2nd", "case_0001.b2nd", "case_0001_seg.b2nd"]


def plan_of(bench: Bench, configuration: str) -> dict[str, Any]:
    plans = json.loads((bench.folder / "preprocessed" / DATASET / "nnUNetPlans.json").read_text())
    plan: dict[str, Any] = plans["configurations"][configuration]
    return {**plan, "transpose_forward": plans["transpose_forward"]}


def test_slices_are_learnt_and_a_stopped_training_goes_on(bench_anywhere: Bench) -> None:
    bench = bench_anywhere
    run = SEGMENTER.load_runner()
    with pytest.raises(Stopped):
        run(bench.problem(should_stop=stop_after(1, bench)), TINY)
    (stopped,) = bench.histories
    assert len(stopped) == 1
    loaded = len(bench.loaded)

    result = run(bench.problem(), TINY)
    assert result.history[0] == stopped[0]
    assert [len(history) for history in bench.histories] == [1, 1, 2]
    assert result.history[1].lr < result.history[0].lr
    assert len(bench.loaded) == loaded
    check(result, bench, epochs=2)
    assert bench.loaded[loaded:] == ["test"]
    plan = plan_of(bench, "2d")
    assert plan["batch_size"] == 2
    assert plan["transpose_forward"] == [0, 1, 2]
    assert plan["spacing"] == [2.0, 1.0]
    assert plan["architecture"]["arch_kwargs"]["features_per_stage"][0] == 8

    again = run(bench.problem(), TINY)
    assert again.history == result.history
    assert np.array_equal(again.predict("test"), result.predict("test"))


@pytest.mark.parametrize(("preset", "gigabytes"), [("resenc_m", 8), ("resenc_l", 24), ("resenc_xl", 40)])
def test_residual_presets_are_nnunets_planners(preset: str, gigabytes: int) -> None:
    options = SEGMENTER.parse_options({"preset": preset})
    planner = inspect.signature(resolve_name(PLANNERS[options.planner]).__init__)
    assert planner.parameters["gpu_memory_target_in_gb"].default == options.gpu_memory_gb == gigabytes


def test_residual_encoder_is_planned(bench: Bench) -> None:
    planned = bench.folder / "done" / "plans"
    problem = bench.problem(should_stop=lambda: Stopped() if planned.exists() else None)
    with pytest.raises(Stopped):
        SEGMENTER.load_runner()(problem, SEGMENTER.parse_options({"preset": "tiny", "planner": "resenc_m"}))
    architecture = plan_of(bench, "2d")["architecture"]
    assert architecture["network_class_name"].endswith("ResidualEncoderUNet")
    estimate = SEGMENTER.build(problem.task, {"preset": "tiny", "planner": "resenc_m"})
    assert type(estimate).__mro__[2].__name__ == "ResidualEncoderUNet"


def test_volumes_are_learnt(bench_anywhere: Bench) -> None:
    bench = bench_anywhere
    problem = bench.problem(task=Task(("t1", "flair"), None, 3, (16, 16, 8)), epochs=1, steps_per_epoch=40)
    result = SEGMENTER.load_runner()(problem, TINY)
    check(result, bench, epochs=1)
    assert len(plan_of(bench, "3d_fullres")["patch_size"]) == 3
    predicted, truth = result.predict("test"), label_of("test")
    assert np.mean([dice(predicted == value, truth == value) for value in (1, 2)]) > 0.4  # nothing but chance: 0.1


def test_without_validation_cases_there_is_no_validation_score(bench: Bench) -> None:
    bench.train, bench.val = ("a b/1", "ä"), ()
    result = SEGMENTER.load_runner()(bench.problem(epochs=1, steps_per_epoch=1), TINY)
    assert math.isnan(result.history[0].val_dice)
