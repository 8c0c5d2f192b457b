"""What the data can show, in sentences."""

from collections.abc import Iterator, Sequence

from harness.evaluation import METRICS, Metric
from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.analysis.verdict import Resolution, Verdict
from harness.report.analysis.verdict_words import fine, fine_p, needed, spread_sentence
from harness.statistics.power import POWER

#: More comparisons than this are summed up.
_EACH = 4


def verdict_answer(study: StudyAnalysis, view: DatasetView) -> str:
    """The verdict on one dataset in the study's first metric; empty where there is none."""
    if not study.comparability.allows_ranking(view.name):
        return ""
    verdict = view.verdicts.get(study.results.metrics[0])
    if verdict is None:
        return ""
    metric = METRICS.get(verdict.metric)
    tested = [one for one in verdict.resolutions if one.finding != "not tested"]
    sentences = [_said(one, verdict, metric) for one in tested] if len(tested) <= _EACH else list(_summed_up(tested))
    return f"What {view.title} can show: {' '.join([*sentences, spread_sentence(verdict.spread, metric)])}"


def _summed_up(tested: Sequence[Resolution]) -> Iterator[str]:
    """Names the methods of each finding; the table has their numbers."""
    said = {"better": "Better than", "worse": "Worse than", "cannot tell": "These data cannot tell from"}
    for finding, words in said.items():
        found: dict[str, list[str]] = {}
        for one in tested:
            if one.finding == finding:
                found.setdefault(one.comparison.reference, []).append(one.comparison.method)
        yield from (f"{words} {reference}: {', '.join(methods)}." for reference, methods in found.items())


def _said(one: Resolution, verdict: Verdict, metric: Metric) -> str:
    comparison = one.comparison
    p = "" if comparison.p is None else f"p = {fine_p(comparison.p)} before correction".replace("= <", "< ")
    shown = f"{verdict.patients} patients show a difference of"
    least = "" if one.least is None else f"{shown} {fine(one.least, metric)} in {100 * POWER:.0f} % of studies"
    if one.finding == "cannot tell":
        observed = fine(comparison.mean_difference, metric, signed=True)
        return (
            f"These data cannot tell {comparison.method} from {comparison.reference} ({p}): {least}, and at the "
            f"observed difference of {observed} it takes {needed(one.patients)} patients{_few(one)}."
        )
    tie = ""
    if comparison.within_seeds:
        tie = " It is no larger than the spread between seeds, so another training may turn it."
    return f"{comparison.method} is {one.finding} than {comparison.reference} ({p}; {least}).{tie}"


def _few(one: Resolution) -> str:
    """Says why a mean difference may be invisible to the test: a few patients make it, the others point elsewhere."""
    if (one.chances.two > 0.5) == (one.comparison.mean_difference > 0):
        return ""
    return ", because a few patients make the mean difference and the others point the other way"
