"""How a metric is printed: the one place that decides what "printed precision" means."""

import math
from dataclasses import dataclass

from harness.evaluation import METRICS

#: From here on three digits say more than all of them: a volume difference to an empty truth runs to millions.
_HUGE = 10_000
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class MetricStyle:
    """How a metric is printed.

    Attributes:
        name: Value of the ``metric`` column.
        title: What tables and axes call it.
        unit: Physical unit, ``''`` for a plain ratio.
        decimals: Digits after the point; equal printed means are ties.
        higher_is_better: Direction of the ranking.
        scale: The scale in words, for captions.
        most: The largest value there can be; the least is 0.
    """

    name: str
    title: str
    unit: str
    decimals: int
    higher_is_better: bool
    scale: str
    most: float

    @property
    def heading(self) -> str:
        """Title with the unit, e.g. ``HD95 (mm)``."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    @property
    def arrow(self) -> str:
        """Points to better."""
        return "↑" if self.higher_is_better else "↓"

    @property
    def pointed(self) -> str:
        """Heading with its arrow, e.g. ``HD95 (mm) ↓``."""
        return f"{self.heading} {self.arrow}"

    @property
    def direction(self) -> str:
        """Which way is better, in words."""
        return "higher is better" if self.higher_is_better else "lower is better"

    def text(self, value: float) -> str:
        """Prints a value, a huge one as a power of ten; ``–`` for one that does not exist."""
        if math.isnan(value):
            return "–"
        if math.isinf(value):
            return "∞" if value > 0 else "−∞"
        if abs(value) >= _HUGE:
            digits, power = f"{value:.2e}".split("e+")
            return f"{digits}×10{str(int(power)).translate(_RAISED)}".replace("-", "−")
        return f"{value:z.{self.decimals}f}".replace("-", "−")

    def signed(self, value: float) -> str:
        """Prints a difference with its sign; zero at printed precision carries none."""
        text = self.text(value)
        return f"+{text}" if value > 0 and self.rounded(value) != 0 else text

    def rounded(self, value: float) -> float:
        """The value as a reader of the table knows it."""
        return float(f"{value:.2e}" if abs(value) >= _HUGE else f"{value:z.{self.decimals}f}")


def metric_style(name: str) -> MetricStyle:
    """Returns how a registered metric is printed.

    Raises:
        HarnessError: No package registers the metric, so it is not known which way it is better.
    """
    metric = METRICS.get(name)
    return MetricStyle(
        metric.name,
        metric.title,
        metric.unit,
        metric.decimals,
        metric.higher_is_better,
        metric.scale,
        metric.highest,
    )
