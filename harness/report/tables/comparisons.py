"""Against the reference: tests, effect sizes, intervals and ranks; and the differences region by region."""

import math
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

from harness.evaluation import METRICS, Metric
from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.analysis.p_values import STAR, starred_p
from harness.report.analysis.variants import Variant
from harness.report.tables.cells import difference_cell, limitations, provenance, row_headers, sentence
from harness.report.tables.table import (
    NO_VALUE,
    WITHIN_SEEDS,
    Column,
    CsvFile,
    Row,
    Table,
    TableCell,
    TableKind,
    flat_columns,
    flat_record,
    word_cell,
)
from harness.statistics.analysis import Analysis
from harness.statistics.comparisons import Comparison
from harness.statistics.patients import MEAN_REGION
from harness.statistics.rankings import AGGREGATE, RANK, TEST
from harness.statistics.sample_size import ALPHA

_PLACE = ("dataset", "label", "leading", "metric", "region")
#: Schemes of ranking: what tables call them, and their columns of ``ranks.csv``.
_SCHEMES = {AGGREGATE: "mean", RANK: "mean rank", TEST: "wins"}
_RANK_COLUMNS = {AGGREGATE: "rank_by_mean", RANK: "rank_by_mean_rank", TEST: "rank_by_wins"}
_TITLES = ("median", "95 % interval", "p (Holm)", "Cliff's delta", "P(better)", "within seeds")


def _comparison_tables(study: StudyAnalysis, view: DatasetView) -> Iterator[Table]:
    """One table per metric: every variant against its reference, and its ranks by three schemes."""
    for metric in study.results.metrics:
        analysis = view.analyses.get((metric, view.main))
        if analysis is not None and (analysis.comparisons or analysis.ranking is not None):
            yield _comparison_table(study, view, analysis)


def _comparison_table(study: StudyAnalysis, view: DatasetView, analysis: Analysis) -> Table:
    metric = METRICS.get(analysis.metric)
    compared = {each.method: each for each in analysis.comparisons}
    references = sorted({each.reference for each in analysis.comparisons})
    against = f"Difference to {references[0]}" if len(references) == 1 else "Difference to the reference"
    columns = [Column(f"{against}, {metric.heading}", title) for title in _TITLES] if compared else []
    columns += [Column("Spread", "between patients"), Column("Spread", "between seeds")]
    schemes = list(analysis.ranking.ranks.columns) if analysis.ranking is not None else []
    columns += [Column("Rank by", _SCHEMES[scheme]) for scheme in schemes]
    row_header, headers = row_headers(view)
    limits, rows = limitations(study, view), []
    for variant, header in headers.items():
        name = view.names[variant]
        cells = _comparison_cells(metric, compared.get(name), is_reference=name in references) if compared else []
        rows.append(Row(header, (*cells, *_spreads(view, variant, analysis), *_ranks(analysis, name)), variant=variant))
    columns, rows = _without_empty(columns, rows)
    return Table(
        kind=f"comparisons-{metric.name}",
        dataset=view.name,
        title=f"{view.title}: {metric.title} compared",
        caption=(
            f"{metric.title} compared{', mean over regions' if view.main == MEAN_REGION else ''}: {view.title}.",
            f"Over {view.data.sample}; {metric.direction}.",
            *limits,
        ),
        row_header=row_header,
        columns=tuple(columns),
        rows=tuple(rows),
        notes=(*(note for note in _notes(analysis) if note not in limits), *provenance(view)),
    )


def _without_empty(columns: list[Column], rows: list[Row]) -> tuple[list[Column], list[Row]]:
    """Leaves out columns without a single value; notes and caption say what was refused, and why."""
    kept = [place for place in range(len(columns)) if any(row.cells[place] != NO_VALUE for row in rows)]
    shorter = [replace(row, cells=tuple(row.cells[place] for place in kept)) for row in rows]
    return [columns[place] for place in kept], shorter


def _comparison_cells(metric: Metric, comparison: Comparison | None, *, is_reference: bool) -> list[TableCell]:
    if comparison is None:
        return [word_cell("reference" if is_reference else "not compared"), *[NO_VALUE] * (len(_TITLES) - 1)]
    median, interval, p = comparison.median_difference, comparison.median_interval, comparison.p_holm
    cells = [TableCell(metric.signed(median), sort=median), *[NO_VALUE] * (len(_TITLES) - 2)]
    if interval is not None:  # without one, patients are so few that an effect is -1 or 1 by nature
        delta = f"{comparison.cliffs_delta:+.2f}".replace("-", "−")
        cells[1] = TableCell(f"{metric.signed(interval.low)} to {metric.signed(interval.high)}")
        cells[3] = TableCell(delta, sort=comparison.cliffs_delta)
        cells[4] = TableCell(f"{comparison.p_better:.2f}", sort=comparison.p_better)
    if p is not None:
        cells[2] = TableCell(starred_p(p), sort=p)
    return [*cells, TableCell(WITHIN_SEEDS[comparison.within_seeds])]


def _spreads(view: DatasetView, variant: Variant, analysis: Analysis) -> list[TableCell]:
    if view.status[variant] != "complete":
        return [word_cell(view.status[variant])] * 2
    summary, metric = view.summary(variant, analysis.metric, analysis.region), METRICS.get(analysis.metric)
    if summary is None:
        return [word_cell("no result")] * 2
    spreads = (summary.sd if summary.n_patients > 1 else math.nan, summary.seed_sd)
    return [NO_VALUE if math.isnan(spread) else TableCell(metric.text(spread), sort=spread) for spread in spreads]


