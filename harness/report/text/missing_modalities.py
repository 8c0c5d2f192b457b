"""Which network loses least when modalities are missing, in sentences."""

import pandas as pd

from harness.evaluation import METRICS, Metric
from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.analysis.data_summary import count
from harness.report.analysis.modalities.tested import MissingGroup, TestedNetwork
from harness.report.analysis.p_values import starred_p
from harness.statistics.bootstrap import Interval
from harness.statistics.sample_size import ALPHA


def missing_answer(study: StudyAnalysis, view: DatasetView) -> str:
    """The answer of one dataset; empty where nothing was tested with fewer modalities."""
    if not view.missing:
        return ""
    sentences = [text for group in view.missing for text in _group(group)]
    sentences += _dropout(study, view)
    if view.data.refusal:
        sentences.append(f"{view.data.refusal}. So this is an observation on these cases.")
    text = " ".join(sentences)
    return f"On {view.title}, {text[0].lower()}{text[1:]}"


def _group(group: MissingGroup) -> list[str]:
    metric = METRICS.get(group.metric)
    if group.over_subsets is None:
        return [f"Of networks whose modalities were {group.dropout} in training, none has comparable results."]
    summaries = group.over_summaries
    unlike = [text for text in group.over_subsets.refusals if text.startswith("not ranked")]
    if unlike or len(summaries) < 2:
        why = unlike[0] if unlike else "fewer than two have comparable results"
        return [f"Networks whose modalities were {group.dropout} in training cannot be ranked: {why}."]
    marks = metric.best_and_second({name: each.mean for name, each in summaries.items()})
    best = [name for name in summaries if marks.get(name) == "best"]
    if not best:
        return [f"Networks whose modalities were {group.dropout} in training have no means to be ranked by."]
    first = summaries[best[0]]
    extreme = "highest" if metric.higher_is_better else "lowest"
    sets = count(len(group.incomplete_subsets), "set")
    interval = _interval(first.mean_interval, metric)
    sentences = [
        f"Of networks whose modalities were {group.dropout} in training, {' and '.join(best)} "
        f"{'keeps' if len(best) == 1 else 'keep'} the {extreme} {metric.title} over the {sets} that lack at least one: "
        f"{metric.text(first.mean)}{interval}{_lost(group, best[0], metric)}."
    ]
    if len(best) == 1:
        sentences += _ahead(group, best[0])
    sentences += [
        text for network in group.tested if network.name in best and (text := _leading(group, network, metric))
    ]
    return sentences + _least(group, metric)


def _lost(group: MissingGroup, name: str, metric: Metric) -> str:
    lost = group.losses.get(name)
    return "" if lost is None else f", {metric.signed(lost[0])} against all of them"


def _ahead(group: MissingGroup, best: str) -> list[str]:
    """How many of the others it differs from significantly."""
    pairs = None if group.over_subsets is None else group.over_subsets.pairwise
    if pairs is None:
        return []
    others = [name for name in pairs.columns if name != best]
    beaten = [name for name in others if float(pairs[name].loc[best]) < ALPHA]
    return [f"It differs significantly (p below {ALPHA} after Holm) from {len(beaten)} of {len(others)} others."]


def _leading(group: MissingGroup, network: TestedNetwork, metric: Metric) -> str:
    """The loss without the leading modality, beside the losses without each auxiliary."""
    lead = network.loss(group.without(network.leading))
    others = {each: network.loss(group.without(each)) for each in group.modalities if each != network.leading}
    losses = {each: loss for each, loss in others.items() if loss is not None}
    if lead is None or not losses:
        return ""
    listed = ", ".join(f"{metric.signed(loss.mean_difference)} without {each}" for each, loss in losses.items())
    tests = {each: network.against_leading(each) for each in losses}
    tested = [f"{each} {starred_p(test.p_holm)}" for each, test in tests.items() if test and test.p_holm is not None]
    p = f" (p against each after Holm: {', '.join(tested)})" if tested else ""
    role = "which leads" if network.leads else "which leads in others"
    change = metric.signed(lead.mean_difference)
    return f"{network.name} changes by {change} without {network.leading}, {role}, and by {listed}{p}."


def _least(group: MissingGroup, metric: Metric) -> list[str]:
    """The network with the best score without its leading modality."""
    summaries = {
        network.name: network.summary(group.without(network.leading)) for network in group.tested if network.leading
    }
    means = {name: summary.mean for name, summary in group.rankable(summaries).items()}
    if len({network.leading for network in group.tested}) != 1:  # then each would be without another modality
        return []
    marks = metric.best_and_second(means)
    best = [name for name, mark in marks.items() if mark == "best"]
    if not best:
        return []
    return [
        f"Without the leading modality {group.tested[0].leading}, {' and '.join(best)} "
        f"{'is' if len(best) == 1 else 'are'} best ({metric.text(means[best[0]])})."
    ]


def _dropout(study: StudyAnalysis, view: DatasetView) -> list[str]:
    """Whether dropping modalities in training helps: the same networks with and without it."""
    never = [group for group in view.missing if group.dropout == "never dropped"]
    metric, sentences = METRICS.get(view.missing[0].metric), []
    cells = study.results.cells
    for group in view.missing:
        if not never or group is never[0]:
            continue
        without = _means(never[0], cells)
        gains = [value - without[key] for key, value in _means(group, cells).items() if key in without]
        if not gains:
            continue
        better = sum((gain > 0) == metric.higher_is_better and gain != 0 for gain in gains)
        average = metric.signed(sum(gains) / len(gains))
        sentences.append(
            f"The mean over these sets is better for {better} of {count(len(gains), 'network')} trained with "
            f"modalities {group.dropout} than for the same without (by "
            f"{average} on average; not tested, as trainings differ)."
        )
    return sentences


def _means(group: MissingGroup, cells: pd.DataFrame) -> dict[tuple[str, str, str], float]:
    """Mean over sets that lack a modality, by what makes two networks the same but for their training."""
    means = {}
    for network in group.tested:
        mine = cells[(cells["label"] == network.variant.label) & (cells["leading"] == network.variant.leading)]
        over = None if group.over_subsets is None else group.over_subsets.summaries.get(network.name)
        if len(mine) and over is not None and over.complete:
            first = mine.iloc[0]
            means[str(first["model"]), str(first["options"]), network.variant.leading] = over.mean
    return means


def _interval(ends: Interval | None, metric: Metric) -> str:
    return "" if ends is None else f" (95 % interval {metric.text(ends.low)} to {metric.text(ends.high)})"
