"""Whether scores differ between groups of patients, and what more training patients brought, in sentences."""

from collections.abc import Sequence

from harness.evaluation import METRICS, Metric
from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.analysis.data_summary import count
from harness.report.analysis.p_values import p_statement
from harness.report.analysis.patients.columns import ColumnView
from harness.report.analysis.patients.shares import LearningCurve, LearningCurves
from harness.statistics.groups import GroupMean
from harness.statistics.sample_size import ALPHA

#: Differences that are told one by one.
_SHOWN = 3


def column_answer(study: StudyAnalysis, view: DatasetView) -> str:
    """Whether scores differ by the columns that the report shows; empty where it shows none."""
    metric = METRICS.get(study.results.metrics[0])
    texts = []
    for one in view.columns:
        if (means := one.means.get((metric.name, view.main))) is not None:
            texts.append(_groups(view, one, means, metric))
        if one.out_of_house.get(metric.name):
            texts.append(_out_of_house(view, one, metric))
    return " ".join(texts)


def _groups(view: DatasetView, one: ColumnView, means: Sequence[GroupMean], metric: Metric) -> str:
    tested = [found for found in means if found.p_holm is not None]
    if not tested:
        return f"On {view.title}, all tested patients have the same {one.column}."
    groups = len({found.group for found in tested})
    tests = len(tested) // groups * (groups if groups > 2 else 1)
    if groups == 2:  # of two groups one comparison says all: the one with the lower scores is named
        worse = min if metric.higher_is_better else max
        by_method: dict[str, list[GroupMean]] = {}
        for found in tested:
            by_method.setdefault(found.method, []).append(found)
        tested = [worse(both, key=lambda found: found.mean) for both in by_method.values()]
    family = f"Holm over {count(tests, 'comparison')}"
    how = " when it was held out of training" if one.held_out else ""
    significant = sorted((found for found in tested if found.differs), key=lambda found: -abs(found.difference))
    lead = f"On {view.title}, scores by {one.column}{how}: "
    if not significant:
        few = [found for found in tested if not found.can_tell]
        largest = max(tested, key=lambda found: abs(found.difference))
        why = (
            f"the patients are too few for a test to show any difference ({family})"
            if len(few) == len(tested)
            else f"no group differs significantly from the others ({family})"
        )
        return f"{lead}these data cannot tell whether they differ; {why}. The largest: {_told(largest, metric)}."
    # Beside one group that is worse, the others are better than all others: one cause is told once.
    low = [found for found in significant if (found.difference < 0) == metric.higher_is_better]
    rest = len(tested) - len(significant)
    better = len(significant) - len(low) if low else 0
    significant = low or significant
    told = "; ".join(f"{_told(found, metric)}, {p_statement(found.p_holm or 0.0)}" for found in significant[:_SHOWN])
    more = f"; and {len(significant) - _SHOWN} more" if len(significant) > _SHOWN else ""
    others = f" In {count(better, 'comparison')} the group is better for that." if better else ""
    others += f" For {count(rest, 'comparison')} they cannot tell." if rest else ""
    doubt = " A group may be harder in itself, whatever the network was trained on."
    return f"{lead}they differ: {told}{more} ({family}).{others}{doubt}"


def _told(found: GroupMean, metric: Metric) -> str:
    ends = found.difference_interval
    interval = "" if ends is None else f", 95 % interval {metric.signed(ends.low)} to {metric.signed(ends.high)}"
    return (
        f"{found.method} scores {metric.text(found.mean)} in {found.group} ({count(found.n_patients, 'patient')}), "
        f"{metric.signed(found.difference)} against the {found.n_others} others{interval}"
    )


def _out_of_house(view: DatasetView, one: ColumnView, metric: Metric) -> str:
    found = one.out_of_house[metric.name]
    lead = (
        f"On {view.title}, {metric.title} of networks trained at another {one.column} against those trained at the "
        f"patient's own, {count(found[0].n_patients, 'patient')}: "
    )
    told = []
    for each in found:
        comparison = each.comparison
        ends = comparison.mean_interval
        interval = "" if ends is None else f", 95 % interval {metric.signed(ends.low)} to {metric.signed(ends.high)}"
        p = comparison.p_holm
        verdict = "cannot tell" if p is None or p >= ALPHA else "differs"
        p_words = "" if p is None else f", {p_statement(p)}"
        told.append(f"{each.method} {metric.signed(comparison.mean_difference)}{interval}{p_words} ({verdict})")
    why = f" {found[0].untested}." if found[0].untested else f" (Holm over {count(len(found), 'comparison')}.)"
    return f"{lead}{'; '.join(told)}.{why}"


def learning_answer(study: StudyAnalysis, view: DatasetView) -> str:
    """What the last step to more training patients brought; empty without learning curves."""
    if view.curves is None:
        return ""
    metric = METRICS.get(study.results.metrics[0])
    told = [text for curve in view.curves.curves if (text := _step(view.curves, curve, metric))]
    if not told:
        return f"On {view.title}, no two points of a learning curve have results yet."
    return (
        f"On {view.title}, {metric.title} by more training patients: {'; '.join(told)}. Nothing is known beyond the "
        "largest share."
    )


def _step(curves: LearningCurves, curve: LearningCurve, metric: Metric) -> str:
    """The last step that was measured."""
    point = next((one for one in reversed(curve.points) if curves.step(one, metric.name) is not None), None)
    step = None if point is None else curves.step(point, metric.name)
    if point is None or step is None:
        return ""
    before = next(one for one in curve.points if one.name == step.reference)
    ends = step.mean_interval
    interval = "" if ends is None else f" (95 % interval {metric.signed(ends.low)} to {metric.signed(ends.high)}"
    p = "" if step.p_holm is None else f"{', ' if interval else ' ('}{p_statement(step.p_holm)} after Holm"
    end = ")" if interval or p else ""
    verdict = "" if step.p_holm is not None and step.p_holm < ALPHA else ", so these data cannot tell whether they help"
    return (
        f"the step from {before.count} to {point.count} changed {curve.name} by "
        f"{metric.signed(step.mean_difference)}{interval}{p}{end}{verdict}"
    )
