import math
from importlib.metadata import version

import numpy as np
import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness.data import DATASETS
from harness.errors import HarnessError
from harness.evaluation import METRICS
from harness.evaluation.overlap import dice
from harness.evaluation.policy import POLICIES
from harness.evaluation.scoring import Score, score_case
from harness.evaluation.status import STATUSES
from harness.evaluation.surface import hd95

WORST = POLICIES["worst"]
REGIONS = {"WT": (1, 2, 4), "TC": (1, 4), "ET": (4,)}
SHAPE, SPACING = (6, 8, 4), (1.0, 0.5, 3.0)
DIAGONAL = math.hypot(6, 4, 12)


def by_name(scores):
    return {(score.region, score.metric): score for score in scores}


def truth_map():
    truth = np.zeros(SHAPE, dtype=np.uint8)
    truth[1:5, 1:6, 1:3] = 2
    truth[2:4, 2:5, 1:3] = 1
    truth[3, 3, 1] = 4
    return truth


label_maps = hnp.arrays(np.uint8, SHAPE, elements=st.sampled_from([0, 0, 0, 1, 2, 4]), fill=st.just(0))


def test_a_perfect_prediction():
    scores = score_case(truth_map(), truth_map(), REGIONS, SPACING, WORST)
    assert [(score.region, score.metric) for score in scores] == [
        (region, metric) for region in REGIONS for metric in ("dice", "hd95")
    ]
    assert all(score.status == "scored" and score.value == (score.metric == "dice") for score in scores)


@settings(max_examples=examples(60), deadline=None)
@given(label_maps, label_maps)
def test_overlapping_regions_are_unions_of_labels(prediction, truth):
    scores = by_name(score_case(prediction, truth, REGIONS, SPACING, WORST))
    for region, labels in REGIONS.items():
        found = np.logical_or.reduce([prediction == label for label in labels])
        real = np.logical_or.reduce([truth == label for label in labels])
        if found.any() and real.any():
            assert scores[region, "dice"].value == dice(found, real)
            assert scores[region, "hd95"].value == hd95(found, real, SPACING)


@settings(max_examples=examples(60), deadline=None)
@given(label_maps, label_maps, st.sampled_from(sorted(POLICIES)))
def test_every_region_and_metric_has_a_finite_value(prediction, truth, policy):
    scores = score_case(prediction, truth, REGIONS, SPACING, POLICIES[policy])
    assert len(scores) == len(REGIONS) * 2
    for score in scores:
        assert type(score.value) is float
        assert math.isfinite(score.value)
        assert score.status in STATUSES


@settings(max_examples=examples(60), deadline=None)
@given(label_maps, label_maps, st.sampled_from(sorted(POLICIES)))
def test_deleting_the_prediction_never_raises_a_score(prediction, truth, policy):
    present = by_name(score_case(prediction, truth, REGIONS, SPACING, POLICIES[policy]))
    deleted = by_name(score_case(None, truth, REGIONS, SPACING, POLICIES[policy]))
    assert present.keys() == deleted.keys()
    for key, score in deleted.items():
        better = score.value > present[key].value if score.metric == "dice" else score.value < present[key].value
        assert score.status == "missing"
        assert not better


@settings(max_examples=examples(60), deadline=None)
@given(label_maps, label_maps)
def test_emptying_a_prediction_never_raises_a_score_under_worst(prediction, truth):
    present = by_name(score_case(prediction, truth, {"WT": REGIONS["WT"]}, SPACING, WORST))
    emptied = by_name(score_case(np.zeros_like(truth), truth, {"WT": REGIONS["WT"]}, SPACING, WORST))
    if truth.any():
        assert emptied["WT", "dice"].value <= present["WT", "dice"].value
        assert emptied["WT", "hd95"].value >= present["WT", "hd95"].value


@pytest.mark.parametrize(("policy", "one", "missing"), [("worst", DIAGONAL, DIAGONAL), ("brats", 373.12866, 373.12866)])
def test_empty_regions_by_policy(policy, one, missing):
    empty, real = np.zeros(SHAPE, dtype=np.uint8), truth_map()
    cases = {
        "empty_both": (empty, empty, 1, 0),
        "empty_one": (empty, real, 0, one),
        "missing": (None, real, 0, missing),
    }
    for status, (prediction, truth, overlap, distance) in cases.items():
        scores = by_name(score_case(prediction, truth, {"ET": (4,)}, SPACING, POLICIES[policy]))
        assert {score.status for score in scores.values()} == {status}
        assert scores["ET", "dice"].value == overlap
        assert scores["ET", "hd95"].value == pytest.approx(distance)


def test_a_false_alarm_is_empty_in_one():
    scores = score_case(truth_map(), np.zeros(SHAPE, dtype=np.uint8), {"ET": (4,)}, SPACING, WORST)
    assert [(score.status, score.value) for score in scores] == [("empty_one", 0), ("empty_one", DIAGONAL)]


def test_a_missing_prediction_is_worst_even_where_nothing_was_to_find():
    scores = score_case(None, np.zeros(SHAPE, dtype=np.uint8), {"ET": (4,)}, SPACING, WORST)
    assert [(score.status, score.value) for score in scores] == [("missing", 0), ("missing", DIAGONAL)]


