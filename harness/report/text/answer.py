"""The study's answer in a sentence or two for each dataset, with its limits."""

import math

from harness.evaluation import METRICS, Metric
from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.analysis.data_summary import count
from harness.report.analysis.p_values import p_statement
from harness.report.analysis.variants import Variant
from harness.report.text.acquire_and_lead import advice_answer
from harness.report.text.missing_modalities import missing_answer
from harness.report.text.modality_value import value_answer
from harness.report.text.patients import column_answer, learning_answer
from harness.report.text.verdict import verdict_answer
from harness.segmenters.contract import PAPER_ONLY
from harness.statistics.analysis import Analysis, Summary
from harness.statistics.comparisons import Comparison
from harness.statistics.sample_size import ALPHA


def answer_study(study: StudyAnalysis) -> list[str]:
    """Answers dataset by dataset: which variant has the best mean, by how much, and whether that is significant.

    Then what the data can show, and from how many patients on. Where networks were tested with fewer modalities, a
    further answer says what each modality is worth, and another which network loses least; others say whether scores
    differ by columns of the patients, and what more training patients brought.
    """
    texts = (
        text
        for view in study.views.values()
        for text in (
            _answer(study, view),
            verdict_answer(study, view),
            value_answer(study, view),
            advice_answer(study, view),
            missing_answer(study, view),
            column_answer(study, view),
            learning_answer(study, view),
        )
    )
    return [text for text in texts if text]


def _answer(study: StudyAnalysis, view: DatasetView) -> str:
    mixed = study.comparability.sentence(view.name)
    if not study.comparability.allows_ranking(view.name):
        return f"On {view.title}, no answer. {mixed}"
    metric = METRICS.get(study.results.metrics[0])
    analysis = view.analyses.get((metric.name, view.main))
    ranked, whole = view.ranked(view.variants), view.complete(metric.name)
    left_out = [view.names[each] for each in ranked if each not in whole]
    apart = [view.names[each] for each in view.variants if each not in ranked]
    if analysis is None or len(analysis.table.columns) < 2:
        sentences = [f"On {view.title}, no two variants have comparable results yet."]
    else:
        sentences = [*_best(view, analysis, metric), *_stability(analysis)]
        if view.cells["seed"].nunique() == 1:
            sentences.append("Each was trained once: how much another training would change is not known.")
    if left_out:
        sentences.append(f"Left out, because results are missing: {', '.join(left_out)}.")
    if apart:
        sentences.append(f"Not ranked with them: {', '.join(apart)} ({PAPER_ONLY}).")
    if mixed:
        sentences.append(mixed)
    if view.data.refusal:
        sentences.append(
            f"{view.data.refusal}. So this is an observation on these cases and not evidence for a better method."
        )
    return " ".join(sentences)


def _best(view: DatasetView, analysis: Analysis, metric: Metric) -> list[str]:
    summaries = {each: analysis.summaries[view.names[each]] for each in view.complete(metric.name)}
    marks = metric.best_and_second({variant: summary.mean for variant, summary in summaries.items()})
    winners = [variant for variant in summaries if marks.get(variant) == "best"]
    first = summaries[winners[0]]
    over = ", mean over regions" if len(view.regions) > 1 else ""
    extreme = "highest" if metric.higher_is_better else "lowest"
    names = " and ".join(view.names[each] for each in winners)
    patients = count(first.n_patients, "patient")
    base = patients if first.n_cases == first.n_patients else f"{count(first.n_cases, 'case')} of {patients}"
    sentences = [
        f"On {view.title}, {names} {'has' if len(winners) == 1 else 'share'} the {extreme} {metric.title}{over}: "
        f"{_spread(first, metric)} ({'; '.join([*_interval(first.mean_interval, metric), base])})."
    ]
    if len(winners) == 1:
        seconds = [variant for variant in summaries if marks.get(variant) == "second"]
        sentences += _margin(view, winners[0], seconds, analysis, metric)
    return sentences


def _spread(summary: Summary, metric: Metric) -> str:
    spread = "" if math.isnan(summary.sd) else f" ± {metric.text(summary.sd)}"
    return f"{metric.text(summary.mean)}{spread}"


def _margin(
    view: DatasetView, winner: Variant, seconds: list[Variant], analysis: Analysis, metric: Metric
) -> list[str]:
    """The winner against the reference or, where the reference wins, against the runners-up."""
    compared = {each.method: each for each in analysis.comparisons}
    if (mine := compared.get(view.names[winner])) is not None:
        return [f"Its mean paired difference to the reference {mine.reference} is {_difference(mine, metric)}."]
    behind = [
        f"{view.names[each]} differs by {_difference(comparison, metric)}"
        for each in seconds
        if (comparison := compared.get(view.names[each])) is not None and comparison.reference == view.names[winner]
    ]
    return [f"It is the reference; next, {' and '.join(behind)} (mean paired difference)."] if behind else []


def _difference(comparison: Comparison, metric: Metric) -> str:
    unit = f" {metric.unit}" if metric.unit else ""
    words = _interval(comparison.mean_interval, metric, signed=True)
    if comparison.p_holm is not None:
        verdict = "" if comparison.p_holm < ALPHA else ", not significant"
        words.append(f"{p_statement(comparison.p_holm)} after Holm{verdict}")
    if comparison.within_seeds:
        words.append("within the spread between seeds")
    details = f" ({'; '.join(words)})" if words else ""
    return f"{metric.signed(comparison.mean_difference)}{unit}{details}"


def _interval(ends: tuple[float, float] | None, metric: Metric, *, signed: bool = False) -> list[str]:
    if ends is None:
        return []
    low, high = (metric.signed(each) if signed else metric.text(each) for each in ends)
    return [f"95 % interval {low} to {high}"]


def _stability(analysis: Analysis) -> list[str]:
    if analysis.stability is None or analysis.directed is None:
        return []
    first = analysis.stability.first
    name = str(first.idxmax())
    return [f"Where patients are resampled, {name} ranks first in {100 * first[name]:.0f} % of draws."]
