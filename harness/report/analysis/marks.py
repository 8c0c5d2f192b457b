"""Which of several values are best and second at printed precision."""

import math
from collections.abc import Hashable, Mapping
from typing import TypeVar

from harness.report.analysis.metric_styles import MetricStyle

K = TypeVar("K", bound=Hashable)


def best_and_second(values: Mapping[K, float], style: MetricStyle) -> dict[K, str]:
    """Returns ``best``, ``second`` or ``''`` for each value; equal printed values share a mark, one alone has none."""
    printed = {key: style.rounded(value) for key, value in values.items() if not math.isnan(value)}
    if len(printed) < 2:
        return {}
    ranked = sorted(set(printed.values()), reverse=style.higher_is_better)
    marks = dict(zip(ranked, ("best", "second"), strict=False))
    return {key: marks.get(value, "") for key, value in printed.items()}
