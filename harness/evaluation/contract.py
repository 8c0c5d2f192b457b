"""What a metric is: declared once, in a module without numpy, so that studies are checked quickly.

A metric joins through the entry-point group ``harness.metrics``, ours and third parties' alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TypeVar

from harness.errors import HarnessError, MetricError, shorten
from harness.registry import resolve

if TYPE_CHECKING:
    from harness.evaluation.policy import EmptyPolicy, UnmeasuredStatus
    from harness.evaluation.region import Region

Key = TypeVar("Key", bound=Hashable)

#: Characters of the reason of a metric that failed; it is recorded with every such value.
_LONGEST_REASON = 200

#: From here on three digits say more than all of them: a volume difference to an empty truth runs to millions.
_HUGE = 10_000
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def overlap_without_masks(policy: EmptyPolicy, status: UnmeasuredStatus, region: Region) -> float:
    """Returns 1 where both masks are empty, 0 where one is or there is no prediction."""
    del region
    return policy.dice(status)


def distance_without_masks(policy: EmptyPolicy, status: UnmeasuredStatus, region: Region) -> float:
    """Returns 0 mm where both masks are empty, else the penalty of the policy."""
    return policy.hd95(status, region.case.shape, region.case.spacing)


@dataclass(frozen=True)
class Metric:
    """A way to score a region.

    Attributes:
        name: What studies and results call it; the name of its entry point.
        title: What tables and axes call it.
        measure: ``module:function`` that returns the value of a :class:`~harness.evaluation.pair.MaskPair` whose masks
            are not empty; imported when a case is scored.
        implementation: What computes it, as results record it; ``{PACKAGE}`` stands for the installed version of a
            package. Change it whenever values change.
        unit: Physical unit, empty for a ratio.
        scale: The scale in words, for captions.
        decimals: Digits after the point in tables; means that print alike are ties.
        higher_is_better: Direction of the ranking.
        lowest: The smallest value there can be.
        highest: The largest value there can be.
        unmeasured: Returns the value where a mask is empty or there is no prediction, by the policy.
        defined_when_one_is_empty: Whether one empty mask gives a value that no policy need skip: ``never``, ``always``
            or ``with truth`` (where the truth is not the empty one).
        takes_region: Whether ``measure`` takes the :class:`~harness.evaluation.region.Region`, with its whole case.
        own_rules: Whether it is measured with empty masks, too, by rules of its own; only a missing prediction is not.
        tolerance_mm: Tolerance in mm that ``measure`` takes as its second argument, None where it takes none. Title and
            implementation hold it as e.g. ``1 mm``.
        policy: Name of the policy that sets its values without masks; empty for the dataset's.
    """

    name: str
    title: str
    measure: str
    implementation: str
    unit: str = ""
    scale: str = "from 0 to 1"
    decimals: int = 3
    higher_is_better: bool = True
    lowest: float = 0.0
    highest: float = 1.0
    unmeasured: Callable[[EmptyPolicy, UnmeasuredStatus, Region], float] = overlap_without_masks
    defined_when_one_is_empty: str = "always"
    takes_region: bool = False
    own_rules: bool = False
    tolerance_mm: float | None = None
    policy: str = ""

    @cached_property
    def function(self) -> Callable[..., float]:
        """What ``measure`` names.

        Raises:
            HarnessError: It cannot be imported.
        """
        function: Callable[..., float] = resolve(self.measure, f"function of the metric '{self.name}'")
        return function

    def value(self, region: Region) -> float:
        """Returns the value of a region whose masks are not empty.

        Raises:
            HarnessError: The function cannot be imported.
            MetricError: It fails, or gives what is no finite number; that of another package is no reason to lose a
                cell, see :func:`harness.evaluation.scoring.score_case`.
        """
        function, tolerance = self.function, () if self.tolerance_mm is None else (self.tolerance_mm,)
        return self._called(
            "masks that are not empty", function, region if self.takes_region else region.pair, *tolerance
        )

    def value_without_masks(self, policy: EmptyPolicy, status: UnmeasuredStatus, region: Region) -> float:
        """Returns what ``unmeasured`` says.

        Raises:
            MetricError: It fails, or gives what is no finite number.
        """
        return self._called(f"{status} masks", self.unmeasured, policy, status, region)

    def worst_value(self, policy: EmptyPolicy, region: Region) -> float:
        """Returns the value without a prediction, or the worst of the range where ``unmeasured`` itself fails."""
        try:
            return self.value_without_masks(policy, "missing", region)
        except MetricError:
            worst = self.lowest if self.higher_is_better else self.highest
            return worst if math.isfinite(worst) else distance_without_masks(policy, "missing", region)

    def _called(self, what: str, function: Callable[..., float], *arguments: Any) -> float:
        """Calls a function that may be of another's package; ``what`` says of which masks."""
        try:
            value = float(function(*arguments))
        except MemoryError:
            raise
        except (Exception, SystemExit) as error:
            said = f"{type(error).__name__}: {error}"
        else:
            if math.isfinite(value):
                return value
            said = f"it gave {value} for {what}, and every case needs a finite value"
        line = shorten(said.strip().partition("\n")[0], _LONGEST_REASON)
        raise MetricError(f"The metric '{self.name}' failed: {line}.", hint=f"Correct {self.measure}.")

    def variant(self, name: str, tolerance_mm: float | None, policy: str) -> Metric:
        """Returns the metric with another tolerance or a policy of its own, both in title and name.

        Args:
            name: What it is called.
            tolerance_mm: Tolerance in mm; None for its own.
            policy: Name of the policy; empty for the dataset's.

        Raises:
            HarnessError: It has no tolerance or takes no policy.
        """
        changed = replace(self, name=name)
        if tolerance_mm is not None:
            if self.tolerance_mm is None:
                raise HarnessError(f"The metric '{self.name}' has no tolerance.", hint=f"Write '{self.name}'.")
            old, new = f"{self.tolerance_mm:g} mm", f"{tolerance_mm:g} mm"
            title, words = (text.replace(old, new) for text in (self.title, self.implementation))
            changed = replace(changed, title=title, implementation=words, tolerance_mm=tolerance_mm)
        if policy:
            if self.own_rules:
                raise HarnessError(f"The metric '{self.name}' has rules of its own for empty masks.")
            changed = replace(changed, title=f"{changed.title}, empty: {policy}", policy=policy)
        return changed

    @property
    def is_penalised(self) -> bool:
        """Whether a policy's penalty is its value where one mask is empty: so it is for distances."""
        return self.unmeasured is distance_without_masks and not self.own_rules

    def is_undefined(self, status: UnmeasuredStatus, truth_is_empty: bool | None) -> bool | None:
        """Returns whether no value follows from the masks alone, so that a policy may skip it.

        Args:
            status: Why it is unmeasured.
            truth_is_empty: Whether the true mask is empty; None where that is not known.

        Returns:
            None where it would have to be known.
        """
        if self.own_rules or status == "missing":
            return False
        if status == "empty_one" and self.defined_when_one_is_empty == "with truth":
            return truth_is_empty
        return status == "empty_both" or self.defined_when_one_is_empty == "never"

    @property
    def recorded_implementation(self) -> str:
        """What computes it, with the versions of the packages it rests on."""
        return self.implementation.format_map(_Versions())

    @property
    def heading(self) -> str:
        """Title with the unit, e.g. ``HD95 (mm)``."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    @property
    def arrow(self) -> str:
        """Arrow that points to better values."""
        return "↑" if self.higher_is_better else "↓"

    @property
    def heading_with_arrow(self) -> str:
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
        """Returns the value as a reader of the table knows it."""
        return float(f"{value:.2e}" if abs(value) >= _HUGE else f"{value:z.{self.decimals}f}")

    def best_and_second(self, values: Mapping[Key, float]) -> dict[Key, str]:
        """Returns ``best``, ``second`` or ``''`` for each value.

        Values that print alike share a mark; a single value has none.
        """
        printed = {key: self.rounded(value) for key, value in values.items() if not math.isnan(value)}
        if len(printed) < 2:
            return {}
        ranked = sorted(set(printed.values()), reverse=self.higher_is_better)
        marks = dict(zip(ranked, ("best", "second"), strict=False))
        return {key: marks.get(value, "") for key, value in printed.items()}

    @classmethod
    def distance(cls, name: str, title: str, measure: str, implementation: str, **changes: Any) -> Metric:
        """Returns a distance in mm: lower is better, and what an empty mask scores is the policy's penalty."""
        given = {
            "unit": "mm",
            "scale": "in mm",
            "decimals": 2,
            "higher_is_better": False,
            "highest": math.inf,
            "unmeasured": distance_without_masks,
            "defined_when_one_is_empty": "never",
        }
        return cls(name, title, measure, implementation, **{**given, **changes})


class _Versions(dict[str, str]):
    def __missing__(self, package: str) -> str:
        return version(package)
