"""Who trains on and who stops, by made-up scores."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.leading.race import Rule, Rung, epochs_to_run, planned_epochs, run_so_far, rung_epochs

HALVING = Rule(2, 1)


def nobody(names, _):
    return dict.fromkeys(names, 0.0)


def run(names, epochs, rule, score, chances=nobody):
    return run_so_far(names, epochs, rule, score, chances)


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
    rungs = run("abcd", (10, 20, 40), HALVING, constant(a=0.1, b=0.4, c=0.3, d=0.2))
    assert [(rung.epoch, rung.candidates, rung.survivors) for rung in rungs] == [
        (10, ("b", "c", "d", "a"), ("b", "c")),
        (20, ("b", "c"), ("b", "c")),
        (40, ("b", "c"), ("b",)),
    ]
    assert rungs[0].stopped == ("d", "a")


def test_a_leader_may_change_between_rungs():
    table = {("a", 10): 0.5, ("b", 10): 0.4, ("c", 10): 0.3, ("a", 20): 0.6, ("b", 20): 0.7}
    (_, last) = run("abc", (10, 20), HALVING, by(table))
    assert last.survivors == ("b",)


def test_with_n_final_1_the_race_ends_when_one_candidate_is_left():
    rungs = run("abcd", (10, 20, 40), Rule(1, 1), constant(a=0.1, b=0.4, c=0.3, d=0.2))
    assert [rung.epoch for rung in rungs] == [10, 20]
    assert rungs[-1].survivors == ("b",)


def test_a_rung_without_all_its_scores_is_open_and_stops_nobody():
    table = {("a", 10): 0.5, ("b", 10): 0.4, ("c", 10): 0.3, ("a", 20): 0.6}
    rungs = run("abc", (10, 20), HALVING, by(table))
    assert rungs[-1] == Rung(20, ("a", "b"))
    assert rungs[-1].stopped == ()
    assert run("abc", (10, 20), HALVING, by({})) == [Rung(10, ("a", "b", "c"))]


def test_of_equals_the_earlier_one_goes_on():
    rungs = run("abcd", (10, 20), HALVING, constant(a=0.2, b=0.2, c=0.2, d=0.2))
    assert rungs[0].survivors == ("a", "b")
    assert rungs[-1].survivors == ("a",)


def test_what_a_race_costs():
    assert planned_epochs(4, (10, 20, 40), HALVING) == 4 * 10 + 2 * 10 + 2 * 20
    assert planned_epochs(4, (10, 20, 40), Rule(1, 1)) == 4 * 10 + 2 * 10
    assert planned_epochs(2, (10, 20, 40), HALVING) == 2 * 40


def test_who_may_still_be_the_best_is_not_stopped():
    chances = {10: {"a": 0.04, "b": 0.5, "c": 0.41, "d": 0.05}, 20: {"b": 0.97, "c": 0.02, "d": 0.01}}
    asked = []

    def told(names, epoch):
        asked.append((tuple(names), epoch))
        return chances[epoch]

    score = constant(a=0.1, b=0.4, c=0.3, d=0.2)
    rungs = run("abcd", (10, 20, 40), Rule(2, 0.05), score, told)
    assert [rung.survivors for rung in rungs] == [("b", "c", "d"), ("b", "c"), ("b",)]
    assert rungs[0].stopped == ("a",)
    assert asked == [(("a", "b", "c", "d"), 10), (("b", "c", "d"), 20)]  # nobody asks at the last rung
    assert [epochs_to_run(rungs[:count], (10, 20, 40), Rule(2, 0.05)) for count in (1, 2, 3)] == [
        40 + 30 + 40,
        40 + 30 + 40,
        40 + 30 + 40,
    ]
    assert planned_epochs(4, (10, 20, 40), Rule(2, 0.05)) == 40 + 20 + 40


def test_with_n_final_1_a_candidate_that_may_be_the_best_keeps_the_race_going():
    score = constant(a=0.1, b=0.4)
    rungs = run("ab", (10, 20), Rule(1, 0.05), score, lambda names, epoch: {"a": 0.3, "b": 0.7})
    assert [rung.survivors for rung in rungs] == [("b", "a"), ("b",)]
    rungs = run("ab", (10, 20), Rule(1, 0.05), score, lambda names, epoch: {"a": 0.01, "b": 0.99})
    assert [rung.survivors for rung in rungs] == [("b",)]


values = st.lists(st.floats(0, 1), min_size=2, max_size=8)


@given(values, st.integers(1, 50), st.integers(1, 4), st.integers(1, 3), st.floats(0, 1), st.randoms())
def test_the_cost_that_is_planned_is_the_least_and_known_better_after_each_rung(
    values, epochs, count, n_final, keep_probability, random
):
    names = tuple("abcdefgh"[: len(values)])
    marks, rule = rung_epochs(epochs, count), Rule(n_final, keep_probability)
    score = lambda name, epoch: values[names.index(name)]  # noqa: E731
    rungs = run(names, marks, rule, score, lambda names, epoch: {name: random.random() for name in names})
    spent, done = 0, 0
    for rung in rungs:
        spent += len(rung.candidates) * (rung.epoch - done)
        done = rung.epoch
    known = [epochs_to_run(rungs[: number + 1], marks, rule) for number in range(len(rungs))]
    assert planned_epochs(len(names), marks, rule) <= known[0]
    assert all(earlier <= later for earlier, later in pairwise(known))
    assert known[-1] == spent <= len(names) * epochs
    best = max(range(len(values)), key=lambda index: values[index])
    assert rungs[-1].survivors == (names[best],)
    assert all(set(later.candidates) == set(rung.survivors) for rung, later in pairwise(rungs))
    # Plain halving costs what is planned.
    plain = run(names, marks, Rule(n_final, 1), score)
    assert epochs_to_run(plain, marks, Rule(n_final, 1)) == planned_epochs(len(names), marks, rule)


@pytest.mark.parametrize("n_final", [2, 3])
def test_at_least_n_final_survive_before_the_end(n_final):
    rungs = run("abcde", (5, 10, 20), Rule(n_final, 1), constant(a=0.1, b=0.4, c=0.3, d=0.2, e=0.5))
    assert all(len(rung.survivors) >= n_final for rung in rungs[:-1])
