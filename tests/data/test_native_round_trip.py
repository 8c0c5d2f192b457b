"""From the files' grid to the network's and back: turned, cropped, resampled, sliced, and nothing lost on the way."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from harness.data.contract import Case, Dataset
from harness.data.preparation.geometry import orientation_of, turn, turn_back
from harness.data.preparation.prepare import prepare
from harness.data.settings import PreparationSettings
from harness.evaluation.overlap import dice
from harness.inference.native_grid import restore

CODES = [a + b + c for a, b, c in (("R", "A", "S"), ("L", "P", "S"), ("S", "L", "A"), ("P", "I", "R"), ("A", "S", "L"))]


class One:
    """A reader of one case that is held in memory."""

    def __init__(self, case):
        self.case = case

    def fingerprint(self):
        return "one"

    def patient(self, case):
        return case

    def load(self, case):
        return self.case


def dataset(**changes):
    facts = {
        "name": "one",
        "title": "",
        "summary": "",
        "kind": "real",
        "unit": "case",
        "modalities": ("a",),
        "labels": {0: "background", 1: "ball", 2: "shell"},
        "regions": {"Ball": (1,), "Shell": (2,)},
        "default_leading": "a",
        "folds": 1,
        "slice_axis": 2,
        "reader": "",
    }
    return Dataset(**{**facts, **changes})


def phantom(code="RAS", spacing=(1.0, 1.0, 1.0), tilt=0.0, margin=4):
    """A ball of label 1 in a shell of label 2, off centre, with zeros around; axes as ``code``, tilted by an angle."""
    extent = np.array([48.0, 56.0, 44.0])
    shape = tuple(round(mm / size) + 2 * margin for mm, size in zip(extent, spacing, strict=True))
    grid = [(np.arange(n) - margin) * s for n, s in zip(shape, spacing, strict=True)]
    x, y, z = np.meshgrid(*grid, indexing="ij")
    distance = np.sqrt((x - 20) ** 2 + (y - 30) ** 2 + (z - 24) ** 2)
    label = np.where(distance < 9, 1, np.where(distance < 16, 2, 0)).astype(np.uint8)
    inside = (x >= 0) & (y >= 0) & (z >= 0) & (x < extent[0]) & (y < extent[1]) & (z < extent[2])
    image = np.where(inside, 100 + x + 2 * y + 0.5 * z, 0).astype(np.float32)
    turn_z = np.array([[np.cos(tilt), -np.sin(tilt), 0], [np.sin(tilt), np.cos(tilt), 0], [0, 0, 1]])
    turn_x = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    affine = np.eye(4)
    affine[:3, :3] = turn_z @ turn_x @ np.diag(spacing)
    affine[:3, 3] = (-30, 12, 7)
    to = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(tuple(code))
    )
    turned_affine = affine @ nib.orientations.inv_ornt_aff(to, shape)
    return Case(
        np.ascontiguousarray(nib.orientations.apply_orientation(image, to))[None],
        np.ascontiguousarray(nib.orientations.apply_orientation(label, to)),
        turned_affine,
    )


def there_and_back(case, cache, facts, given=None, patch=(64, 64)):
    """Prepares the case and brings its prepared label back, as probabilities."""
    prepared = prepare(facts, One(case), ["one"], given or PreparationSettings(), patch, cache)[0]
    one_hot = F.one_hot(torch.from_numpy(np.array(prepared.label)).long(), 3).permute(3, 0, 1, 2).float()
    return prepared, restore(one_hot, prepared.geometry)


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("slice_axis", range(3))
def test_without_interpolation_every_voxel_comes_back(tmp_path, code, slice_axis):
    case = phantom(code, spacing=(1, 1.5, 2), tilt=0.3)
    given = PreparationSettings(plane="native")
    prepared, found = there_and_back(case, tmp_path, dataset(slice_axis=slice_axis), given)
    assert np.array_equal(found, case.label)
    assert prepared.label.size < case.label.size, "the zeros around were cropped"


@pytest.mark.parametrize("code", CODES)
def test_every_orientation_is_prepared_alike(tmp_path, code):
    turned, _ = there_and_back(phantom(code, tilt=0.2), tmp_path / "a", dataset())
    plain, _ = there_and_back(phantom("RAS", tilt=0.2), tmp_path / "b", dataset())
    assert np.array_equal(turned.images, plain.images)
    assert np.array_equal(turned.label, plain.label)


@pytest.mark.parametrize("code", ["RAS", "PIR"])
@pytest.mark.parametrize(
    ("spacing", "target"),
    [((1, 1, 1), (1.5, 1.5, 1.5)), ((0.8, 0.8, 4), (1, 1, 1)), ((1, 1, 2), (1, 1, 1)), ((1.2, 0.9, 3), (1, 1, 3))],
)
@pytest.mark.parametrize("patch", [(96, 96), (32, 32, 32)])
def test_a_resampled_label_comes_back_within_the_interpolation(tmp_path, code, spacing, target, patch):
    case = phantom(code, spacing, tilt=0.25)
    _, found = there_and_back(case, tmp_path, dataset(), PreparationSettings(spacing=target), patch)
    assert found.shape == case.label.shape
    for value, least in ((1, 0.9), (2, 0.88)):
        assert dice(found == value, case.label == value) > least


def test_resampled_voxels_have_the_size_asked_for(tmp_path):
    case = phantom("LPS", spacing=(1, 1, 2))
    facts = dataset(typical_spacing=(2.0, 2.0, 2.0))
    volumes, _ = there_and_back(case, tmp_path, facts, patch=(16, 16, 16))
    assert volumes.geometry.resampled == (24, 28, 22)
    assert volumes.label.shape == (22, 24, 28)
    slices, _ = there_and_back(case, tmp_path, facts)
    assert slices.label.shape == (22, 64, 64), "a typical spacing is for volumes only; 2 mm slices stay"
    fixed, _ = there_and_back(case, tmp_path, dataset(spacing=(1.0, 1.0, 1.0)))
    assert fixed.label.shape == (44, 64, 64)


def test_outside_stays_zero_after_splines(tmp_path):
    case = phantom(spacing=(1, 1, 2))
    given = PreparationSettings(spacing=(1.3, 1.3, 1.3), plane="native")
    prepared, _ = there_and_back(case, tmp_path, dataset(crop=False), given)
    values = np.array(prepared.images)
    assert (values == 0).any()
    assert values[values != 0].min() > 40, "no ringing around the body"


@settings(deadline=None, max_examples=examples(40))
@given(st.permutations(range(3)), st.tuples(*[st.sampled_from([-1, 1])] * 3), st.floats(-0.6, 0.6))
def test_turning_is_undone_and_ends_in_ras(order, signs, tilt):
    rotation = np.array([[np.cos(tilt), -np.sin(tilt), 0], [np.sin(tilt), np.cos(tilt), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = (rotation @ np.eye(3))[:, list(order)] * np.array(signs)
    volume = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    orientation = orientation_of(affine)
    there = turn(volume, orientation)
    assert np.array_equal(turn_back(there, orientation), volume)
    turned_affine = affine @ nib.orientations.inv_ornt_aff(np.array(orientation), volume.shape[1:])
    assert nib.aff2axcodes(turned_affine) == ("R", "A", "S")
    assert [axis for axis, _ in orientation] == list(order)
