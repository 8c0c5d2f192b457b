"""What is asked of the sets of modalities: which loss does not matter, and what acquiring each modality costs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pydantic import Field, ValidationError

from harness.errors import HarnessError, did_you_mean
from harness.evaluation import METRICS, Metric
from harness.files import read_text
from harness.settings import Settings
from harness.statistics.sample_size import ALPHA
from harness.yaml_text import parse

_EXAMPLE = "Write one line per modality, e.g. `t1c: {minutes: 5, contrast: true}`."


class Cost(Settings):
    """What acquiring one modality costs."""

    minutes: float = Field(gt=0, le=10_000, description="Minutes of the scanner.")
    contrast: bool = Field(False, description="Whether it needs contrast agent.")


class Price(NamedTuple):
    """What acquiring a set of modalities costs; the cheaper of two is the lesser.

    Attributes:
        minutes: Minutes of the scanner.
        contrast: Whether contrast agent is needed.
    """

    minutes: float
    contrast: bool

    def __str__(self) -> str:
        return f"{self.minutes:g} min {'with' if self.contrast else 'without'} contrast agent"


@dataclass(frozen=True)
class Acquisition:
    """The user's question about sets of modalities.

    Attributes:
        margin: Loss against all modalities that does not matter, in the unit of the metric; None where not asked.
        alpha: Share of studies in which a set may be taken for one that loses less, although it does not.
        costs: Cost of each modality; None where they are not known.
    """

    margin: float | None = None
    alpha: float = ALPHA
    costs: Mapping[str, Cost] | None = None

    def price(self, present: Iterable[str]) -> Price | None:
        """Returns what a set costs; None where costs are not known."""
        if self.costs is None:
            return None
        chosen = [self.costs[name] for name in present]
        return Price(sum(cost.minutes for cost in chosen), any(cost.contrast for cost in chosen))

    def check(self, metric: str, modalities: Collection[str]) -> None:
        """Refuses a question that the data cannot be asked.

        Args:
            metric: Metric of the sets' scores.
            modalities: Modalities of all datasets that were tested.

        Raises:
            HarnessError: The margin is the metric's whole range, or costs do not name exactly these modalities.
        """
        asked = METRICS.get(metric)
        span = asked.highest - asked.lowest
        if self.margin is not None and self.margin >= span:
            raise HarnessError(
                f"The margin {self.margin:g} is not below {span:g}, the whole range of {asked.title}.",
                hint=f"It is in the unit of {asked.title}, no percentage: {_example(asked)}",
            )
        if self.costs is None:
            return
        if unknown := [name for name in self.costs if name not in modalities]:
            raise HarnessError(
                f"The costs name '{unknown[0]}', which is no modality of this study.",
                hint=did_you_mean(unknown[0], modalities),
            )
        if lacking := [name for name in modalities if name not in self.costs]:
            raise HarnessError(f"The costs lack {', '.join(lacking)}: nothing is guessed.", hint=_EXAMPLE)


#: Neither margin nor costs.
NOTHING_ASKED = Acquisition()


def read_acquisition(margin: float | None, alpha: float, costs: Path | None) -> Acquisition:
    """Returns the user's question.

    Args:
        margin: Loss that does not matter.
        alpha: Level of the tests.
        costs: File of costs.

    Raises:
        HarnessError: A number is out of range, or the file is not what it should be.
    """
    if margin is not None and not 0 < margin < float("inf"):
        raise HarnessError(
            f"The margin {margin:g} is not above 0.",
            hint="Name the loss that does not matter, in the unit of the first metric, e.g. --margin 0.02 for Dice.",
        )
    if not 0 < alpha < 0.5:
        raise HarnessError(f"The level {alpha:g} is not between 0 and 0.5.", hint="E.g. --alpha 0.05.")
    if costs is None:
        return Acquisition(margin, alpha)
    if margin is None:
        raise HarnessError(
            "--costs needs a margin: the cheapest set is one that loses no more than it.", hint="E.g. --margin 0.02."
        )
    return Acquisition(margin, alpha, _read_costs(costs))


def _read_costs(path: Path) -> dict[str, Cost]:
    try:
        values, lines = parse(read_text(path), str(path))
    except (OSError, ValueError) as error:
        raise HarnessError(f"The costs in {path} cannot be read: {error}", hint=_EXAMPLE) from error
    if not isinstance(values, dict) or not values:
        raise HarnessError(f"{path} holds no costs.", hint=_EXAMPLE)
    found = {}
    for name, given in values.items():
        place = f"{path}:{lines.get((str(name),), 1)}: {name}"
        if not isinstance(given, dict):
            raise HarnessError(f"{place} is no mapping.", hint=_EXAMPLE)
        try:
            found[str(name)] = Cost(**{str(key): value for key, value in given.items()})
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise HarnessError(f"{place}: {where}: {first['msg']}.", hint=_EXAMPLE) from error
    return found


def _example(metric: Metric) -> str:
    return f"{(metric.highest - metric.lowest) / 50:g} is a fiftieth of its range."
