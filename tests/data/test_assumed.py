"""The stand-in for data that is not there: parts of the size of the real ones, and nothing to compute on."""

from __future__ import annotations

import pytest

from harness.data import DATASETS
from harness.data.assumed import ASSUMED, AssumedReader
from harness.data.splits import check_leak
from harness.errors import DataError


def reader(name: str) -> AssumedReader:
    dataset = DATASETS.get(name)
    assert dataset.release is not None
    return AssumedReader(dataset.release, dataset)


def test_every_downloaded_dataset_states_its_release():
    real = [DATASETS.get(name) for name in DATASETS.names() if DATASETS.get(name).kind == "real"]
    assert [dataset.name for dataset in real if dataset.release is None] == []


@pytest.mark.parametrize(("name", "cases"), [("brats2019", 335), ("brats2023", 1251), ("hecktor21", 224)])
def test_folds_are_as_large_as_the_authors(name, cases):
    stand_in = reader(name)
    assert stand_in.fingerprint() == ASSUMED
    first = stand_in.split(0)
    assert len(first.train) + len(first.val) == int(0.8 * cases)
    assert len(first.train) + len(first.val) + len(first.test) == len(stand_in.cases()) == cases


def test_official_lists_have_their_official_size():
    first = reader("prostate158").split(0)
    assert (len(first.train), len(first.val), len(first.test)) == (119, 20, 19)
    assert len(reader("prostate158").split(1).test) == 158 - int(0.8 * 158)


def test_timepoints_of_a_patient_stay_together():
    dataset, stand_in = DATASETS.get("brats2024"), reader("brats2024")
    assert len({stand_in.patient(case) for case in stand_in.cases()}) == 613
    for fold in range(dataset.folds):
        check_leak(stand_in.split(fold), dataset, stand_in, "fold")


def test_it_has_no_images():
    with pytest.raises(DataError, match="case00000 of brats2023"):
        reader("brats2023").load("case00000")
