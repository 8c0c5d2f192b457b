"""Scores of networks when modalities are missing: the statistics of tables, heat map and answer.

Networks trained alike are compared with each other; those that saw modalities dropped in training are kept apart from
those that never did. Everything is taken over patients by the statistics that the other tables use.
"""

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from harness.evaluation import METRICS
from harness.report.analysis.modalities.patterns import coverage_of, impossible_sets
from harness.report.analysis.modalities.tested import MissingGroup, TestedNetwork
from harness.report.analysis.modalities.value import ModalityValue, modality_value
from harness.report.analysis.variants import Status, Variant
from harness.report.inputs.acquisition import NOTHING_ASKED, Acquisition
from harness.results.schema import StudyResults
from harness.results.subsets import in_words
from harness.statistics.analysis import Analysis, Summary, analyse, summaries_of
from harness.statistics.bootstrap import Interval, mean_intervals
from harness.statistics.comparability import reasons_not_comparable
from harness.statistics.patients import MEAN_REGION, NothingCounts, Patients, build_grid, patient_table

#: Between a subset and a region, where each pair of them is averaged.
_BESIDE = "|"


def missing_groups(
    results: StudyResults,
    cells: pd.DataFrame,
    names: Mapping[Variant, str],
    status: Mapping[Variant, Status],
    regions: Sequence[str],
    apart: Collection[str] = (),
    *,
    allow_mixed: bool = False,
    question: Acquisition = NOTHING_ASKED,
) -> tuple[MissingGroup, ...]:
    """Analyses the tests with missing modalities on one dataset; nothing where none was tested.

    Args:
        results: The study.
        cells: Cells of the dataset, with column ``method``.
        names: Name of each variant, in table order.
        status: Whether each variant may have a mean.
        regions: Regions in table order.
        apart: Names of variants that are not ranked with the others.
        allow_mixed: Compare networks even where they were trained under different conditions.
        question: What the user asks of the sets of modalities.
    """
    dataset = str(cells["dataset"].iloc[0]) if len(cells) else ""
    metric = results.metrics[0]
    rows = results.subsets[(results.subsets["dataset"] == dataset) & (results.subsets["metric"] == metric)]
    if rows.empty:
        return ()
    full = results.cases[(results.cases["dataset"] == dataset) & (results.cases["metric"] == metric)]
    study = _Study(
        results, dataset, metric, cells, names, status, tuple(regions), _plain(rows), _plain(full), question, apart
    )
    return tuple(
        study.group(str(how), allow_mixed) for how in sorted(rows["dropout"].astype(str).unique(), reverse=True)
    )


def _of(rows: pd.DataFrame, variant: Variant) -> pd.DataFrame:
    return rows[(rows["label"] == variant.label) & (rows["leading"] == variant.leading)]


def _plain(rows: pd.DataFrame) -> pd.DataFrame:
    """Names as text: categories of two tables differ."""
    kinds = {name: str for name in rows if isinstance(rows[name].dtype, pd.CategoricalDtype)}
    return rows.astype(kinds)


