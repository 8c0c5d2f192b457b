"""The statistics of a study, computed once for every table, figure and sentence."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.errors import HarnessError
from harness.evaluation import METRICS
from harness.report.analysis.data_summary import DataSummary, summarise_data
from harness.report.analysis.missing_modalities import missing_groups
from harness.report.analysis.modalities.leading import LeadingChoice, choose_leading
from harness.report.analysis.modalities.tested import MissingGroup
from harness.report.analysis.patients.columns import ColumnView, column_views
from harness.report.analysis.patients.shares import LearningCurves, learning_curves, whole_results
from harness.report.analysis.variants import (
    Status,
    Variant,
    datasets_of,
    leading_groups,
    names_of,
    paper_only_of,
    ranked_among,
    references_of,
    regions_of,
    status_of,
)
from harness.report.analysis.verdict import Verdict, verdict_of
from harness.report.inputs.acquisition import NOTHING_ASKED, Acquisition
from harness.results.schema import StudyResults
from harness.segmenters.contract import PAPER_ONLY, PAPER_ONLY_MARK
from harness.statistics.analysis import Across, Analysis, Summary, across_datasets, analyse, summaries_of
from harness.statistics.comparability import reasons_not_comparable
from harness.statistics.patients import MEAN_REGION, NothingCounts, build_grid, patient_table

_ROW = ["label", "leading", "fold", "seed", "patient", "case", "region", "value", "status"]


@dataclass(frozen=True)
class DatasetView:
    """One dataset of a study: the input of its tables and figures.

    Attributes:
        name: Registered name.
        regions: Regions in table order.
        names: Name of each variant, in table order; the statistics know variants by it.
        status: Whether each variant may have a mean.
        references: What each variant is compared with.
        cells: Cells, with column ``method``: the name of the variant.
        data: What the numbers stand on, in words.
        analyses: By metric and region, the mean over regions included; a metric without results is absent, and so is
            one whose policy leaves out every test.
        floors: Summaries of trivial methods by name, metric and region; never ranked.
        missing: Scores with fewer modalities, by how modalities were dropped in training; empty where none was tested.
        verdicts: What the data can show, by metric; a metric in which nothing is compared is absent.
        leading: Which modality should lead, by label; labels that stand with one leading modality are absent.
        columns: Scores by columns of the patients, where the report is to show them.
        curves: Learning curves; ``None`` where no method was trained on several shares of the training patients.
        paper_only: Variants whose network is written from its paper alone, with no code to compare with.
        rank_unproven: Whether these are ranked with the others, because the user asked for it.
    """

    name: str
    regions: tuple[str, ...]
    names: Mapping[Variant, str]
    status: Mapping[Variant, Status]
    references: Mapping[Variant, Variant]
    cells: pd.DataFrame
    data: DataSummary
    analyses: Mapping[tuple[str, str], Analysis]
    floors: Mapping[tuple[str, str, str], Summary]
    missing: tuple[MissingGroup, ...] = ()
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    leading: Mapping[str, LeadingChoice] = field(default_factory=dict)
    columns: tuple[ColumnView, ...] = ()
    curves: LearningCurves | None = None
    paper_only: frozenset[Variant] = frozenset()
    rank_unproven: bool = False

    @property
    def title(self) -> str:
        """Title of the dataset, with its kind where it is not real data."""
        return self.data.name

    @property
    def variants(self) -> tuple[Variant, ...]:
        """Variants in table order."""
        return tuple(self.names)

    @property
    def main(self) -> str:
        """The region that stands for all: the mean over regions, or the only one."""
        return MEAN_REGION if len(self.regions) > 1 else self.regions[0]

    @property
    def shown(self) -> tuple[str, ...]:
        """Regions, and their mean where there is more than one."""
        return (*self.regions, MEAN_REGION) if len(self.regions) > 1 else self.regions

    def ranked(self, variants: Iterable[Variant]) -> list[Variant]:
        """Those of some variants that are ranked with each other."""
        return ranked_among(variants, () if self.rank_unproven else self.paper_only)

    @property
    def paper_only_notes(self) -> tuple[str, ...]:
        """What the mark of networks that are written from their papers alone means; nothing where there are none."""
        if not self.paper_only:
            return ()
        if self.rank_unproven:
            ranked = "ranked with the others on request (--rank-unproven)"
        elif len(self.ranked(self.variants)) < len(self.variants):
            ranked = "listed, and not ranked or tested with the others (--rank-unproven would)"
        else:
            ranked = "ranked among themselves"
        return (f"{PAPER_ONLY_MARK} {PAPER_ONLY[0].upper()}{PAPER_ONLY[1:]}; {ranked}.",)

    def summary(self, variant: Variant, metric: str, region: str) -> Summary | None:
        """Statistics of one variant; ``None`` where it has no mean."""
        analysis = self.analyses.get((metric, region))
        return None if analysis is None else analysis.summaries.get(self.names[variant])

    def whole(self, metric: str) -> list[Variant]:
        """Variants with every result, whether or not they are ranked with the others."""
        summaries = {variant: self.summary(variant, metric, self.main) for variant in self.names}
        return [variant for variant, summary in summaries.items() if summary is not None and summary.complete]

    def complete(self, metric: str) -> list[Variant]:
        """Variants that may be compared with each other in a metric."""
        analysis = self.analyses.get((metric, self.main))
        return [] if analysis is None else [variant for variant, name in self.names.items() if name in analysis.table]


@dataclass(frozen=True)
class Comparability:
    """Why methods are not comparable, and whether they are ranked all the same.

    Attributes:
        reasons: Reasons by dataset; none where its methods are comparable. See
            :func:`harness.statistics.comparability.reasons_not_comparable`.
        allowed: Ranked in spite of them, because the user asked for it.
        rank_unproven: Networks that are written from their papers alone are ranked with the others, because the user
            asked for it.
    """

    reasons: Mapping[str, tuple[str, ...]]
    allowed: bool = False
    rank_unproven: bool = False

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


@dataclass(frozen=True)
class StudyAnalysis:
    """The results of a study and their analysis.

    Attributes:
        results: The study.
        comparability: Whether methods may be ranked.
        views: Each dataset, in table order.
        across: Ranks across datasets by metric; empty for one dataset, or where they share fewer than two methods.
    """

    results: StudyResults
    comparability: Comparability
    views: Mapping[str, DatasetView]
    across: Mapping[str, Across]

    def places(self) -> Iterator[tuple[DatasetView, Variant, Analysis, dict[str, Any]]]:
        """Yields every variant of every dataset, metric and region, with the columns that name the place."""
        for view in self.views.values():
            for (metric, region), analysis in view.analyses.items():
                for variant in view.variants:
                    place = {"dataset": view.name, **variant._asdict(), "metric": metric, "region": region}
                    yield view, variant, analysis, place


def analyse_study(
    results: StudyResults,
    *,
    allow_mixed: bool = False,
    rank_unproven: bool = False,
    question: Acquisition = NOTHING_ASKED,
) -> StudyAnalysis:
    """Analyses the results: everything the report prints.

    Args:
        results: Results of one study.
        allow_mixed: Rank methods even where they were trained under different conditions.
        rank_unproven: Rank networks that are written from their papers alone with the others.
        question: What the user asks of the sets of modalities.

    Raises:
        HarnessError: A value is absent, a row is there twice, it belongs to no cell of the study, or the question
            cannot be asked of it.
    """
    _refuse_foreign_cases(results)
    everything, results = results, whole_results(results)
    for metric in results.metrics:
        METRICS.get(metric)
    _check_question(results, question)
    cases = results.cases[results.cases["metric"].isin(list(results.metrics))]
    groups = {
        (str(dataset), str(metric)): rows
        for (dataset, metric), rows in cases.groupby(["dataset", "metric"], observed=True)
    }
    datasets = datasets_of(results)
    cells = {dataset: _named(results, dataset) for dataset in datasets}
    # Of a damaged cell it may not be known how it was trained; it has no numbers to be compared.
    known = {name: mine[mine["status"] != "damaged"] for name, mine in cells.items()}
    comparability = Comparability(
        {name: tuple(reasons_not_comparable(mine)) for name, mine in known.items()}, allow_mixed, rank_unproven
    )
    views = {}
    for dataset in datasets:
        mine = {metric: groups[dataset, metric] for metric in results.metrics if (dataset, metric) in groups}
        view = _view(results, dataset, cells[dataset], mine, comparability, question)
        views[dataset] = replace(view, curves=learning_curves(everything, dataset, view.regions))
    return StudyAnalysis(results, comparability, views, dict(_across(results, views)))


def _view(
    results: StudyResults,
    dataset: str,
    cells: pd.DataFrame,
    groups: Mapping[str, pd.DataFrame],
    comparability: Comparability,
    question: Acquisition,
) -> DatasetView:
    names, paper_only = names_of(results, dataset), paper_only_of(results, dataset)
    variants = tuple(names)
    ranked = ranked_among(variants, () if comparability.rank_unproven else paper_only)
    apart = [name for variant, name in names.items() if variant not in ranked]
    status = {variant: status_of(cells[cells["method"] == name]) for variant, name in names.items()}
    references = references_of(results, variants)
    regions = tuple(regions_of(results, dataset))
    declared = [region for region in results.datasets[dataset].regions if region in regions]
    analyses: dict[tuple[str, str], Analysis] = {}
    uncounted: list[tuple[str, str]] = []
    named = {metric: _with_methods(rows, names) for metric, rows in groups.items()}
    for metric, rows in named.items():
        grid = build_grid(rows, dataset, metric)
        for region in [*grid.regions, *([MEAN_REGION] if len(regions) > 1 else [])]:
            try:
                analyses[metric, region] = analyse(
                    grid,
                    region,
                    higher_is_better=METRICS.get(metric).higher_is_better,
                    references={names[mine]: names[theirs] for mine, theirs in references.items()},
                    regions=declared,
                    unfinished=[names[variant] for variant in variants if status[variant] != "complete"],
                    unranked=apart,
                    unlike=comparability.reasons[dataset],
                    allow_mixed=comparability.allowed,
                )
            except NothingCounts:
                uncounted.append((metric, region))
    main_region = MEAN_REGION if len(regions) > 1 else regions[0]
    main = analyses.get((results.metrics[0], main_region))
    of_main = {metric: verdict_of(results, one) for (metric, region), one in analyses.items() if region == main_region}
    return DatasetView(
        name=dataset,
        regions=regions,
        names=names,
        status=status,
        references=references,
        cells=cells,
        data=summarise_data(results, dataset, names, groups, main.untested if main else None, uncounted),
        analyses=analyses,
        floors=dict(_floors(results, dataset, groups, declared)),
        missing=missing_groups(
            results, cells, names, status, declared, apart, allow_mixed=comparability.allowed, question=question
        ),
        columns=column_views(results, dataset, named, analyses, main_region),
        verdicts={metric: verdict for metric, verdict in of_main.items() if verdict is not None},
        leading=dict(_leading(results, dataset, groups, status, main_region, declared)),
        paper_only=paper_only,
        rank_unproven=comparability.rank_unproven,
    )


def _leading(
    results: StudyResults,
    dataset: str,
    groups: Mapping[str, pd.DataFrame],
    status: Mapping[Variant, Status],
    region: str,
    regions: Sequence[str],
) -> Iterator[tuple[str, LeadingChoice]]:
    """Which modality should lead, in the first metric, by label."""
    metric = results.metrics[0]
    if metric not in groups:
        return
    rows, parts = groups[metric], results.datasets[dataset].unit != "patient"
    for label, variants in leading_groups(list(status)).items():
        done = [variant.leading for variant in variants if status[variant] == "complete"]
        mine = rows[(rows["label"] == label) & rows["leading"].isin(done)]
        if len(done) > 1 and len(mine):
            choice = choose_leading(mine, dataset, metric, region, regions, parts=parts)
            if choice is not None:
                yield label, choice


def _named(results: StudyResults, dataset: str) -> pd.DataFrame:
    """Cells of a dataset with the name of their variant."""
    cells = results.cells[results.cells["dataset"] == dataset]
    names = names_of(results, dataset)
    pairs = zip(cells["label"], cells["leading"], strict=True)
    return cells.assign(method=[names[Variant(str(label), str(leading))] for label, leading in pairs])


def _with_methods(rows: pd.DataFrame, names: Mapping[Variant, str]) -> pd.DataFrame:
    """Rows with the name of their variant, without a look at every row."""
    labels, leadings = (pd.Categorical(rows[column]) for column in ("label", "leading"))
    places = {name: number for number, name in enumerate(names.values())}
    table: NDArray[np.intp] = np.array(
        [
            [places.get(names.get(Variant(str(label), str(leading)), ""), -1) for leading in leadings.categories]
            for label in labels.categories
        ]
    )
    codes: NDArray[np.intp] = table[labels.codes, leadings.codes]
    method = pd.Categorical.from_codes(codes, categories=pd.Index(list(places)))
    return rows[_ROW].assign(method=method)


def _floors(
    results: StudyResults, dataset: str, groups: Mapping[str, pd.DataFrame], declared: Sequence[str]
) -> Iterator[tuple[tuple[str, str, str], Summary]]:
    """Scores of trivial methods on the cases that the variants were tested on."""
    floors = results.floors[results.floors["dataset"] == dataset]
    place = ["fold", "patient", "case"]
    for metric, tested in groups.items():
        cases = tested[place].drop_duplicates().astype({"patient": str, "case": str})
        rows = floors[floors["metric"] == metric].astype({"patient": str, "case": str})
        rows = rows.merge(cases, on=place).rename(columns={"floor": "method"}).assign(seed=0)
        if rows.empty:
            continue
        grid = build_grid(rows, dataset, metric)
        for region in [*grid.regions, *([MEAN_REGION] if len(grid.regions) > 1 else [])]:
            try:
                table = patient_table(grid, region, regions=declared)
            except NothingCounts:
                continue
            for name, summary in summaries_of(table).items():
                yield (name, metric, region), summary


def _across(results: StudyResults, views: Mapping[str, DatasetView]) -> Iterator[tuple[str, Across]]:
    if len(views) < 2:
        return
    for metric in results.metrics:
        analyses = [view.analyses[metric, view.main] for view in views.values() if (metric, view.main) in view.analyses]
        if sum(each.ranking is not None for each in analyses) > 1:
            across = across_datasets(analyses)
            if len(across.ranks) > 1:
                yield metric, across


def _check_question(results: StudyResults, question: Acquisition) -> None:
    if question.margin is None:
        return
    tested = [name for name in results.datasets if name in set(results.subsets["dataset"])]
    if not tested:
        raise HarnessError(
            f"No cell of study '{results.study}' was tested with fewer modalities.",
            hint="Test them first, with `harness missing`; or report without --margin.",
        )
    modalities = dict.fromkeys(name for dataset in tested for name in results.datasets[dataset].modalities)
    question.check(results.metrics[0], modalities)


def _refuse_foreign_cases(results: StudyResults) -> None:
    strangers = sorted(set(results.cases["cell"].unique()) - set(results.cells["cell"]))
    if strangers:
        raise HarnessError(
            f"{len(strangers)} cells have results but do not belong to the study, e.g. '{strangers[0]}'.",
            hint="Load the results of this study again; a store is never edited by hand.",
        )
