"""Against the reference: tests, effect sizes, intervals and ranks; and the differences region by region."""

from __future__ import annotations

import math
from dataclasses import replace

from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.analysis.metric_styles import MetricStyle, metric_style
from harness.report.analysis.p_values import STAR, starred_p
from harness.report.analysis.variants import Variant
from harness.report.tables.cells import limitations, provenance, row_headers, sentence
from harness.report.tables.table import WITHIN_SEEDS, Column, Row, Table, TableCell, word_cell
from harness.statistics.analysis import Analysis
from harness.statistics.comparisons import Comparison
from harness.statistics.floors import ALPHA
from harness.statistics.patients import MEAN_REGION
from harness.statistics.rankings import AGGREGATE, RANK, TEST

__all__ = ["comparison_tables", "difference_tables"]

_NONE = TableCell("–")
_RANKS = {AGGREGATE: "mean", RANK: "mean rank", TEST: "wins"}


def comparison_tables(study: StudyAnalysis, view: DatasetView) -> list[Table]:
    """One table a metric: every variant against its reference, and its ranks by three schemes."""
    tables = []
    for metric in study.results.metrics:
        analysis = view.analyses.get((metric, view.main))
        if analysis is not None and (analysis.comparisons or analysis.ranking is not None):
            tables.append(_comparison_table(study, view, analysis))
    return tables


def _comparison_table(study: StudyAnalysis, view: DatasetView, analysis: Analysis) -> Table:
    style = metric_style(analysis.metric)
    compared = {each.method: each for each in analysis.comparisons}
    references = sorted({each.reference for each in analysis.comparisons})
    against = f"Difference to {references[0]}" if len(references) == 1 else "Difference to the reference"
    group = f"{against}, {style.heading}"
    columns = [Column(group, title) for title in _TITLES] if compared else []
    columns += [Column("Spread", "between patients"), Column("Spread", "between seeds")]
    schemes = list(analysis.ranking.ranks.columns) if analysis.ranking is not None else []
    columns += [Column("Rank by", _RANKS[scheme]) for scheme in schemes]
    header, names = row_headers(view)
    said, rows = limitations(study, view), []
    for variant, heading in names.items():
        name = view.names[variant]
        own = name in references
        compared_cells = _comparison_cells(style, compared.get(name), own=own) if compared else []
        rows.append(Row(heading, (*compared_cells, *_spreads(view, variant, analysis), *_ranks(analysis, name))))
    columns, rows = _without_empty(columns, rows)
    return Table(
        kind=f"comparisons-{style.name}",
        dataset=view.name,
        title=f"{view.title}: {style.title} compared",
        caption=(
            f"{style.title} compared{', mean over regions' if view.main == MEAN_REGION else ''}: {view.title}.",
            f"Over {view.data.sample}; {style.direction}.",
            *said,
        ),
        row_header=header,
        columns=tuple(columns),
        rows=tuple(rows),
        notes=(*(note for note in _words(analysis) if note not in said), *provenance(view)),
    )


def _without_empty(columns: list[Column], rows: list[Row]) -> tuple[list[Column], list[Row]]:
    """Leaves out columns without a single value; notes and caption say what was refused, and why."""
    kept = [place for place in range(len(columns)) if any(row.cells[place] != _NONE for row in rows)]
    shorter = [replace(row, cells=tuple(row.cells[place] for place in kept)) for row in rows]
    return [columns[place] for place in kept], shorter


_TITLES = ("median", "95 % interval", "p (Holm)", "Cliff's delta", "P(better)", "within seeds")


def _comparison_cells(style: MetricStyle, found: Comparison | None, *, own: bool) -> list[TableCell]:
    if found is None:
        return [word_cell("reference") if own else word_cell("not compared"), *[_NONE] * (len(_TITLES) - 1)]
    seeds = WITHIN_SEEDS[found.within_seeds]
    interval = found.median_interval
    few = interval is None  # an effect of so few patients is -1 or 1 by nature
    return [
        TableCell(style.signed(found.median_difference), sort=found.median_difference),
        _NONE if interval is None else TableCell(f"{style.signed(interval.low)} to {style.signed(interval.high)}"),
        _NONE if found.p_holm is None else TableCell(starred_p(found.p_holm), sort=found.p_holm),
        _NONE if few else TableCell(f"{found.cliffs_delta:+.2f}".replace("-", "−"), sort=found.cliffs_delta),
        _NONE if few else TableCell(f"{found.p_better:.2f}", sort=found.p_better),
        TableCell(seeds),
    ]


