"""The rows and columns of a report: datasets, variants and regions, each in the study's order."""

from collections.abc import Collection, Iterable, Sequence
from typing import Literal, NamedTuple, TypeAlias

import pandas as pd

from harness.results.schema import StudyResults
from harness.segmenters.contract import PAPER_ONLY_MARK

#: ``complete``: every cell is done. ``failed``: one failed. ``damaged``: files of one are not what was written.
#: ``incomplete``: one has not finished.
Status: TypeAlias = Literal["complete", "failed", "damaged", "incomplete"]


class Variant(NamedTuple):
    """One row of a table: a labelled model with its leading modality."""

    label: str
    leading: str


def datasets_of(results: StudyResults) -> list[str]:
    """Datasets of the study, in the order of its facts."""
    present = {*results.cells["dataset"].unique(), *results.cases["dataset"].unique()}
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
    scored = set(results.cases.loc[results.cases["dataset"] == dataset, "region"].unique())
    declared = results.datasets[dataset].regions
    return ordered(scored | set(declared), declared)


def row_names(variants: Sequence[Variant]) -> dict[Variant, str]:
    """Name of each variant in one string; the leading modality is named where a label stands with several."""
    labels = [variant.label for variant in variants]
    return {
        variant: f"{variant.label}, {'no modality' if variant.leading == 'none' else variant.leading} leading"
        if labels.count(variant.label) > 1 and variant.leading != "-"
        else variant.label
        for variant in variants
    }


def paper_only_of(results: StudyResults, dataset: str) -> frozenset[Variant]:
    """Variants whose network is written from its paper alone."""
    cells = results.cells[results.cells["dataset"] == dataset]
    if "paper_only" not in cells:  # results of an earlier version, or of others
        return frozenset()
    mine = cells[cells["paper_only"].eq(True)]
    pairs = zip(mine["label"], mine["leading"], strict=True)
    return frozenset(Variant(str(label), str(leading)) for label, leading in pairs)


def names_of(results: StudyResults, dataset: str) -> dict[Variant, str]:
    """Name of each variant on a dataset, with a mark where its network is written from its paper alone."""
    paper_only = paper_only_of(results, dataset)
    names = row_names(variants_of(results, dataset))
    return {variant: name + PAPER_ONLY_MARK * (variant in paper_only) for variant, name in names.items()}


def ranked_among(variants: Iterable[Variant], paper_only: Collection[Variant]) -> list[Variant]:
    """Variants that are ranked with each other: those of proven networks, or all where none is proven."""
    given = list(variants)
    return [variant for variant in given if variant not in paper_only] or given


def leading_groups(variants: Sequence[Variant]) -> dict[str, list[Variant]]:
    """The labels that stand with several leading modalities, each with its variants."""
    groups: dict[str, list[Variant]] = {}
    for variant in variants:
        groups.setdefault(variant.label, []).append(variant)
    return {label: members for label, members in groups.items() if len(members) > 1}


def references_of(results: StudyResults, variants: Sequence[Variant]) -> dict[Variant, Variant]:
    """What each variant is compared with: the reference at the same leading modality, or the only one there is.

    The reference itself, where a modality leads, is compared with the reference in which none does.
    """
    candidates = [other for other in variants if other.label == results.reference]
    alike = next((other for other in candidates if other.leading == "none"), None)
    references = {}
    for variant in variants:
        if variant.label == results.reference:
            if alike is not None and variant != alike:
                references[variant] = alike
            continue
        same = [other for other in candidates if other.leading == variant.leading]
        if same or len(candidates) == 1:
            references[variant] = (same or candidates)[0]
    return references


def status_of(cells: pd.DataFrame) -> Status:
    """Whether the variant of these cells may have a mean."""
    states = set(cells["status"])
    if "failed" in states:
        return "failed"
    if "damaged" in states:
        return "damaged"
    return "complete" if states == {"done"} else "incomplete"


def ordered(present: Iterable[object], order: Sequence[str]) -> list[str]:
    """The present names: those of ``order`` first, the others alphabetically."""
    names = {str(name) for name in present}
    return [name for name in order if name in names] + sorted(names - set(order))
