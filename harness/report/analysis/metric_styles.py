"""How each metric is named, rounded and ordered: the one place that decides what "printed precision" means."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from harness.errors import HarnessError, did_you_mean

__all__ = ["METRICS", "MetricStyle", "metric_style"]

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
    """

    name: str
    title: str
    unit: str
    decimals: int
    higher_is_better: bool
    scale: str

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

    @property
    def most(self) -> float:
        """The largest value there can be; the least is 0."""
        return {_RATIO: 1.0, _POINTS: 100.0}.get(self.scale, math.inf)

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


_RATIO, _MM, _POINTS = "from 0 to 1", "in mm", "from 0 to 100"


def _share(name: str, title: str) -> MetricStyle:
    return MetricStyle(name, title, "", 3, higher_is_better=True, scale=_RATIO)


def _distance(name: str, title: str) -> MetricStyle:
    return MetricStyle(name, title, "mm", 2, higher_is_better=False, scale=_MM)


def _points(name: str, title: str) -> MetricStyle:
    return MetricStyle(name, title, "", 1, higher_is_better=True, scale=_POINTS)


_STYLES = (
    _share("dice", "Dice"),
    _distance("hd95", "HD95"),
    _distance("hd95_medpy", "HD95 by medpy"),
    _distance("hd", "HD"),
    _distance("assd", "ASSD"),
    _share("nsd", "NSD at 1 mm"),
    _share("sensitivity", "Sensitivity"),
    _share("precision", "Precision"),
    MetricStyle("ravd", "RAVD", "", 3, higher_is_better=False, scale="as a ratio"),
    _share("lesion_dice_2023", "Lesion Dice 2023"),
    _distance("lesion_hd95_2023", "Lesion HD95 2023"),
    _share("lesion_dice_2024", "Lesion Dice 2024"),
    _distance("lesion_hd95_2024", "Lesion HD95 2024"),
    _points("chaos_dice", "CHAOS DICE"),
    _points("chaos_ravd", "CHAOS RAVD"),
    _points("chaos_assd", "CHAOS ASSD"),
    _points("chaos_mssd", "CHAOS MSSD"),
    _points("chaos_score", "CHAOS score"),
)

#: Styles by metric name.
METRICS: Mapping[str, MetricStyle] = MappingProxyType({style.name: style for style in _STYLES})


def metric_style(name: str) -> MetricStyle:
    """Returns the style of a metric.

    Raises:
        HarnessError: The report does not know which way the metric is better.
    """
    if name not in METRICS:
        raise HarnessError(f"The report has no style for the metric '{name}'.", hint=did_you_mean(name, METRICS))
    return METRICS[name]