def test_one_region_may_be_empty_and_another_scored():
    prediction = truth_map()
    prediction[prediction == 4] = 1
    scores = by_name(score_case(prediction, truth_map(), REGIONS, SPACING, WORST, metrics=["dice"]))
    assert {region: score.status for (region, _), score in scores.items()} == {
        "WT": "scored",
        "TC": "scored",
        "ET": "empty_one",
    }


def test_two_dimensions():
    truth = truth_map()[:, :, 1]
    assert score_case(truth, truth, {"WT": (1, 2, 4)}, (1.0, 1.0), WORST)[1].value == 0


def test_the_implementation_names_metric_version_and_policy():
    score = score_case(truth_map(), truth_map(), {"ET": (4,)}, SPACING, WORST, metrics=["hd95"])[0]
    assert score == Score("ET", "hd95", 0.0, "scored", f"{METRICS.get('hd95').recorded_implementation}; empty: worst")


def test_every_dataset_is_scored_by_metrics_and_a_policy_that_exist():
    for name in DATASETS.names():
        dataset = DATASETS.get(name)
        assert set(dataset.metrics) <= set(METRICS.names())
        assert dataset.empty_policy in POLICIES


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prediction": np.zeros((6, 8, 5), np.uint8)}, "shape"),
        ({"prediction": np.zeros(SHAPE, np.float32)}, "float32"),
        ({"truth": np.zeros(SHAPE, np.float64)}, "float64"),
        ({"truth": np.zeros((2, 6, 8, 4), np.uint8)}, "cannot be scored"),
        ({"truth": np.zeros((0, 8, 4), np.uint8)}, "cannot be scored"),
        ({"spacing": (1.0, 1.0)}, "spacing"),
        ({"spacing": (1.0, 1.0, 0.0)}, "spacing"),
        ({"spacing": (1.0, 1.0, math.nan)}, "spacing"),
        ({"regions": {"WT": ()}}, "'WT' has no label"),
        ({"regions": {"WT": (0, 1)}}, "background"),
        ({"metrics": ["dise"]}, "Did you mean 'dice'"),
    ],
)
def test_what_cannot_be_scored_is_refused(change, message):
    arguments = {
        "prediction": truth_map(),
        "truth": truth_map(),
        "regions": REGIONS,
        "spacing": SPACING,
        "policy": WORST,
    }
    with pytest.raises(HarnessError, match=message):
        score_case(**(arguments | change))


def test_metrics_of_a_region_share_their_work(monkeypatch):
    """Distances between the surfaces are computed once a region, lesion-wise scores once a year's rules."""
    from harness.evaluation import pair, region

    calls = []
    for module, name in ((pair, "distances_both_ways"), (region, "lesion_scores")):
        original = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda *given, original=original, name=name: (calls.append(name), original(*given))[1]
        )
    prediction = np.roll(truth_map(), 1, axis=1)
    score_case(prediction, truth_map(), {"WT": (1, 2, 4)}, SPACING, WORST, METRICS.names())
    # Neither mask touches a side of the image; only then CHAOS needs distances of its own.
    assert calls.count("lesion_scores") == 2
    assert calls.count("distances_both_ways") == 1


LESIONS = (
    "harness 0.2.0 evaluation.lesions, BraTS {year} rules, penalty {penalty} mm (areas of surface-distance {{surface}})"
)

#: What results of release 0.2.0 recorded. A number that has not changed keeps its name, whatever moves.
RECORDED = {
    "assd": "harness 0.2.0 evaluation.surface.assd_of (medpy's definition: both directions pooled)",
    "chaos_assd": "harness 0.2.0 evaluation.chaos.assd_score",
    "chaos_dice": "harness 0.2.0 evaluation.chaos.dice_score",
    "chaos_mssd": "harness 0.2.0 evaluation.chaos.mssd_score",
    "chaos_ravd": "harness 0.2.0 evaluation.chaos.ravd_score",
    "chaos_score": "harness 0.2.0 evaluation.chaos.mean_score",
    "dice": "harness 0.2.0 evaluation.overlap.dice",
    "hd": "harness 0.2.0 evaluation.surface.hd_of (medpy's definition)",
    "hd95": "harness 0.2.0 evaluation.surface.hd95 (medpy's definition: both directions pooled)",
    "hd95_medpy": "medpy {medpy} metric.binary.hd95",
    "lesion_dice_2023": LESIONS.format(year=2023, penalty=374),
    "lesion_dice_2024": LESIONS.format(year=2024, penalty=337),
    "lesion_hd95_2023": LESIONS.format(year=2023, penalty=374),
    "lesion_hd95_2024": LESIONS.format(year=2024, penalty=337),
    "nsd": "harness 0.3.0 evaluation.surface_dice.nsd_of, tolerance 1 mm (areas of surface-distance {surface})",
    "precision": "harness 0.2.0 evaluation.overlap.precision_of",
    "ravd": "harness 0.2.0 evaluation.overlap.ravd_of",
    "sensitivity": "harness 0.2.0 evaluation.overlap.sensitivity_of",
}


def test_implementations_are_called_as_results_recorded_them():
    installed = {"medpy": version("medpy"), "surface": version("surface-distance")}
    found = {name: METRICS.get(name).recorded_implementation for name in RECORDED}
    assert found == {name: words.format(**installed) for name, words in RECORDED.items()}
