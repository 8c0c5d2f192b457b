"""Normalisation and preparation against nnU-Net v2's own functions."""

from __future__ import annotations

import dataclasses
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor
from nnunetv2.preprocessing.normalization.default_normalization_schemes import CTNormalization, ZScoreNormalization
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape

from harness.data.contract import Case, Dataset
from harness.data.preparation.normalisation import Normaliser
from harness.data.preparation.prepare import prepare
from harness.data.settings import PreparationSettings

MR = Dataset(
    name="mr",
    title="",
    summary="",
    kind="real",
    unit="patient",
    modalities=("a", "b"),
    labels={0: "background", 1: "core", 2: "rim"},
    regions={"Core": (1,)},
    default_leading="a",
    folds=1,
    slice_axis=0,
    reader="",
)
CT = dataclasses.replace(MR, name="ct", normalisation="ct", crop=False)


class Heads:
    """Ellipsoids of smooth noise with zeros around, brighter from case to case; voxels of 1 x 1 x 2 mm."""

    spacing = (1.0, 1.0, 2.0)

    def fingerprint(self):
        return "heads"

    def patient(self, case):
        return case

    def load(self, case):
        rng = np.random.default_rng(int(case))
        x, y, z = np.mgrid[:40, :44, :26]
        distance = np.sqrt(((x - 18) / 15) ** 2 + ((y - 23) / 18) ** 2 + ((z - 12) / 11) ** 2)
        images = 300 + 50 * int(case) + 40 * np.sin(np.stack([x + y, y + 2 * z]) / 5) + rng.normal(0, 5, (2, *x.shape))
        label = np.where(distance < 0.3, 1, np.where(distance < 0.6, 2, 0)).astype(np.uint8)
        return Case(np.where(distance < 1, images, 0).astype(np.float32), label, np.diag([*self.spacing, 1]))


class Bodies(Heads):
    """The same as CT: air around, and the fat of a body at 0."""

    def load(self, case):
        head = super().load(case)
        return Case(np.where(head.images == 0, -1000, head.images - 350).astype(np.float32), head.label, head.affine)


def prepared(dataset, reader, names, cache, **settings):
    given = PreparationSettings(plane="native", **settings)
    return prepare(dataset, reader, names, given, (16, 16, 16), cache)


def test_z_scores_are_nnunets_inside_its_mask(tmp_path):
    case = prepared(MR, Heads(), ["1"], tmp_path)[0]
    made = Normaliser.fit("zscore_case", [case])(case.images, case)
    for image, ours in zip(np.array(case.images), made, strict=True):
        theirs = ZScoreNormalization(True, {}).run(image.copy(), np.where(image != 0, 0, -1))
        assert np.allclose(ours, theirs, atol=1e-4)


def nnunets_properties(reader, names):
    """Returns nnU-Net's statistics of the foreground of these cases."""
    found = []
    for name in names:
        case = reader.load(name)
        samples, _ = DatasetFingerprintExtractor.collect_foreground_intensities(
            case.label[None], case.images, num_samples=10_000
        )
        found.append(samples[0])
    values = np.concatenate(found)
    return {
        "mean": float(values.mean()),
        "std": float(values.std()),
        "percentile_00_5": float(np.percentile(values, 0.5)),
        "percentile_99_5": float(np.percentile(values, 99.5)),
    }


def test_ct_windows_are_nnunets_of_the_training_cases_and_no_others(tmp_path):
    training = prepared(CT, Bodies(), ["0", "1", "2"], tmp_path)
    other = prepared(CT, Bodies(), ["9"], tmp_path)[0]
    normaliser = Normaliser.fit(CT.normalisations, training)
    properties = nnunets_properties(Bodies(), ["0", "1", "2"])
    window = normaliser.windows[0]
    assert window.mean == pytest.approx(properties["mean"], abs=0.03 * properties["std"])
    assert window.std == pytest.approx(properties["std"], rel=0.02)
    assert window.low == pytest.approx(properties["percentile_00_5"], abs=0.05 * properties["std"])
    assert window.high == pytest.approx(properties["percentile_99_5"], abs=0.05 * properties["std"])
    theirs = CTNormalization(False, properties).run(np.array(other.images[0], np.float32))
    ours = normaliser(other.images, other)[0]
    assert np.abs(ours - theirs).max() < 0.1, "only the draw of the foreground's voxels differs"
    same = {
        "mean": window.mean,
        "std": window.std,
        "percentile_00_5": window.low,
        "percentile_99_5": window.high,
    }
    assert np.allclose(ours, CTNormalization(False, same).run(np.array(other.images[0], np.float32)), atol=1e-5)


def nnunets_preprocessing(case, spacing):
    """Returns what nnU-Net's preprocessor makes of a case: images and label, on its own axes (as given here)."""
    fn = partial(resample_data_or_seg_to_shape, order_z=0, force_separate_z=None)
    configuration = SimpleNamespace(
        spacing=list(spacing),
        normalization_schemes=["ZScoreNormalization"] * 2,
        use_mask_for_norm=[True, True],
        resampling_fn_data=partial(fn, is_seg=False, order=3),
        resampling_fn_seg=partial(fn, is_seg=True, order=1),
    )
    labels = SimpleNamespace(has_regions=False, has_ignore_label=False, foreground_labels=[1, 2], all_labels=[0, 1, 2])
    plans = SimpleNamespace(
        transpose_forward=[0, 1, 2],
        foreground_intensity_properties_per_channel={"0": {}, "1": {}},
        get_label_manager=lambda _: labels,
    )
    images, label, _ = DefaultPreprocessor(verbose=False).run_case_npy(
        case.images, case.label[None].astype(np.int16), {"spacing": list(case.spacing)}, plans, configuration, {}
    )
    return images, label[0]


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 2.0), (1.5, 1.5, 2.0), (1.0, 1.0, 1.0)])
def test_a_prepared_case_is_what_nnunets_preprocessor_makes(tmp_path, spacing):
    ours = prepared(MR, Heads(), ["3"], tmp_path, spacing=spacing)[0]
    images = Normaliser.fit("zscore_case", [ours])(ours.images, ours)
    theirs, label = nnunets_preprocessing(Heads().load("3"), spacing)
    assert images.shape == theirs.shape
    inside = np.array(ours.images[0]) != 0
    assert np.allclose(images[:, inside], theirs[:, inside], atol=2e-3)
    assert np.abs(theirs[:, ~inside]).max() < 2, "outside, nnU-Net's splines ring where we keep 0"
    assert (np.array(ours.label) != np.maximum(label, 0)).mean() < 0.002
