"""Whether the methods of a report may be ranked together, dataset by dataset."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Comparability:
    """Why methods are not comparable, and whether they are ranked all the same.

    Attributes:
        reasons: Reasons by dataset; none where its methods are comparable. See
            :func:`harness.statistics.comparability.why_not_comparable`.
        allowed: Ranked in spite of them, because the user asked for it.
    """

    reasons: Mapping[str, tuple[str, ...]]
    allowed: bool = False

    def allows_ranking(self, dataset: str) -> bool:
        """Whether methods are ranked on the dataset."""
        return self.allowed or not self.reasons.get(dataset)

    def sentence(self, dataset: str) -> str:
        """What every table of the dataset says about it; ``''`` where there is nothing to say."""
        reasons = "; ".join(reason.rstrip(".") for reason in self.reasons.get(dataset, ()))
        if not reasons:
            return ""
        if self.allowed:
            return f"Mixed on request (--allow-mixed), so ranks compare unlike conditions: {reasons}."
        return f"Methods are not ranked or tested against each other (--allow-mixed would): {reasons}."
