"""What the data can show: which methods they tell apart, how small a difference, and how many patients it takes."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from harness.evaluation import METRICS, Metric
from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.analysis.p_values import starred_p
from harness.report.analysis.verdict import Resolution
from harness.report.analysis.verdict_words import fine, fine_p, needed, spread_sentence
from harness.report.tables.cells import interval_text, limitations, provenance
from harness.report.tables.table import NO_VALUE, Column, CsvFile, Row, Table, TableCell, TableKind, word_cell
from harness.statistics.power import POWER

_SHARE = f"{100 * POWER:.0f} %"
_TITLES = ("difference", "p", "p (Holm)", "verdict", f"least shown in {_SHARE}", "power", f"patients for {_SHARE}")
_NUMBERS = ("least_difference", "power", "patients_needed", "patients_needed_low", "patients_needed_high")
_SPREADS = ("methods", "seeds", "folds", "folds_by_chance", "patients", "differences")
_PLACE = ("dataset", "metric", "region", "label", "reference", "n_patients", "finding")


def _verdict_tables(study: StudyAnalysis, view: DatasetView) -> Iterator[Table]:
    """One table per metric; none where methods may not be compared."""
    for name in study.results.metrics:
        verdict = view.verdicts.get(name)
        if verdict is None:
            continue
        metric = METRICS.get(name)
        yield Table(
            kind=f"verdict-{name}",
            dataset=view.name,
            title=f"{view.title}: what the data can show, {metric.title}",
            caption=(
                f"What {view.title} can show in {metric.title}, {verdict.patients} patients.",
                spread_sentence(verdict.spread, metric),
                *limitations(study, view),
            ),
            row_header=("Variant",),
            columns=tuple(Column("", title) for title in _TITLES),
            rows=tuple(
                Row((f"{one.comparison.method} against {one.comparison.reference}",), tuple(_cells(one, metric)))
                for one in verdict.resolutions
            ),
            notes=(
                f"Least shown: the difference, the same for every patient, that {_SHARE} of studies with so many "
                "patients would show. Power: share of studies that would show the observed difference. Patients: so "
                f"many show it in {_SHARE} of studies; in brackets, at the ends of its 95 % interval. Signed-rank test "
                f"(Pratt), two-sided, p below {verdict.alpha:.3g}; from the observed differences, without a model of "
                "their shape.",
                *provenance(view),
            ),
        )


def _cells(one: Resolution, metric: Metric) -> Iterator[TableCell]:
    comparison = one.comparison
    yield TableCell(
        fine(comparison.mean_difference, metric, signed=True),
        span=interval_text(metric, comparison.mean_interval, signed=True),
        sort=comparison.mean_difference,
    )
    yield NO_VALUE if comparison.p is None else TableCell(fine_p(comparison.p), sort=comparison.p)
    yield NO_VALUE if comparison.p_holm is None else TableCell(starred_p(comparison.p_holm), sort=comparison.p_holm)
    yield word_cell(one.finding)
    yield NO_VALUE if one.least is None else TableCell(fine(one.least, metric), sort=one.least)
    yield TableCell(f"{100 * one.power:.0f} %", sort=one.power)
    low, high = one.patients_range
    span = "" if comparison.mean_interval is None else f"{needed(low)}, {'no end' if high is None else needed(high)}"
    yield TableCell(needed(one.patients), span=span, sort=one.patients)


def _records(study: StudyAnalysis) -> Iterator[dict[str, Any]]:
    for view in study.views.values():
        for name in study.results.metrics:
            verdict = view.verdicts.get(name)
            for one in verdict.resolutions if verdict is not None else ():
                assert verdict is not None
                place = (view.name, name, view.main, one.comparison.method, one.comparison.reference)
                numbers = (one.least, one.power, one.patients, *one.patients_range)
                values: tuple[Any, ...] = (*place, verdict.patients, one.finding, *numbers)
                found = dict(zip((*_PLACE, *_NUMBERS), values, strict=True))
                yield found | {f"sd_{key}": value for key, value in asdict(verdict.spread).items()}


VERDICT = TableKind(
    _verdict_tables,
    csv=(CsvFile("verdict", (*_PLACE, *_NUMBERS, *(f"sd_{key}" for key in _SPREADS)), _records, optional=True),),
)
