"""The rows and columns of a report: datasets, variants and regions, each in the study's order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, TypeAlias

from harness.results.schema import StudyResults

__all__ = ["Status", "Variant", "datasets_of", "reference_of", "regions_of", "variant_status", "variants_of"]

#: ``complete``: every cell is done. ``failed``: one failed. ``incomplete``: one has not finished.
Status: TypeAlias = Literal["complete", "failed", "incomplete"]


class Variant(NamedTuple):
    """One row of a table: a labelled model with its leading modality."""

    label: str
    leading: str


def datasets_of(results: StudyResults) -> list[str]:
    """Datasets of the study, in the order of its facts."""
    present = set(results.cells["dataset"]) | set(results.cases["dataset"])
    return ordered(present, list(results.datasets))


def variants_of(results: StudyResults, dataset: str) -> list[Variant]:
    """Variants that have cells on the dataset: labels in study order, leading modalities in channel order."""
    cells = results.cells[results.cells["dataset"] == dataset]
    pairs = {Variant(str(label), str(leading)) for label, leading in zip(cells["label"], cells["leading"], strict=True)}
    labels = ordered({pair.label for pair in pairs}, results.labels)
    modalities = ordered({pair.leading for pair in pairs}, ["-", *results.datasets[dataset].modalities])
    return sorted(pairs, key=lambda pair: (labels.index(pair.label), modalities.index(pair.leading)))


def regions_of(results: StudyResults, dataset: str) -> list[str]:
    """Regions in table order; one the dataset does not declare comes last rather than being lost."""
    scored = set(results.cases.loc[results.cases["dataset"] == dataset, "region"])
    declared = results.datasets[dataset].regions
    return ordered(scored | set(declared), declared)


def reference_of(results: StudyResults, dataset: str, variant: Variant) -> Variant | None:
    """The variant this one is compared with: the reference at the same leading modality, or the only one there is."""
    candidates = [other for other in variants_of(results, dataset) if other.label == results.reference]
    same = [other for other in candidates if other.leading == variant.leading]
    if variant.label == results.reference:
        return None
    if same:
        return same[0]
    return candidates[0] if len(candidates) == 1 else None


def variant_status(results: StudyResults, dataset: str, variant: Variant) -> Status:
    """Whether a variant may have a mean."""
    cells = results.cells
    mine = (cells["dataset"] == dataset) & (cells["label"] == variant.label) & (cells["leading"] == variant.leading)
    states = set(cells.loc[mine, "status"])
    if "failed" in states:
        return "failed"
    return "complete" if states == {"done"} else "incomplete"


def ordered(present: Iterable[str], order: Sequence[str]) -> list[str]:
    """The present names: those of ``order`` first, the others alphabetically."""
    names = {str(name) for name in present}
    return [name for name in order if name in names] + sorted(names - set(order))
