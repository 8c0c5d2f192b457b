"""Any protocol that is accepted trains two steps of a toy network and tests it, or is refused in words.

Values are drawn for every setting that the classes declare, within the bounds, on them and beyond; so a new setting is
tried without being named here.
"""

from __future__ import annotations

import math
import re
import typing
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import numpy as np
import pytest
import torch
import yaml
from fuzzing import tried, write_raw_folder
from hypothesis import strategies as st

from harness.bounds import Bounds, bounds_of
from harness.errors import HarnessError, StudyError
from harness.execution.cell.problem import open_problem
from harness.execution.cell.training import train_network
from harness.results.store import Store
from harness.settings import Settings
from harness.study.expansion import load_study
from harness.study.protocol import Protocol

#: Largest drawn value of what costs time or memory, where it is within the bounds.
FEW = {
    "batch_size": 3, "patch_size": 24, "epochs": 2, "steps_per_epoch": 2, "validation_batches": 2,
    "refresh_batchnorm": 2, "workers": 0,
}  # fmt: skip

#: Settings that are left alone: a compiler takes a minute, and words change nothing.
LEFT_ALONE = {"name", "description", "source", "compile"}

BASE = {
    "base": "demo",
    "patch_size": [16, 16],
    "sampling": {"batch_size": 2},
    "training": {"epochs": 1, "steps_per_epoch": 2, "validate_every": 1, "refresh_batchnorm": 0},
    "inference": {"batch_size": 8},
}


def numbers_within(bounds: Bounds, whole: bool, few: int | None) -> st.SearchStrategy[Any]:
    """Mostly what is allowed, its ends among them, sometimes what is not."""
    low, high = bounds.low, bounds.high
    top = high if few is None else few
    kind = (lambda low, high: st.integers(int(low), int(high))) if whole else st.floats
    beyond = [low - 1, high * 2 + 1] if whole else [low - 1, high * 2 + 1, math.nan, math.inf, -math.inf, 1e300]
    near = [low, top, min(max(1, low), top), low + (top - low) / 1e6, min(low + 1, top)]
    return st.one_of(
        kind(low, top), st.sampled_from([int(one) if whole else one for one in near]), st.sampled_from(beyond)
    )


def values_of(annotation: Any, metadata: typing.Sequence[Any], name: str) -> st.SearchStrategy[Any]:
    """Returns a strategy for what a type admits, and for a little that it does not."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return values_of(arguments[0], [*metadata, *arguments[1:]], name)
    if annotation is bool:
        return st.booleans()
    if annotation in (int, float):
        return numbers_within(bounds_of(metadata), annotation is int, FEW.get(name))
    if origin is typing.Literal:
        return st.sampled_from(arguments)
    if origin is tuple and ... in arguments:
        return st.lists(values_of(arguments[0], (), name), max_size=3)
    if origin is tuple:
        pair = st.tuples(*(values_of(one, (), name) for one in arguments)).map(list)
        return pair if len(arguments) > 2 else st.one_of(*4 * [pair.map(sorted)], pair)
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return changes_of(annotation)
    if annotation is type(None):
        return st.none()
    return st.one_of([values_of(one, metadata, name) for one in arguments])


def changes_of(kind: type[Settings], most: int = 3) -> st.SearchStrategy[dict[str, Any]]:
    """Returns a strategy for some keys of a class of settings."""
    fields = {name: field for name, field in kind.model_fields.items() if name not in LEFT_ALONE}
    one = st.sampled_from(sorted(fields)).flatmap(
        lambda name: st.tuples(st.just(name), values_of(fields[name].annotation, fields[name].metadata, name))
    )
    return st.lists(one, min_size=1, max_size=most).map(dict)


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        result[key] = merged(base[key], value) if both else value
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A raw folder of nnU-Net with eight patients of a few thousand voxels."""
    root = tmp_path_factory.mktemp("fuzz")
    rng = np.random.default_rng(0)
    label = np.zeros((20, 18, 6), np.uint8)
    label[5:12, 4:13, 1:5] = 1
    facts = {"channel_names": {"0": "T1"}, "labels": {"background": 0, "tumour": 1}, "file_ending": ".nii.gz"}
    images = [(label * 2.0 + rng.normal(3, 1, label.shape)).astype(np.float32) for _ in range(8)]
    write_raw_folder(root / "raw", facts, [([image], label) for image in images])
    return root