@dataclass(frozen=True)
class _Study:
    """The results from which the groups of one dataset are made."""

    results: StudyResults
    dataset: str
    metric: str
    cells: pd.DataFrame
    names: Mapping[Variant, str]
    status: Mapping[Variant, Status]
    regions: tuple[str, ...]
    rows: pd.DataFrame
    full: pd.DataFrame
    question: Acquisition
    apart: Collection[str]

    @property
    def modalities(self) -> tuple[str, ...]:
        return self.results.datasets[self.dataset].modalities

    @property
    def region(self) -> str:
        return MEAN_REGION if len(self.regions) > 1 else self.regions[0]

    def group(self, dropout: str, allow_mixed: bool) -> MissingGroup:
        """Networks that were trained alike."""
        rows = self.rows[self.rows["dropout"] == dropout]
        subsets = self._subsets(set(rows["present"]))
        known = {str(label) for label in rows["label"].unique()}
        protocols = set(self.cells.loc[self.cells["label"].isin(known), "protocol"])
        tested = tuple(self._tested(rows, subsets, protocols))
        unranked = frozenset(network.name for network in tested if self.names[network.variant] in self.apart)
        if len(unranked) == len(tested):
            unranked = frozenset()
        over, losses = self._over(rows, subsets, tested, unranked, allow_mixed)
        return MissingGroup(
            dropout,
            self.metric,
            self.region,
            self.modalities,
            subsets,
            tested,
            over,
            losses,
            unranked,
            coverage_of(self.full, subsets),
        )

    def _subsets(self, tested: set[str]) -> tuple[tuple[str, ...], ...]:
        sizes = range(len(self.modalities), 0, -1)
        every = [one for size in sizes for one in itertools.combinations(self.modalities, size)]
        return (self.modalities, *(one for one in every[1:] if in_words(one) in tested))

    def _tested(
        self, rows: pd.DataFrame, subsets: Sequence[tuple[str, ...]], protocols: Collection[object]
    ) -> Iterator[TestedNetwork]:
        """Networks of the group; one without any result stands among those that were trained by its protocol."""
        for variant, name in self.names.items():
            mine = _of(rows, variant)
            fills = sorted(mine["fill"].unique(), reverse=True)
            if _of(self.rows, variant).empty and set(_of(self.cells, variant)["protocol"]) <= set(protocols):
                fills = ["–"]
            leading = self._leading(variant, mine)
            for fill in fills:
                by_subset = single_losses = value = None
                by_region: dict[str, dict[str, Summary]] = {}
                if self.status[variant] == "complete" and len(mine):
                    beside = self._with_full(mine[mine["fill"] == fill], variant)
                    by_subset, single_losses = self._by_subset(beside, subsets), self._single_losses(beside, leading)
                    value, by_region = self._value(beside), dict(self._by_region(beside))
                yield TestedNetwork(
                    name=name if len(fills) == 1 else f"{name}, filled by {fill}",
                    variant=variant,
                    fill=str(fill),
                    leading=leading,
                    leads=variant.leading == leading,
                    status=self.status[variant],
                    by_subset=by_subset,
                    single_losses=single_losses,
                    value=value,
                    by_region=by_region,
                    failure=self._failure(name),
                )

    def _leading(self, variant: Variant, rows: pd.DataFrame) -> str:
        """The network's own leading modality; where it has none, the one that leads in the others."""
        if variant.leading in self.modalities:
            return variant.leading
        others = {other.leading for other in self.names if other.leading in self.modalities}
        return others.pop() if len(others) == 1 else str(rows["default_leading"].iloc[0]) if len(rows) else ""

    def _failure(self, name: str) -> str:
        mine = self.cells.loc[self.cells["method"] == name, "cell"]
        return next((self.results.subset_failures[cell] for cell in mine if cell in self.results.subset_failures), "")

    def _with_full(self, rows: pd.DataFrame, variant: Variant) -> pd.DataFrame:
        """Rows with fewer modalities and with all of them, by what is present."""
        everything = _of(self.full, variant).assign(present=in_words(self.modalities))
        return pd.concat([everything, rows[list(everything.columns)]], ignore_index=True)

    def _by_subset(self, rows: pd.DataFrame, subsets: Sequence[tuple[str, ...]]) -> Analysis | None:
        everything, *others = (in_words(one) for one in subsets)
        tested = set(rows["present"])
        return self._analyse(
            rows.assign(method=rows["present"]),
            self.region,
            self.regions,
            {other: everything for other in others if other in tested},
        )

    def _by_region(self, rows: pd.DataFrame) -> Iterator[tuple[str, dict[str, Summary]]]:
        """Statistics of every set of modalities in each region; a region in which nothing counts is left out."""
        grid = build_grid(rows.assign(method=rows["present"]), self.dataset, self.metric)
        for region in (one for one in self.regions if one in grid.regions):
            with suppress(NothingCounts):
                yield region, summaries_of(patient_table(grid, region))

    def _single_losses(self, rows: pd.DataFrame, leading: str) -> Analysis | None:
        """Sets that lack one modality: each auxiliary against the leading one."""
        lacking = {in_words([each for each in self.modalities if each != one]): one for one in self.modalities}
        method = rows["present"].map(lacking)
        tested = set(method.dropna())
        # In channel order: a set's own order differs from one process to the next.
        references = {one: leading for one in self.modalities if one in tested and one != leading}
        if leading not in tested or not references:
            return None
        return self._analyse(rows.assign(method=method).dropna(subset="method"), self.region, self.regions, references)

    def _value(self, rows: pd.DataFrame) -> ModalityValue:
        """What each modality is worth, by the sets of them in the place of methods."""
        grid = build_grid(rows.assign(method=rows["present"]), self.dataset, self.metric)
        regions = [one for one in self.regions if one in grid.regions]

        def scored(region: str) -> Patients | None:
            try:
                return patient_table(grid, region, regions=regions)
            except NothingCounts:
                return None

        value = modality_value(scored, METRICS.get(self.metric), self.modalities, regions, self.question)
        return replace(value, impossible=impossible_sets(self.full, value.lacking))

    def _over(
        self,
        rows: pd.DataFrame,
        subsets: Sequence[tuple[str, ...]],
        tested: Sequence[TestedNetwork],
        unranked: Collection[str],
        allow_mixed: bool,
    ) -> tuple[Analysis | None, dict[str, tuple[float, Interval | None]]]:
        """Networks by their mean over the sets that lack a modality."""
        place = {(network.variant.label, network.variant.leading, network.fill): network.name for network in tested}
        keys = zip(rows["label"], rows["leading"], rows["fill"], strict=True)
        method = [place.get((str(label), str(leading), str(fill)), "") for label, leading, fill in keys]
        each = rows.assign(method=method, region=rows["present"] + _BESIDE + rows["region"].astype(str))
        pairs = [f"{in_words(one)}{_BESIDE}{region}" for one in subsets[1:] for region in self.regions]
        labels = [network.variant.label for network in tested]
        over = self._analyse(
            each,
            MEAN_REGION if len(pairs) > 1 else pairs[0],
            pairs,
            {},
            unfinished=[network.name for network in tested if network.status != "complete"],
            unranked=unranked,
            unlike=reasons_not_comparable(self.cells[self.cells["label"].isin(labels)]),
            allow_mixed=allow_mixed,
        )
        if over is None:
            return None, {}
        losses = {}
        for network in tested:
            everything = in_words(self.modalities)
            if network.by_subset is not None and network.name in over.table and everything in network.by_subset.table:
                difference = over.table[network.name] - network.by_subset.table[everything]
                values = difference.to_numpy(dtype=float)
                losses[network.name] = (float(values.mean()), mean_intervals(values[:, np.newaxis])[0])
        return over, losses

    def _analyse(
        self,
        rows: pd.DataFrame,
        region: str,
        regions: Sequence[str],
        references: Mapping[str, str],
        *,
        unfinished: Sequence[str] = (),
        unranked: Collection[str] = (),
        unlike: Sequence[str] = (),
        allow_mixed: bool = False,
    ) -> Analysis | None:
        """The statistics of all tables; None where the policy for empty regions leaves nothing."""
        grid = build_grid(rows, self.dataset, self.metric)
        try:
            return analyse(
                grid,
                region,
                higher_is_better=METRICS.get(self.metric).higher_is_better,
                references=references,
                regions=[one for one in regions if one in grid.regions],
                unfinished=unfinished,
                unranked=unranked,
                unlike=unlike,
                allow_mixed=allow_mixed,
            )
        except NothingCounts:
            return None
