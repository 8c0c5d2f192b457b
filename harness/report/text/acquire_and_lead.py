"""What to acquire and what should lead, in one paragraph per network."""

from collections.abc import Iterator

from harness.evaluation import METRICS, Metric
from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.analysis.data_summary import count
from harness.report.analysis.modalities.lead_words import NONE
from harness.report.analysis.modalities.page import Advice, advice_of
from harness.report.analysis.modalities.patterns import impossible_sets
from harness.report.analysis.modalities.value import SetLoss
from harness.report.analysis.modalities.words import all_of, impossible_words, in_set, lacking_sentence, missing_command
from harness.report.analysis.p_values import p_statement
from harness.report.analysis.verdict_words import needed
from harness.statistics.power import POWER
from harness.statistics.shapley import every_subset

#: Of more networks the table tells.
_TOLD = 3


def advice_answer(study: StudyAnalysis, view: DatasetView) -> str:
    """The paragraph of one dataset; empty where neither was asked."""
    advice = advice_of(view, study.results.datasets[view.name].modalities)
    if not advice:
        return ""
    metric = METRICS.get(study.results.metrics[0])
    parts = [f"{each.label}: {' '.join(advice_sentences(study, view, each, metric))}" for each in advice[:_TOLD]]
    more = f" The table has {count(len(advice) - _TOLD, 'network')} more." if len(advice) > _TOLD else ""
    return f"What to acquire and what should lead on {view.title}. {' '.join(parts)}{more}"


def advice_sentences(study: StudyAnalysis, view: DatasetView, advice: Advice, metric: Metric) -> Iterator[str]:
    """The sentences of one network."""
    if advice.choice is None and advice.network is not None and advice.network.variant.leading == "-":
        yield "No modality leads in it."
    elif advice.choice is None:
        yield (
            f"Which modality should lead was not asked; `leading: [all]` in the study or `harness lead {view.name}` "
            "asks it."
        )
    else:
        choice = advice.choice
        parts = count(choice.patients, "part of one patient", "parts of one patient")
        over = parts if choice.parts else count(choice.patients, "test patient")
        yield choice.sentence if choice.refused else f"On {over} and {count(choice.seeds, 'seed')}: {choice.sentence}"
        if choice.needed:
            yield choice.needed
    yield from _acquire(study, view, advice, metric)


def _acquire(study: StudyAnalysis, view: DatasetView, advice: Advice, metric: Metric) -> Iterator[str]:
    value, every = advice.value, all_of(advice.modalities)
    if value is None:
        cases = study.results.cases
        sets = every_subset(advice.modalities)[1:]
        impossible = impossible_sets(cases[cases["dataset"] == view.name], sets)
        tests = f"{missing_command(study, advice.label)} tests it."
        yield "Which modalities are needed was not tested; " + (impossible_words(impossible) if impossible else tests)
        return
    if value.lacking:
        yield lacking_sentence(study, value, advice.modalities, advice.label)
        return
    if value.untested or (value.refusal and not value.sets):
        yield f"To acquire: {every}, because no test can be made ({value.untested or value.refusal})."
        return
    margin = value.question.margin
    if margin is None:
        yield "Name a margin, e.g. --margin 0.02, to learn which modalities are needed."
        return
    claim = f"shown to lose less than {margin:g} {metric.unit or metric.title}{_everywhere(advice)}"
    chosen = advice.to_acquire
    if chosen is None:
        nearest = value.nearest
        assert nearest is not None
        yield (
            f"To acquire: {every}, as far as {count(value.patients, 'patient')} can tell: no smaller set is {claim}. "
            f"Nearest is {in_set(nearest.present)}{_takes(nearest)}."
        )
        return
    price = "" if chosen.price is None else f", {chosen.price} (all: {value.question.price(advice.modalities)})"
    yield (
        f"To acquire: {in_set(chosen.present)}{price}; {claim} (one-sided α = {value.question.alpha:g}, "
        f"{p_statement(chosen.p_holm)} after Holm, {count(value.patients, 'patient')})."
    )
    if advice.leads is not None and advice.leads != NONE and advice.leads not in chosen.present:
        yield (
            f"But {advice.leads}, which should lead, is not among them: acquire it, too, or let one of these lead and "
            "train again."
        )


def _everywhere(advice: Advice) -> str:
    return " in every region" if advice.value is not None and len(advice.value.regions) > 1 else ""


def _takes(nearest: SetLoss) -> str:
    if nearest.patients_needed is None:
        return ", at whose observed loss no number of patients would show it"
    return f", which takes about {needed(nearest.patients_needed)} patients in {100 * POWER:.0f} % of studies"
