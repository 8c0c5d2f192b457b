"""Crop, padding and voxel sizes that a protocol chooses: what is prepared comes back to the files' grid."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from harness.data import DATASETS
from harness.data.contract import Case
from harness.data.preparation.preprocessing import PreprocessingPlan, preprocess
from harness.data.settings import PreparationSettings
from harness.data.spacing import median_spacing, resolve_spacing
from harness.inference.native_grid import restore

BRATS = replace(DATASETS.get("brats2023"), modalities=("a",), labels={0: "background", 1: "ball"})


def ball(shape=(40, 28, 12), size=(1.0, 1.0, 2.0)):
    """A bright ball in a darker head in air."""
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"))
    middle = np.array(shape)[:, None, None, None] / 2
    far = np.sqrt((((grid - middle) * np.array(size)[:, None, None, None]) ** 2).sum(0))
    label = (far < 7).astype(np.uint8)
    head = (np.abs(grid - middle) < np.array([16, 9, 5])[:, None, None, None]).all(0)
    return Case((head * (100 + 50 * label))[None].astype(np.float32), label, np.diag([*size, 1.0]))


def prepared(case, patch=(32, 32), **settings):
    plan = PreprocessingPlan.choose(BRATS, PreparationSettings(**settings), patch)
    return preprocess(case, "x", plan)


def back(made):
    """The prepared label as certain probabilities, brought back to the files' grid."""
    onehot = F.one_hot(torch.from_numpy(made.label).long(), 2).movedim(-1, 0).float()
    return restore(onehot, made.geometry)


def overlap(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


@pytest.mark.parametrize(
    "settings",
    [
        {"resize": "pad_to_square"},
        {"resize": "pad_to_square", "crop": "none"},
        {"resize": "stretch", "crop": "none"},
        {"resize": "pad_to_square", "spacing": (1.5, 0.8, None)},
        {"plane": "native", "spacing": (1.5, None, None)},
    ],
)
def test_the_label_comes_back_where_it_was(settings):
    case = ball()
    assert overlap(back(prepared(case, **settings)), case.label) > 0.93


def test_padding_to_a_square_keeps_round_things_round():
    def sides(**settings):
        rows, columns = np.nonzero(prepared(ball(), **settings).label.max(axis=0))
        return np.ptp(rows) + 1, np.ptp(columns) + 1

    square, stretched = sides(resize="pad_to_square"), sides(resize="stretch")
    assert abs(square[0] - square[1]) <= 1
    assert stretched[1] > 1.4 * stretched[0]


def test_the_pad_is_outside_the_body():
    made = prepared(ball(), resize="pad_to_square")
    assert made.geometry.padded == (31, 31)
    assert not made.images[:, :, :, :6].any()
    assert not made.label[:, :, :6].any()


def test_a_crop_is_the_protocols_choice_before_the_datasets():
    assert prepared(ball(), plane="native").label.shape == (9, 31, 17)
    assert prepared(ball(), plane="native", crop="none").label.shape == (12, 40, 28)


def test_an_axis_may_keep_each_cases_own_voxel_size():
    made = prepared(ball(), plane="native", crop="none", spacing=(2, 2, None))
    assert made.label.shape == (12, 20, 14)


def resolved(settings, found):
    return resolve_spacing(settings, BRATS, lambda: median_spacing(BRATS, found))


def reader(*affines):
    cases = {f"case{n}": np.array(affine) for n, affine in enumerate(affines)}
    return SimpleNamespace(cases=lambda: tuple(cases), affine=cases.get, fingerprint=lambda: str(len(affines)))


def test_median_is_the_median_of_all_cases_along_the_turned_axes():
    # The second case is stored with its axes permuted: its 3 mm lie along the anterior axis.
    permuted = [[0, 2, 0, 0], [3, 0, 0, 0], [0, 0, 9, 0], [0, 0, 0, 1]]
    found = reader(np.diag([1, 1.2, 5, 1]), permuted, np.diag([4.0, 1.4, 6, 1]))
    wanted = PreparationSettings(spacing=("median", "median", None))
    assert resolved(wanted, found).spacing == (2.0, 1.4, None)
    fixed = PreparationSettings(spacing=(1, 1, 1))
    assert resolved(fixed, found) is fixed


def test_a_reader_that_does_not_inherit_from_ours_is_asked_for_the_case():
    other = SimpleNamespace(cases=lambda: ("x",), load=lambda _: ball(), fingerprint=lambda: "other")
    wanted = PreparationSettings(spacing=("median", None, "median"))
    assert resolved(wanted, other).spacing == (1.0, None, 2.0)


def test_what_a_plan_measured_is_needed_before_anything_is_prepared():
    with pytest.raises(ValueError, match="median"):
        PreprocessingPlan.choose(BRATS, PreparationSettings(spacing=("median", None, None)), (32, 32))


def test_the_cache_of_earlier_protocols_keeps_its_name():
    plan = PreprocessingPlan.choose(BRATS, PreparationSettings(), (32, 32))
    assert "square" not in plan.json_values()
    assert replace(plan, square=True).json_values()["square"]