def _spreads(view: DatasetView, variant: Variant, analysis: Analysis) -> list[TableCell]:
    if view.status[variant] != "complete":
        return [word_cell(view.status[variant])] * 2
    found, style = view.summary(variant, analysis.metric, analysis.region), metric_style(analysis.metric)
    if found is None:
        return [word_cell("no result")] * 2
    patients = found.sd if found.n_patients > 1 else math.nan
    return [_NONE if math.isnan(each) else TableCell(style.text(each), sort=each) for each in (patients, found.seed_sd)]


def _ranks(analysis: Analysis, name: str) -> list[TableCell]:
    if analysis.ranking is None:
        return []
    ranks = analysis.ranking.ranks
    if name not in ranks.index:
        return [_NONE] * ranks.shape[1]
    return [TableCell(f"{value:g}", sort=value) for value in ranks.loc[[name]].to_numpy(dtype=float)[0].tolist()]


def _two(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _words(analysis: Analysis) -> list[str]:
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
            f"{_RANKS[first]} and {_RANKS[second]} {'undefined' if math.isnan(tau) else _two(tau)}"
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
    if (stable := analysis.stability) is not None:
        notes.append(
            f"Ranks by mean over {stable.resamples:,} resamples of patients: Kendall's tau with the ranking on all "
            f"patients {_two(stable.taus.median)} (95 %: {_two(stable.taus.low)} to {_two(stable.taus.high)})."
        )
    said = dict.fromkeys([*analysis.refusals, *analysis.caveats])
    return [*notes, *(sentence(text[0].upper() + text[1:]) for text in said)]


def difference_tables(study: StudyAnalysis, view: DatasetView) -> list[Table]:
    """One table a metric: mean paired differences by region; none where nothing is compared with a reference."""
    compared = {metric for (metric, _), analysis in view.analyses.items() if analysis.comparisons}
    return [_difference_table(study, view, metric) for metric in study.results.metrics if metric in compared]


def _difference_table(study: StudyAnalysis, view: DatasetView, metric: str) -> Table:
    style = metric_style(metric)
    columns = tuple(
        Column(style.heading, "Mean over regions" if region == MEAN_REGION else region, metric, region)
        for region in view.shown
    )
    found = {
        column: {each.method: each for each in view.analyses[metric, column.region].comparisons}
        for column in columns
        if (metric, column.region) in view.analyses
    }
    references = {view.names[each] for each in view.references.values()}
    reference = references.pop() if len(references) == 1 else study.results.reference
    header, names = row_headers(view)
    rows = [
        Row(
            names[variant],
            tuple(
                _difference(view, variant, found.get(column, {}).get(view.names[variant]), style) for column in columns
            ),
        )
        for variant in view.references
    ]
    return Table(
        kind=f"differences-{metric}",
        dataset=view.name,
        title=f"{view.title}: {style.title}, difference to {reference}",
        caption=(
            f"{style.title}, difference to {reference}: {view.title}.",
            "Variant minus reference: mean of the patients' differences and its 95 % interval (BCa bootstrap), over "
            f"{view.data.sample}. {STAR} p below {ALPHA} (signed-rank, Pratt, Holm over a column).",
            f"{'Positive' if style.higher_is_better else 'Negative'} is better.",
            *limitations(study, view),
        ),
        row_header=header,
        columns=columns,
        rows=tuple(rows),
        notes=provenance(view),
    )


def _difference(view: DatasetView, variant: Variant, found: Comparison | None, style: MetricStyle) -> TableCell:
    if found is None:
        states = [view.status[each] for each in (variant, view.references[variant])]
        return word_cell(next((state for state in states if state != "complete"), "not compared"))
    ends = found.mean_interval
    star = STAR if found.p_holm is not None and found.p_holm < ALPHA else ""
    return TableCell(
        f"{style.signed(found.mean_difference)}{star}",
        span="" if ends is None else f"{style.signed(ends.low)}, {style.signed(ends.high)}",
        sort=found.mean_difference,
    )
