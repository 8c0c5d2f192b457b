"""What all tables share: row headers, cells of a statistic, and the sentences around a table."""

import math
from collections.abc import Iterable

from harness.evaluation import Metric
from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.analysis.data_summary import count
from harness.report.analysis.p_values import STAR
from harness.report.analysis.variants import Variant
from harness.report.tables.table import DAGGER, TableCell
from harness.segmenters.contract import PAPER_ONLY_MARK
from harness.statistics.analysis import Summary
from harness.statistics.comparisons import Comparison
from harness.statistics.sample_size import ALPHA


def row_headers(view: DatasetView) -> tuple[tuple[str, ...], dict[Variant, tuple[str, ...]]]:
    """Headings of the columns that name rows, and the names of each variant.

    The leading modality has a column of its own where a label stands with several.
    """
    if len({variant.label for variant in view.variants}) < len(view.variants):
        return ("Variant", "Leading"), {
            each: (marked_label(view, each), each.leading.replace("-", "–")) for each in view.variants
        }
    return ("Variant",), {each: (marked_label(view, each),) for each in view.variants}


def marked_label(view: DatasetView, variant: Variant) -> str:
    """Label of a variant, with a mark where its network is written from its paper alone."""
    return variant.label + PAPER_ONLY_MARK * (variant in view.paper_only)


def mean_cell(metric: Metric, summary: Summary, mark: str = "", *, interval: bool = False) -> TableCell:
    """Mean with its standard deviation, or with the interval of the mean."""
    return TableCell(
        main=metric.text(summary.mean),
        spread="" if interval or math.isnan(summary.sd) else metric.text(summary.sd),
        span=interval_text(metric, summary.mean_interval) if interval else "",
        mark=mark,
        dagger=not summary.complete,
        sort=summary.mean,
    )


def median_cell(metric: Metric, summary: Summary, mark: str = "") -> TableCell:
    """Median and quartiles."""
    return TableCell(
        main=metric.text(summary.median),
        span=f"{metric.text(summary.q1)}, {metric.text(summary.q3)}",
        mark=mark,
        dagger=not summary.complete,
        sort=summary.median,
    )


def difference_cell(metric: Metric, comparison: Comparison, *, star: bool = True) -> TableCell:
    """Mean paired difference and its interval, with a star where it is significant."""
    starred = star and comparison.p_holm is not None and comparison.p_holm < ALPHA
    return TableCell(
        f"{metric.signed(comparison.mean_difference)}{STAR if starred else ''}",
        span=interval_text(metric, comparison.mean_interval, signed=True),
        sort=comparison.mean_difference,
    )


def interval_text(metric: Metric, interval: tuple[float, float] | None, *, signed: bool = False) -> str:
    """Both ends of an interval; ``''`` for none."""
    return ", ".join(metric.signed(end) if signed else metric.text(end) for end in interval or ())


def sentence(text: str, *, capital: bool = False) -> str:
    """The text with its full stop, and with a capital where it begins with none."""
    start = text[0].upper() + text[1:] if capital else text
    return start if start.endswith((".", "?", "!")) else f"{start}."


def note_incomplete(view: DatasetView, variants: Iterable[Variant]) -> list[str]:
    """Which variants stand on fewer results than the others, and on how many."""
    notes = []
    for name in (view.names[variant] for variant in variants):
        summaries = [analysis.summaries[name] for analysis in view.analyses.values() if name in analysis.summaries]
        short = [summary for summary in summaries if not summary.complete]
        if not short:
            continue
        least = min(short, key=lambda summary: summary.n_results)
        reason = f"{least.n_results:,} of {least.n_expected:,} results ({count(least.n_cases, 'case')})"
        if any(math.isinf(summary.mean) for summary in short):
            reason = "results are infinite, so there is no mean that could be compared"
        notes.append(f"{DAGGER} {name}: {reason}; not ranked.")
    return notes


def limitations(study: StudyAnalysis, view: DatasetView) -> tuple[str, ...]:
    """What the table cannot show: too few patients for a test, or methods that may not be ranked together."""
    reasons = (view.data.refusal and f"{view.data.refusal}.", study.comparability.sentence(view.name))
    return tuple(reason for reason in reasons if reason)


def provenance(view: DatasetView) -> tuple[str, ...]:
    """The dataset's caveats, policies, implementations, failures and code."""
    data = view.data
    failures = f"Without a result: {'; '.join(data.failures)}." if data.failures else "Every cell finished."
    return (
        *view.paper_only_notes,
        *(sentence(note) for note in data.notes),
        f"{data.policies}.",
        f"{data.implementations}.",
        failures,
        f"Commit {data.commits}.",
    )