def _ranks(analysis: Analysis, name: str) -> list[TableCell]:
    if analysis.ranking is None:
        return []
    ranks = analysis.ranking.ranks
    if name not in ranks.index:
        return [NO_VALUE] * ranks.shape[1]
    return [TableCell(f"{value:g}", sort=value) for value in ranks.loc[[name]].to_numpy(dtype=float)[0].tolist()]


def _two_digits(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _notes(analysis: Analysis) -> list[str]:
    """What the columns mean, and what was refused."""
    notes = []
    if analysis.comparisons:
        notes.append(
            "Differences are variant minus reference, patient by patient; median with its percentile bootstrap "
            "interval. Cliff's delta is above 0 and P(better), the share of patients on which the variant is better "
            "(ties count half), above 0.5 where the variant is better; where patients are too few for an interval they "
            "are left out. Within seeds: the difference of the means is no larger than the larger SD between seeds."
        )
    if any(each.p_holm is not None for each in analysis.comparisons):
        notes.append(
            f"p: two-sided signed-rank test (Pratt), Holm over {len(analysis.comparisons)} comparisons; "
            f"{STAR} below {ALPHA}."
        )
    if (ranking := analysis.ranking) is not None:
        taus = "; ".join(
            f"{_SCHEMES[first]} and {_SCHEMES[second]} {'undefined' if math.isnan(tau) else _two_digits(tau)}"
            for (first, second), tau in ranking.taus.items()
        )
        notes.append(
            "Ranks: by mean over patients; by mean rank within patients; by number of significant wins (one-sided, "
            f"Holm over all ordered pairs), where tested. Kendall's tau between them: {taus}."
        )
    if (omnibus := analysis.omnibus) is not None:
        notes.append(
            f"Friedman over all ranked variants: chi-square {omnibus.statistic:.2f}, p {starred_p(omnibus.p)}."
        )
    if (stability := analysis.stability) is not None:
        median, low, high = map(_two_digits, (stability.taus.median, stability.taus.low, stability.taus.high))
        notes.append(
            f"Ranks by mean over {stability.resamples:,} resamples of patients: Kendall's tau with the ranking on all "
            f"patients {median} (95 %: {low} to {high})."
        )
    return [*notes, *(sentence(text, capital=True) for text in dict.fromkeys([*analysis.refusals, *analysis.caveats]))]


def _difference_tables(study: StudyAnalysis, view: DatasetView) -> Iterator[Table]:
    """One table per metric: mean paired differences by region; none where nothing is compared with a reference."""
    compared = {metric for (metric, _), analysis in view.analyses.items() if analysis.comparisons}
    return (_difference_table(study, view, METRICS.get(name)) for name in study.results.metrics if name in compared)


def _difference_table(study: StudyAnalysis, view: DatasetView, metric: Metric) -> Table:
    comparisons = {
        (each.method, region): each
        for region in view.shown
        if (metric.name, region) in view.analyses
        for each in view.analyses[metric.name, region].comparisons
    }
    references = {view.names[each] for each in view.references.values()}
    reference = references.pop() if len(references) == 1 else study.results.reference
    row_header, headers = row_headers(view)
    return Table(
        kind=f"differences-{metric.name}",
        dataset=view.name,
        title=f"{view.title}: {metric.title}, difference to {reference}",
        caption=(
            f"{metric.title}, difference to {reference}: {view.title}.",
            "Variant minus reference: mean of the patients' differences and its 95 % interval (BCa bootstrap), over "
            f"{view.data.sample}. {STAR} p below {ALPHA} (signed-rank, Pratt, Holm over a column).",
            f"{'Positive' if metric.higher_is_better else 'Negative'} is better.",
            *limitations(study, view),
        ),
        row_header=row_header,
        columns=tuple(
            Column(metric.heading, "Mean over regions" if region == MEAN_REGION else region, metric.name, region)
            for region in view.shown
        ),
        rows=tuple(
            Row(
                headers[variant],
                tuple(
                    difference_cell(metric, comparison)
                    if (comparison := comparisons.get((view.names[variant], region))) is not None
                    else _no_difference(view, variant)
                    for region in view.shown
                ),
                variant=variant,
            )
            for variant in view.references
        ),
        notes=provenance(view),
    )


def _no_difference(view: DatasetView, variant: Variant) -> TableCell:
    states = [view.status[each] for each in (variant, view.references[variant])]
    return word_cell(next((state for state in states if state != "complete"), "not compared"))


def _comparison_records(study: StudyAnalysis) -> Iterator[dict[str, Any]]:
    for view, variant, analysis, place in study.places():
        for comparison in analysis.comparisons:
            if comparison.method == view.names[variant]:
                yield place | flat_record(asdict(comparison))


def _rank_records(study: StudyAnalysis) -> Iterator[dict[str, Any]]:
    for view, variant, analysis, place in study.places():
        name, ranking, stability = view.names[variant], analysis.ranking, analysis.stability
        if ranking is None or stability is None or name not in ranking.ranks.index:
            continue
        ranks = {_RANK_COLUMNS[str(scheme)]: value for scheme, value in ranking.ranks.loc[name].items()}
        yield place | ranks | {"mean_rank": ranking.mean_ranks[name], "ranked_first": stability.first[name]}


DIFFERENCES = TableKind(_difference_tables)
COMPARISONS = TableKind(
    _comparison_tables,
    csv=(
        CsvFile(
            "comparisons",
            (*_PLACE, *(column for column in flat_columns(Comparison) if column != "method")),
            _comparison_records,
        ),
        CsvFile("ranks", (*_PLACE, *_RANK_COLUMNS.values(), "mean_rank", "ranked_first"), _rank_records),
    ),
)
