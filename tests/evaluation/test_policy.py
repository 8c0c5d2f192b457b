import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import HarnessError
from harness.evaluation.policy import POLICIES, empty_policy, image_diagonal

BRATS = ((240, 240, 155), (1.0, 1.0, 1.0))
images = st.integers(2, 3).flatmap(
    lambda dims: st.tuples(
        st.lists(st.integers(1, 600), min_size=dims, max_size=dims),
        st.lists(st.floats(0.1, 10), min_size=dims, max_size=dims),
    )
)


def test_presets():
    assert set(POLICIES) == {"worst", "brats", "nan_skip"}
    assert [policy.name for policy in POLICIES.values() if policy.skips] == ["nan_skip"]
    assert all(policy.name == name and policy.source for name, policy in POLICIES.items())


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_absent_in_both_is_right_and_absent_in_one_is_wrong(name):
    policy = empty_policy(name)
    assert (policy.dice("empty_both"), policy.dice("empty_one"), policy.dice("missing")) == (1, 0, 0)
    assert policy.hd95("empty_both", *BRATS) == 0


def test_worst_charges_the_diagonal_of_the_image():
    assert empty_policy("worst").hd95("empty_one", (30, 40), (0.1, 0.1)) == pytest.approx(5.0)


def test_brats_charges_its_own_constant_on_every_grid():
    policy = empty_policy("brats")
    assert policy.hd95("empty_one", *BRATS) == 373.12866
    assert policy.hd95("empty_one", (10, 10), (1.0, 1.0)) == 373.12866


def test_the_brats_constant_is_the_diagonal_of_the_brats_image():
    assert image_diagonal(*BRATS) == pytest.approx(373.12866, abs=1e-5)


@given(st.sampled_from(sorted(POLICIES)), images)
def test_a_missing_prediction_is_never_better_than_an_empty_one(name, image):
    policy = empty_policy(name)
    missing = policy.hd95("missing", *image)
    assert missing >= policy.hd95("empty_one", *image) >= policy.hd95("empty_both", *image)
    assert missing >= image_diagonal(*image)
    assert policy.dice("missing") <= policy.dice("empty_one") <= policy.dice("empty_both")


def test_an_unknown_policy_is_named_with_the_nearest_known():
    with pytest.raises(HarnessError, match=r"'wurst'[\s\S]*'worst'"):
        empty_policy("wurst")