def attempt(root: Path, changes: dict[str, Any]) -> str:
    """Plans and trains under a protocol; returns how that ended. Whatever is no error of the harness is raised."""
    protocol = merged(BASE, changes)
    values = {"name": "fuzz", "protocol": protocol, "matrix": {"dataset": [{"nnunet_raw": "raw"}], "model": ["toy"]}}
    study = root / "fuzz.yaml"
    study.write_text(yaml.safe_dump(values, sort_keys=False))
    try:
        spec = load_study(study).cells[0].spec
    except StudyError as refusal:
        return "refused" if re.fullmatch(r"fuzz\.yaml:.*", refusal.message) else f"refused by {refusal.message}"
    cell = Store(root / "results").cell(f"{spec.id}-{len(list((root / 'results').glob('cells/*')))}")
    cell.write_spec(spec.to_json())
    reporter = SimpleNamespace(**dict.fromkeys(("say", "begin", "on_step", "on_epoch"), lambda *_: None))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        problem = open_problem(spec)
        trained = train_network(problem, cell, root / "cache", torch.device("cpu"), reporter, lambda: False)
        name = problem.split.test[0]
        found = trained.predict(name)
        assert found.max() <= 1
    except HarnessError:  # NaN after a rate of 100, a voxel size that is far from the images'
        return "ended in words"
    finally:
        torch.set_num_threads(threads)
    return "done"


CHANGES = changes_of(Protocol, most=4)
ENDS = {"refused", "done", "ended in words"}


def fuzz(folder: Path, count: int) -> None:
    """Tries protocols within bounded memory."""
    assert attempt(folder, {}) == "done"  # what that imports and prepares is not counted
    ends = tried(CHANGES, partial(attempt, folder), count, memory=1 << 31, trains=True)
    assert set(ends) <= ENDS, ends
    assert {"refused", "done"} <= set(ends)


def test_a_protocol_that_is_accepted_trains_or_ends_in_words(folder, toys):
    fuzz(folder, 40)


@pytest.mark.slow
def test_many_protocols_that_are_accepted_train_or_end_in_words(folder, toys):
    fuzz(folder, 1500)


@pytest.mark.parametrize(
    ("changes", "end"),
    [
        ({}, "done"),
        ({"training": {"precision": "fp16"}}, "done"),
        ({"sampling": {"modality_dropout": {"p": 0.5}}}, "refused"),
        ({"preparation": {"plane": "native", "spacing": [1, 1, 6]}}, "done"),
        ({"preparation": {"plane": "native", "spacing": [500, 500, 500]}}, "ended in words"),
        ({"preparation": {"plane": "native", "spacing": [0.001, 1, 3]}}, "ended in words"),
        ({"augmentation": {"p_blur": 1, "blur_sigma": [1, 6]}}, "refused"),
        ({"augmentation": {"p_blur": 1, "blur_sigma": [0.01, 4.9]}}, "done"),
        ({"augmentation": {"p_low_resolution": 1, "low_resolution": [0.05, 1]}}, "refused"),
        ({"augmentation": {"p_low_resolution": 1, "low_resolution": [0.0625, 0.07]}}, "done"),
        ({"augmentation": {"mirror_axes": [2]}}, "refused"),
        ({"patch_size": [8, 16, 16], "augmentation": {"mirror_axes": [2]}}, "refused"),
    ],
)
def test_the_fuzz_tells_what_it_should(folder, toys, changes, end):
    assert attempt(folder, changes) == end
