"""Normalisation by modality: z-scores inside the body, CT by the training cases' foreground."""

from __future__ import annotations

import numpy as np
import pytest

from harness.data.batches.sampling import Placing, draw_patch
from harness.data.contract import Case, Dataset
from harness.data.preparation.normalisation import Normaliser
from harness.data.preparation.prepare import prepare
from harness.data.settings import PreparationSettings
from harness.errors import DataError

DATASET = Dataset(
    name="petct",
    title="",
    summary="",
    kind="real",
    unit="patient",
    modalities=("ct", "pt"),
    labels={0: "background", 1: "tumour"},
    regions={"Tumour": (1,)},
    default_leading="pt",
    folds=1,
    slice_axis=2,
    reader="",
    modality_normalisation={"ct": "ct"},
    crop=False,
)


class Reader:
    """CT of noise around a level of its own in every case, PET with zeros around."""

    def __init__(self, foreground=True):
        self.foreground = foreground

    def fingerprint(self):
        return f"petct {self.foreground}"

    def patient(self, case):
        return case

    def load(self, case):
        rng = np.random.default_rng(int(case))
        label = np.zeros((20, 20, 6), np.uint8)
        label[5:15, 5:15] = self.foreground
        ct = rng.normal(40 + 10 * int(case), 15, label.shape)
        ct[0, 0, 0] = 3000
        ct[10, 10, 3] = 0
        pt = rng.normal(5, 1, label.shape) * (np.arange(20) > 2)[:, None, None]
        return Case(np.stack([ct, pt]).astype(np.float32), label, np.eye(4))


def cases(tmp_path, names=("0", "1", "2"), reader=None):
    return prepare(DATASET, reader or Reader(), names, PreparationSettings(plane="native"), (16, 16), tmp_path)


def test_ct_is_clipped_and_scaled_by_the_foreground_of_the_training_cases(tmp_path):
    training = cases(tmp_path, ("0", "1"))
    normaliser = Normaliser.fit(DATASET.normalisations, training)
    values = np.concatenate([Reader().load(name).images[0][Reader().load(name).label > 0] for name in ("0", "1")])
    window = normaliser.windows[0]
    assert window.mean == pytest.approx(values.mean(), abs=0.5)
    assert window.std == pytest.approx(values.std(), rel=0.03)
    assert window.low == pytest.approx(np.percentile(values, 0.5), abs=2)
    made = normaliser(training[0].images, training[0])
    assert made[0].max() == pytest.approx((window.high - window.mean) / window.std, rel=1e-5)
    assert normaliser.windows[1] is None


def test_nothing_of_other_cases_enters(tmp_path):
    training = cases(tmp_path, ("0", "1"))
    before = Normaliser.fit(DATASET.normalisations, training)
    cases(tmp_path, ("0", "1", "2"))
    assert Normaliser.fit(DATASET.normalisations, training) == before


def test_water_is_not_outside_but_zero_in_pet_is(tmp_path):
    case = cases(tmp_path)[0]
    made = Normaliser.fit(DATASET.normalisations, [case])(case.images, case)
    assert case.images[0, 3, 10, 10] == 0
    assert made[0, 3, 10, 10] != 0
    assert (made[1][case.images[1] == 0] == 0).all()
    inside = made[1][case.images[1] != 0]
    assert inside.mean() == pytest.approx(0, abs=1e-3)
    assert inside.std() == pytest.approx(1, abs=1e-3)


def test_what_lies_outside_the_volume_is_zero_after_normalisation(tmp_path):
    prepared = cases(tmp_path)
    normaliser = Normaliser.fit(DATASET.normalisations, prepared)
    image, label, *_ = draw_patch(prepared, normaliser, Placing((40, 40), (40, 40)), True, np.random.default_rng(0))
    assert not image[:, :10].any()
    assert not image[:, -10:].any()
    assert image[0, 10:30, 10:30].all()
    assert label.shape == (40, 40)


def test_ct_without_any_foreground_is_refused(tmp_path):
    prepared = cases(tmp_path, reader=Reader(foreground=False))
    with pytest.raises(DataError, match="no training case contains foreground"):
        Normaliser.fit(DATASET.normalisations, prepared)
