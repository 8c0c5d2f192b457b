"""Whether our mean and a published one differ by more than chance."""

import math
from typing import NamedTuple

from harness.report.inputs.published_numbers import TEST_CASES, why_not_over_cases
from harness.statistics.analysis import Summary
from harness.statistics.bootstrap import LEAST_PATIENTS, Interval
from harness.statistics.two_means import chance_of_cases, chance_of_trainings, interval_of_difference


class Published(NamedTuple):
    """A published number.

    Attributes:
        dataset: Registered name.
        region: Region, or ``Mean``.
        mean: Published mean.
        sd: SD as printed; NaN for none.
    """

    dataset: str
    region: str
    mean: float
    sd: float


class Verdict(NamedTuple):
    """What may be said of two means.

    Attributes:
        words: As the table prints it.
        interval: 95 % interval of ours minus published; ``None`` where there is no verdict.
    """

    words: str
    interval: Interval | None = None


def compare(kind: str, ours: Summary, published: Published) -> Verdict:
    """Compares our mean with a published one by the interval of their difference.

    Chance is in the choice of cases on both sides, and, where ours has several seeds, in ours and the one published
    training. A published SD is taken as one over test cases unless it cannot be one.

    Args:
        kind: Kind of our data: only real data can agree with published numbers.
        ours: Statistics of our variant.
        published: The published number.
    """
    if kind != "real":
        return Verdict(f"not comparable ({kind} data)")
    if not ours.complete:
        return Verdict("no verdict (results are missing)")
    if ours.n_patients < LEAST_PATIENTS:
        return Verdict(f"no verdict (fewer than {LEAST_PATIENTS} patients)")
    if math.isnan(published.sd):
        return Verdict("no verdict (no SD is published)")
    if why_not_over_cases(published.dataset, published.region):
        return Verdict("no verdict (published SD is not over cases)")
    chances = [
        chance_of_cases(ours.sd, ours.n_patients),
        chance_of_cases(published.sd, TEST_CASES[published.dataset]),
    ]
    if ours.n_seeds > 1:
        chances.append(chance_of_trainings(ours.seed_sd, ours.n_seeds))
    interval = interval_of_difference(ours.mean - published.mean, chances)
    if interval.low <= 0 <= interval.high:
        return Verdict("agrees", interval)
    return Verdict("ours higher" if interval.low > 0 else "ours lower", interval)
