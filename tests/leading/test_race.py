"""Who trains on and who stops, by made-up scores."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.leading.race import Rung, planned_epochs, run_so_far, rung_epochs


def by(table):
    return lambda name, epoch: table.get((name, epoch))


def constant(**scores):
    return lambda name, epoch: scores[name]


def test_each_rung_is_half_of_the_next():
    assert rung_epochs(40, 3) == (10, 20, 40)
    assert rung_epochs(9, 3) == (3, 5, 9)
    assert rung_epochs(1, 3) == (1,)
    assert rung_epochs(10, 1) == (10,)


def test_the_worse_half_stops_and_two_meet_at_the_end():
    rungs = run_so_far("abcd", (10, 20, 40), 2, constant(a=0.1, b=0.4, c=0.3, d=0.2))
    assert [(rung.epoch, rung.runners, rung.onward) for rung in rungs] == [
        (10, ("b", "c", "d", "a"), ("b", "c")),
        (20, ("b", "c"), ("b", "c")),
        (40, ("b", "c"), ("b",)),
    ]
    assert rungs[0].stopped == ("d", "a")


def test_a_leader_may_change_between_rungs():
    table = {("a", 10): 0.5, ("b", 10): 0.4, ("c", 10): 0.3, ("a", 20): 0.6, ("b", 20): 0.7}
    (_, last) = run_so_far("abc", (10, 20), 2, by(table))
    assert last.onward == ("b",)


def test_with_one_finalist_the_race_ends_when_one_is_left():
    rungs = run_so_far("abcd", (10, 20, 40), 1, constant(a=0.1, b=0.4, c=0.3, d=0.2))
    assert [rung.epoch for rung in rungs] == [10, 20]
    assert rungs[-1].onward == ("b",)


def test_a_rung_without_all_its_scores_is_open_and_stops_nobody():
    table = {("a", 10): 0.5, ("b", 10): 0.4, ("c", 10): 0.3, ("a", 20): 0.6}
    rungs = run_so_far("abc", (10, 20), 2, by(table))
    assert rungs[-1] == Rung(20, ("a", "b"))
    assert rungs[-1].stopped == ()
    assert run_so_far("abc", (10, 20), 2, by({})) == [Rung(10, ("a", "b", "c"))]


def test_of_equals_the_earlier_one_goes_on():
    rungs = run_so_far("abcd", (10, 20), 2, constant(a=0.2, b=0.2, c=0.2, d=0.2))
    assert rungs[0].onward == ("a", "b")
    assert rungs[-1].onward == ("a",)


def test_what_a_race_costs():
    assert planned_epochs(4, (10, 20, 40), 2) == 4 * 10 + 2 * 10 + 2 * 20
    assert planned_epochs(4, (10, 20, 40), 1) == 4 * 10 + 2 * 10
    assert planned_epochs(2, (10, 20, 40), 2) == 2 * 40


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8), st.integers(1, 50), st.integers(1, 4), st.integers(1, 3))
def test_the_cost_that_is_planned_is_the_cost_that_is_run(values, epochs, count, finalists):
    names = tuple("abcdefgh"[: len(values)])
    marks = rung_epochs(epochs, count)
    rungs = run_so_far(names, marks, finalists, lambda name, epoch: values[names.index(name)])
    spent, done = 0, 0
    for rung in rungs:
        spent += len(rung.runners) * (rung.epoch - done)
        done = rung.epoch
    assert spent == planned_epochs(len(names), marks, finalists) <= len(names) * epochs
    best = max(range(len(values)), key=lambda index: values[index])
    assert rungs[-1].onward == (names[best],)
    assert all(set(later.runners) == set(rung.onward) for rung, later in pairwise(rungs))


@pytest.mark.parametrize("finalists", [2, 3])
def test_finalists_are_never_fewer_before_the_end(finalists):
    rungs = run_so_far("abcde", (5, 10, 20), finalists, constant(a=0.1, b=0.4, c=0.3, d=0.2, e=0.5))
    assert all(len(rung.onward) >= finalists for rung in rungs[:-1])
