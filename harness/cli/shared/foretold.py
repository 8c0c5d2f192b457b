"""What a study can show, said before anything is trained: from published SDs, where they can be SDs over cases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.study.expansion import LoadedStudy

#: How far two methods agree from patient to patient: that of related networks, and of networks that have little in
#: common. Three nnU-Nets on 484 and on 32 real patients: 0.93 and 0.99.
_CORRELATIONS = (0.9, 0.5)


def foretold(loaded: LoadedStudy) -> Iterator[str]:
    """Yields one line per dataset with a published SD: the least difference in Dice that the study would show.

    Before them, networks that reports do not rank with the others are named.

    Args:
        loaded: The study.
    """
    from harness.execution.costs.data_size import split_of
    from harness.report.inputs.published_numbers import published_rows, why_not_over_cases
    from harness.segmenters.contract import PAPER_ONLY
    from harness.statistics.power import POWER, least_difference, normal_differences
    from harness.statistics.sample_size import ALPHA

    if unproven := list(dict.fromkeys(cell.label for cell in loaded.cells if cell.spec.paper_only)):
        yield f"{', '.join(unproven)}: {PAPER_ONLY}; reports do not rank them with the others unless asked."
    comparisons = max(1, len({cell.label for cell in loaded.cells if not cell.spec.paper_only}) - 1)
    for name in dict.fromkeys(cell.spec.dataset for cell in loaded.cells):
        cells = [cell.spec for cell in loaded.cells if cell.spec.dataset == name]
        cases = len({case for spec in cells for case in split_of(spec).test})
        rows = published_rows(name)
        rows = rows[(rows["metric"] == "dice") & rows["std"].notna()]
        sds = {
            str(region): float(group["std"].median())
            for region, group in rows.groupby("region")
            if not why_not_over_cases(name, str(region))
        }
        if not sds:
            continue
        region, sd = max(sds.items(), key=lambda one: one[1])
        ends = [
            least_difference(normal_differences(sd * (2 * (1 - r)) ** 0.5, 401), cases, alpha=ALPHA / comparisons)
            for r in _CORRELATIONS
        ]
        if ends[0] is None or ends[1] is None:
            yield f"{name}: {cases} test cases are too few for {comparisons} tests with Holm's correction."
            continue
        yield (
            f"{name}: {cases} test cases show a difference in Dice of {ends[0]:.3f} to {ends[1]:.3f} ({region}) in "
            f"{100 * POWER:.0f} % of studies; published SD over cases {sd:.3f}, methods that agree from patient to "
            f"patient with r = {_CORRELATIONS[0]} to {_CORRELATIONS[1]}, {comparisons} comparisons."
        )
