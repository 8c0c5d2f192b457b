"""Patients that lack modalities in the whole training: their masks, what a network is given, and what is counted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.data import DATASETS
from harness.data.batches.batches import TrainingBatches
from harness.data.batches.modality_dropout import join_absent
from harness.data.batches.patient_masks import PatientMasks, take_away
from harness.data.incomplete import count_patterns
from harness.data.preparation.cache import PreparedCase
from harness.data.preparation.normalisation import Normaliser
from harness.data.preparation.prepare import prepare
from harness.data.settings import AugmentationSettings, PreparationSettings, SamplingSettings
from harness.errors import DataError
from harness.study.protocol import load_protocol
from harness.training.modality_fill import mean_images
from tests.helpers.examples import examples

FOUR = ("T1", "T1c", "T2", "F")
RATES = {"T1": 0.2, "T1c": 0.4, "T2": 0.8, "F": 0.6}


def patients(number: int) -> list[PreparedCase]:
    names = [f"p{index:05d}" for index in range(number)]
    return [PreparedCase(name, name, Path(), (), None, {}) for name in names]  # type: ignore[arg-type]


@pytest.mark.parametrize("rates", [RATES, {"T1": 0.9, "T1c": 0.9, "T2": 0.9, "F": 0.1}, {"T2": 0.5}])
def test_each_modality_is_missing_at_its_own_rate_and_nobody_lacks_all(rates):
    drawn = take_away(patients(4000), rates, FOUR, seed=0)
    for channel, name in enumerate(FOUR):
        assert np.mean([channel in case.absent for case in drawn]) == pytest.approx(rates.get(name, 0), abs=0.025)
    assert all(len(case.absent) < 4 for case in drawn)


def test_where_one_modality_is_left_to_each_patient_the_rates_are_met_too():
    drawn = take_away(patients(4000), {"T1": 0.5, "T1c": 0.75, "T2": 0.75, "F": 1 - 2**-20}, FOUR, seed=1)
    assert np.mean([0 in case.absent for case in drawn]) == pytest.approx(0.5, abs=0.03)
    assert all(len(case.absent) < 4 for case in drawn)


@given(st.lists(st.floats(0, 0.99), min_size=1, max_size=6), st.integers(0, 2**32 - 1))
def test_never_does_a_patient_lack_all_whatever_the_rates(rates, seed):
    absent = PatientMasks(rates).draw(np.random.default_rng(seed))
    assert len(absent) < len(rates)


def test_a_mask_depends_on_seed_and_patient_alone():
    cases = patients(50)
    drawn = {case.name: case.absent for case in take_away(cases, RATES, FOUR, seed=3)}
    later = {case.name: case.absent for case in take_away(cases[::-1][:20], RATES, FOUR, seed=3)}
    assert later.items() <= drawn.items()
    assert {case.name: case.absent for case in take_away(cases, RATES, FOUR, seed=4)} != drawn
    two = [replace(case, patient="one") for case in cases[:2]]
    assert len({case.absent for case in take_away(two, RATES, FOUR, seed=3)}) == 1


def test_what_the_files_lack_stays_absent_and_something_is_left():
    lacking = [replace(case, absent=(1, 2)) for case in patients(300)]
    drawn = take_away(lacking, RATES, FOUR, seed=0)
    assert {case.absent for case in drawn} == {(1, 2), (0, 1, 2), (1, 2, 3)}


@given(st.sets(st.integers(0, 3), max_size=3), st.sets(st.integers(0, 3), max_size=3), st.integers(0, 99))
@settings(max_examples=examples(100))
def test_joined_absences_hold_both_and_leave_one_of_the_patients_own(lacking, drawn, seed):
    joined = set(join_absent(4, sorted(lacking), sorted(drawn), np.random.default_rng(seed)))
    assert lacking <= joined <= lacking | drawn
    assert joined == lacking | drawn or (len(joined) == 3 and len(lacking | drawn) == 4)


def test_patterns_are_counted():
    assert count_patterns(FOUR, [(), (2,), (2,), (0, 3)]) == {"T1+T1c+F": 2, "T1+T1c+T2+F": 1, "T1c+T2": 1}


@pytest.fixture(scope="module")
def cases(small_cortex, tmp_path_factory):
    dataset = DATASETS.get("cortex")
    reader = dataset.open(small_cortex)
    return prepare(
        dataset, reader, reader.cases()[:3], PreparationSettings(), (32, 32), tmp_path_factory.mktemp("cache")
    )


def test_batches_lack_what_their_patient_lacks_in_every_step(cases):
    masked = [replace(cases[0], absent=(0,)), replace(cases[1], absent=(1,)), cases[2]]
    normaliser = Normaliser.fit("zscore_train", masked)
    made = TrainingBatches(masked, normaliser, (32, 32), SamplingSettings(batch_size=8), AugmentationSettings(), seed=0)
    plain = TrainingBatches(cases, normaliser, (32, 32), SamplingSettings(batch_size=8), AugmentationSettings(), seed=0)
    nan = made[4].images.isnan().flatten(2)
    assert {tuple(row) for row in nan.all(dim=2).tolist()} == {(True, False), (False, True), (False, False)}
    assert made[4].images[~nan.all(dim=2)].equal(plain[4].images[~nan.all(dim=2)])
    assert made[4].labels.equal(plain[4].labels)


def test_statistics_of_a_modality_are_those_of_the_cases_that_have_it(cases):
    masked = [replace(cases[0], absent=(0,)), *cases[1:]]
    fitted, having, everything = (Normaliser.fit("zscore_train", given) for given in (masked, cases[1:], cases))
    assert fitted.training == (having.training[0], everything.training[1])
    assert mean_images(fitted, masked)[0] == mean_images(fitted, cases[1:])[0]
    assert not fitted(masked[0].images, masked[0])[0].any()
    with pytest.raises(DataError, match="No training case has modality number 1"):
        Normaliser.fit("zscore_case", [replace(case, absent=(0,)) for case in cases])


def test_the_setting_stays_out_of_the_identity_unset_and_agrees_with_random_dropout():
    assert "missing" not in load_protocol("demo").identity()["sampling"]
    given = load_protocol({"base": "demo", "sampling": {"missing": {"per_patient": {"epi": 0.4}}}})
    assert given.identity()["sampling"]["missing"] == {"per_patient": {"epi": 0.4}, "fill": "zeros"}
    assert type(given).model_validate(json.loads(given.model_dump_json())) == given
    assert given.sampling.fill == "zeros"
    with pytest.raises(ValidationError, match="fill"):
        SamplingSettings(modality_dropout={"fill": "mean"}, missing={"fill": "zeros"})
