"""What is known of networks that were tested with modalities missing, and of those that were trained alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.evaluation import METRICS
from harness.report.analysis.modalities.value import ModalityValue
from harness.report.analysis.variants import Status, Variant
from harness.results.subsets import in_words
from harness.statistics.analysis import Analysis, Summary
from harness.statistics.bootstrap import Interval
from harness.statistics.comparisons import Comparison

#: Up to so many networks of a dataset each have an answer of their own; of more, the best of those trained alike.
_EACH = 3


@dataclass(frozen=True)
class TestedNetwork:
    """One network, tested with fewer modalities.

    Attributes:
        name: What tables call it; says what stood for absent modalities where it was tested with several fillings.
        variant: The network.
        fill: What stood for absent modalities.
        leading: The modality whose loss is singled out.
        leads: Whether it leads in this network; else it leads in others, or by the dataset's default.
        status: Whether the network has a mean at all.
        by_subset: Subsets of the modalities in the place of methods, each compared with all of them; None without a
            mean.
        single_losses: Sets that lack one auxiliary modality, each compared with the set that lacks the leading one;
            None where these were not tested.
        value: What each modality is worth to it; None without a mean.
        by_region: Statistics by region and by the modalities present, in words; empty without a mean.
        failure: Why a test of it failed; empty where none did.
    """

    name: str
    variant: Variant
    fill: str
    leading: str
    leads: bool
    status: Status
    by_subset: Analysis | None
    single_losses: Analysis | None
    value: ModalityValue | None = None
    by_region: Mapping[str, Mapping[str, Summary]] = field(default_factory=dict)
    failure: str = ""

    def summary(self, present: Sequence[str]) -> Summary | None:
        """Statistics with some modalities; None where it was not tested with them."""
        return None if self.by_subset is None else self.by_subset.summaries.get(in_words(present))

    def loss(self, present: Sequence[str]) -> Comparison | None:
        """Difference to all modalities; None where it was not tested with these, or for all of them."""
        comparisons = () if self.by_subset is None else self.by_subset.comparisons
        return next((each for each in comparisons if each.method == in_words(present)), None)

    def against_leading(self, auxiliary: str) -> Comparison | None:
        """Score without an auxiliary modality minus that without the leading one; None where it was not tested."""
        comparisons = () if self.single_losses is None else self.single_losses.comparisons
        return next((each for each in comparisons if each.method == auxiliary), None)


@dataclass(frozen=True)
class MissingGroup:
    """Networks of one dataset that were trained alike and may be compared.

    Attributes:
        dropout: How modalities were dropped in training, in words.
        metric: Metric of all numbers here.
        region: Region of all numbers here, or the mean over regions.
        modalities: In channel order.
        subsets: What was tested, the set of all modalities first, then the largest.
        tested: Networks in table order.
        over_subsets: Networks in the place of methods, each by its mean over the sets that lack a modality; None where
            no network has one.
        losses: Network to the mean and the interval of its mean over these sets minus its score with all modalities.
        unranked: Networks that have no part in rankings.
        coverage: Set to the number of patients that have one of its modalities, and of those that have all; empty where
            no patient lacks any.
    """

    dropout: str
    metric: str
    region: str
    modalities: tuple[str, ...]
    subsets: tuple[tuple[str, ...], ...]
    tested: tuple[TestedNetwork, ...]
    over_subsets: Analysis | None
    losses: Mapping[str, tuple[float, Interval | None]]
    unranked: frozenset[str] = frozenset()
    coverage: Mapping[tuple[str, ...], tuple[int, int]] = field(default_factory=dict)

    @property
    def incomplete_subsets(self) -> tuple[tuple[str, ...], ...]:
        """The sets that lack a modality."""
        return self.subsets[1:]

    @property
    def refusals(self) -> tuple[str, ...]:
        """Why its networks may not be ranked with each other; empty where they may."""
        refusals = () if self.over_subsets is None else tuple(self.over_subsets.refusals)
        return refusals if any(text.startswith("not ranked") for text in refusals) else ()

    @property
    def over_summaries(self) -> dict[str, Summary]:
        """Statistics over the sets that lack a modality, of the networks that are ranked."""
        return {} if self.over_subsets is None else self.rankable(self.over_subsets.summaries)

    def rankable(self, summaries: Mapping[str, Summary | None]) -> dict[str, Summary]:
        """Those of some networks' summaries that are ranked with each other."""
        return {
            name: each
            for name, each in summaries.items()
            if each is not None and each.complete and name not in self.unranked
        }

    @property
    def best(self) -> str | None:
        """The network with the best mean over the sets that lack a modality; None where none has one."""
        means = {name: summary.mean for name, summary in self.over_summaries.items()}
        pick = max if METRICS.get(self.metric).higher_is_better else min
        return pick(means, key=lambda name: means[name], default=None)

    def without(self, modality: str) -> tuple[str, ...]:
        """The set that lacks one modality."""
        return tuple(name for name in self.modalities if name != modality)

    def worst(self, network: TestedNetwork) -> tuple[str, ...] | None:
        """The set with which a network scores worst; None where it has none."""
        summaries = {present: network.summary(present) for present in self.incomplete_subsets}
        means = {present: summary.mean for present, summary in summaries.items() if summary is not None}
        pick = min if METRICS.get(self.metric).higher_is_better else max
        return pick(means, key=lambda present: means[present], default=None)


def answering(groups: Sequence[MissingGroup]) -> list[tuple[MissingGroup, TestedNetwork]]:
    """Returns the networks whose value of the modalities is told: all where they are few, else the best of each group.

    Args:
        groups: Groups of one dataset.
    """
    every = [(group, network) for group in groups for network in group.tested if network.value is not None]
    if len(every) <= _EACH:
        return every
    best = {id(group): group.best for group in groups}
    return [(group, network) for group, network in every if network.name == best[id(group)]]
