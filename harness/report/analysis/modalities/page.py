"""What to acquire and what should lead, put together for each network: one page of a report."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.report.analysis.analysis import DatasetView
from harness.report.analysis.modalities.leading import LeadingChoice
from harness.report.analysis.modalities.tested import MissingGroup, TestedNetwork, answering
from harness.report.analysis.modalities.value import ModalityValue, SetLoss


@dataclass(frozen=True)
class Advice:
    """Both answers of one label; paragraph and table are made from it.

    Attributes:
        label: Label in the study.
        modalities: In channel order.
        choice: Which modality should lead; None where none of its modalities led but one.
        group: Where its sets of modalities were tested: networks trained alike; None where they were not.
        network: The network in which the modality leads that should; with ``group``.
    """

    label: str
    modalities: tuple[str, ...]
    choice: LeadingChoice | None
    group: MissingGroup | None
    network: TestedNetwork | None

    @property
    def value(self) -> ModalityValue | None:
        """What the modalities are worth to the network."""
        return None if self.network is None else self.network.value

    @property
    def to_acquire(self) -> SetLoss | None:
        """The set to acquire: the cheapest that suffices, or the smallest; None where none does or none was asked."""
        return None if self.value is None else self.value.cheapest or self.value.smallest

    @property
    def leads(self) -> str | None:
        """The modality that should lead; None where the data cannot tell, or were not asked."""
        if self.choice is None or self.choice.refused or self.choice.equals:
            return None
        return self.choice.first.name


def advice_of(view: DatasetView, modalities: Sequence[str]) -> list[Advice]:
    """Returns the advice of each label whose leading modality varies, or whose sets of modalities were asked about.

    Args:
        view: The dataset.
        modalities: Its modalities in channel order.
    """
    asked = [(group, network) for group, network in answering(view.missing) if network.value and network.value.sets]
    labels = dict.fromkeys([*view.leading, *(network.variant.label for _, network in asked)])
    found = []
    for label in labels:
        choice = view.leading.get(label)
        tested = [
            (group, network)
            for group in view.missing
            for network in group.tested
            if network.variant.label == label and network.value is not None
        ]
        if choice is not None:
            tested = [pair for pair in tested if pair[1].variant.leading == choice.first.name]
        group, network = tested[0] if tested else (None, None)
        found.append(Advice(label, tuple(modalities), choice, group, network))
    return found
