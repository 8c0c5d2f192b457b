"""What a metric is: declared once, in a module without numpy, so that studies are checked quickly.

A metric joins through the entry-point group ``harness.metrics``, ours and third parties' alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from harness.registry import resolve

if TYPE_CHECKING:
    from harness.evaluation.policy import EmptyPolicy, UnmeasuredStatus
    from harness.evaluation.region import Region


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
        highest: The largest value there can be; the least is 0.
        unmeasured: Returns the value where a mask is empty or there is no prediction, by the policy.
        defined_when_one_is_empty: Whether one empty mask gives a value that no policy need skip: ``never``, ``always``
            or ``with truth`` (where the truth is not the empty one).
        takes_region: Whether ``measure`` takes the :class:`~harness.evaluation.region.Region`, with its whole case.
        own_rules: Whether it is measured with empty masks, too, by rules of its own; only a missing prediction is not.
    """

    name: str
    title: str
    measure: str
    implementation: str
    unit: str = ""
    scale: str = "from 0 to 1"
    decimals: int = 3
    higher_is_better: bool = True
    highest: float = 1.0
    unmeasured: Callable[[EmptyPolicy, UnmeasuredStatus, Region], float] = overlap_without_masks
    defined_when_one_is_empty: str = "always"
    takes_region: bool = False
    own_rules: bool = False

    @cached_property
    def _function(self) -> Callable[[Any], float]:
        function: Callable[[Any], float] = resolve(self.measure, f"function of the metric '{self.name}'")
        return function

    def value(self, region: Region) -> float:
        """Returns the value of a region whose masks are not empty.

        Raises:
            HarnessError: The function cannot be imported.
        """
        return float(self._function(region if self.takes_region else region.pair))

    @property
    def recorded_implementation(self) -> str:
        """What computes it, with the versions of the packages it rests on."""
        return self.implementation.format_map(_Versions())

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
