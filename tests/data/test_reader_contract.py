"""Readers of other packages: written for release 0.2.0, derived from ours, or without the optional methods."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

import harness.data
from harness.data import DATASETS, Case, Floor, Reader, Split, TrivialPrediction
from harness.data.contract import case_warnings, trivial_predictions
from harness.data.datasets.cortex.reader import CortexReader
from harness.data.reading.checks import check_dataset

LABEL = np.ones((4, 4, 2), np.uint8)


class Minimal:
    """What every reader implements; inherits from nothing."""

    def fingerprint(self):
        return "0123"

    def cases(self):
        return ("a", "b")

    def unlabelled(self):
        return ()

    def patient(self, case):
        return case

    def split(self, fold):
        return Split(("a",), (), ("b",))

    def load(self, case):
        return Case(
            np.random.default_rng(ord(case)).normal(size=(2, *LABEL.shape)).astype(np.float32), LABEL, np.eye(4)
        )


class Former(Minimal):
    """As release 0.2.0 asked for it."""

    def concerns(self, case, content):
        return [f"{case} looks wrong"]

    def floors(self, fold, case):
        return [Floor("all of it", LABEL)]


@dataclass(frozen=True, slots=True)
class Proxy:
    """Passes on what it is asked."""

    reader: object

    def __getattr__(self, name):
        return getattr(self.reader, name)


def test_the_former_name_of_a_trivial_prediction_is_the_same_class():
    assert harness.data.Floor is harness.data.contract.Floor is TrivialPrediction


@pytest.mark.parametrize("reader", [Former(), Proxy(Former())], ids=["structural", "proxy"])
def test_a_reader_of_release_0_2_0_is_asked_under_the_former_names(reader):
    assert case_warnings(reader, "a", reader.load("a")) == ["a looks wrong"]
    (trivial,) = trivial_predictions(reader, 0, "b")
    assert trivial.name == "all of it"
    np.testing.assert_array_equal(trivial.prediction, LABEL)


def test_its_warnings_reach_the_check_of_a_folder():
    dataset = replace(DATASETS.get("cortex"), labels={0: "background", 1: "organ"}, folds=1)
    findings = check_dataset(dataset, Former()).findings
    assert [finding.where for finding in findings if "looks wrong" in finding.what] == ["a, b"]


def test_without_the_optional_methods_a_reader_warns_of_nothing_and_predicts_nothing():
    assert case_warnings(Minimal(), "a", Minimal().load("a")) == []
    assert trivial_predictions(Minimal(), 0, "b") == []


def test_a_reader_that_inherits_need_not_repeat_the_defaults():
    class Small(Reader):
        fingerprint, cases, split, load = Minimal.fingerprint, Minimal.cases, Minimal.split, Minimal.load

    reader = Small()
    assert reader.unlabelled() == ()
    assert reader.patient("a") == "a"
    assert case_warnings(reader, "a", reader.load("a")) == trivial_predictions(reader, 0, "b") == []


def test_a_class_derived_from_one_of_ours_may_override_either_name():
    class Longer(CortexReader):
        def floors(self, fold, case):
            return [*super().floors(fold, case), Floor("nothing", LABEL)]

    class Shorter(CortexReader):
        def trivial_baselines(self, fold, case):
            return []

    root = DATASETS.get("cortex").home
    case = CortexReader(root).split(0).test[0]
    assert [one.name for one in trivial_predictions(Longer(root), 0, case)] == [
        "mirror copy of the other hemisphere",
        "nothing",
    ]
    assert trivial_predictions(Shorter(root), 0, case) == []


def test_our_readers_still_answer_to_the_former_names():
    reader = DATASETS.get("cortex").open()
    case = reader.split(0).test[0]
    assert reader.concerns(case, reader.load(case)) == []
    assert [one.name for one in reader.floors(0, case)] == ["mirror copy of the other hemisphere"]
