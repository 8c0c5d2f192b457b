"""Names of regions, labels and modalities are anybody's; MLflow takes them under names of its own, one to one."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name, _validate_param_name

from harness.tracking.names import metric_name

#: Names that MLflow refuses, or takes for a path, and what could be mistaken for their codes.
AWKWARD = [
    *("ET+TC", "GTV (nodes)", "a,b", "a*b", "a&b", "a|b", "a'b", "a:b", 'a"b', "..", ".", "", "/", "a/b", "a//b", "\n"),
    *("_x2B_", "ET_x2B_TC", "mean", "best", "_x6D_ean", "Größe", "标签", "a" * 300, "a" * 299 + "b"),
]


def test_awkward_names_are_taken_and_stay_different():
    names = [metric_name("dice", name, reserved=("mean",)) for name in AWKWARD]
    assert len({*names, metric_name("dice", "mean")}) == len(AWKWARD) + 1
    for name in names:
        _validate_metric_name(name)
        _validate_param_name(name)
    assert metric_name("dice", "GTV") == "dice/GTV", "ordinary names stay"


@given(st.text(max_size=30), st.text(max_size=30))
@example("a+b", "a_x2B_b")
@example("_", "_x5F_")
def test_any_two_names_stay_different(one, other):
    first, second = metric_name("dice", one), metric_name("dice", other)
    _validate_metric_name(first)
    _validate_param_name(first)
    assert (first == second) == (one == other)
