"""What each modality is worth, and which set of them suffices, in sentences."""

from collections.abc import Iterator, Sequence

from harness.evaluation import METRICS, Metric
from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.analysis.data_summary import count
from harness.report.analysis.modalities.tested import answering
from harness.report.analysis.modalities.value import ModalityValue, RegionValue, SetLoss
from harness.report.analysis.modalities.words import all_of, in_set, lacking_sentence
from harness.report.analysis.p_values import p_statement
from harness.report.analysis.verdict_words import fine, needed
from harness.statistics.patients import MEAN_REGION
from harness.statistics.power import POWER


def value_answer(study: StudyAnalysis, view: DatasetView) -> str:
    """The answer of one dataset; empty where nothing was tested with fewer modalities."""
    if not view.missing:
        return ""
    metric = METRICS.get(view.missing[0].metric)
    parts = []
    for group, network in answering(view.missing):
        assert network.value is not None
        sentences = value_sentences(study, network.value, group.modalities, metric, network.variant.label)
        parts.append(f"To {network.name}: {' '.join(sentences)}")
    return f"What modalities are worth on {view.title}. {' '.join(parts)}" if parts else ""


def value_sentences(
    study: StudyAnalysis, value: ModalityValue, modalities: Sequence[str], metric: Metric, label: str
) -> list[str]:
    """The sentences of one network.

    Args:
        study: The study, for the command that tests what is lacking.
        value: What the modalities are worth to it.
        modalities: In channel order.
        metric: Metric of the scores.
        label: Label of the network in the study.
    """
    if value.lacking:
        return [lacking_sentence(study, value, modalities, label)]
    sentences = [*_values(value, metric), *_sets(value, modalities, metric)]
    if value.untested:
        sentences.append(f"{value.untested}.")
    return sentences


def _values(value: ModalityValue, metric: Metric) -> Iterator[str]:
    if value.refusal:
        yield f"No value is given: {value.refusal}."
        return
    parts = [one for one in value.regions if one.region != MEAN_REGION or len(value.regions) == 1]
    if value.untested:
        firsts = [f"{one.ranked[0]}{_in(one, parts)} ({metric.text(one.means[one.ranked[0]])})" for one in parts]
        yield f"Observed as worth most: {', '.join(firsts)}; whether more than another is not tested."
        return
    pairs = sum(len(one.p) for one in parts)
    if not any(one.above(name) for one in parts for name in one.means):
        yield (
            f"No modality's value can be told from another's ({count(value.patients, 'patient')}; signed-rank, Holm "
            f"over {count(pairs, 'pair')}){_would_take(parts)}."
        )
        return
    said = _everywhere(value, parts, metric) or "; ".join(_first(one, parts, metric) for one in parts)
    yield (
        f"{said} (95 % intervals over {count(value.patients, 'patient')}; signed-rank, Holm over "
        f"{count(pairs, 'pair')})."
    )


def _everywhere(value: ModalityValue, parts: Sequence[RegionValue], metric: Metric) -> str:
    """One modality that is worth more than every other in each of several regions; empty for none."""
    name, mean = parts[0].ranked[0], value.regions[-1]
    if len(parts) < 2 or any(set(one.above(name)) != set(one.ranked) - {name} for one in parts):
        return ""
    return (
        f"{name} is worth most in every region, {_worth(mean, name, metric)} of {metric.title} over their mean: more "
        f"than {_others(mean.ranked[1:])}"
    )


def _worth(one: RegionValue, name: str, metric: Metric) -> str:
    ends = one.intervals[name]
    interval = "" if ends is None else f" ({metric.text(ends.low)} to {metric.text(ends.high)})"
    return f"{metric.text(one.means[name])}{interval}"


def _others(names: Sequence[str]) -> str:
    return "every other" if len(names) > 1 else names[0]


def _first(one: RegionValue, parts: Sequence[RegionValue], metric: Metric) -> str:
    """The modality that is worth most in a region, and which others it is told from."""
    name, others = one.ranked[0], one.ranked[1:]
    above = one.above(name)
    place = f"in {one.region} " if len(parts) > 1 else ""
    if not above:
        return f"{place}none can be told to be worth most"
    rest = [other for other in others if other not in above]
    more = f"more than {_and(above)}, not told from {_and(rest)}" if rest else f"more than {_others(others)}"
    return f"{place}{name} is worth most, {_worth(one, name, metric)} of {metric.title}: {more}"


def _in(one: RegionValue, parts: Sequence[RegionValue]) -> str:
    return f" in {one.region}" if len(parts) > 1 else ""


def _would_take(parts: Sequence[RegionValue]) -> str:
    known = [one for one in parts if one.patients_needed is not None]
    if not known:
        return ""
    nearest = min(known, key=lambda one: one.patients_needed or 0)
    first, second = nearest.ranked[:2]
    return (
        f"; to tell {first} from {second}{_in(nearest, parts)} in {100 * POWER:.0f} % of studies takes about "
        f"{needed(nearest.patients_needed)} patients at the observed difference"
    )


def _sets(value: ModalityValue, modalities: Sequence[str], metric: Metric) -> Iterator[str]:
    """The smallest set that suffices, and the cheapest."""
    margin = value.question.margin
    if margin is None or not value.sets:
        return
    every = all_of(modalities)
    tested = (
        f"one-sided α = {value.question.alpha:g}, Holm over {count(len(value.sets), 'set')}, "
        f"{count(value.patients, 'patient')}"
    )
    claim = f"not worse than {every} by more than {margin:g} {metric.unit or metric.title}{_regions(value)}"
    smallest = value.smallest
    if smallest is None:
        nearest = value.nearest
        assert nearest is not None
        yield (
            f"No smaller set is shown to be {claim} ({tested}), so {every} are needed as far as is known; nearest is "
            f"{in_set(nearest.present)} ({_loss(nearest, value, metric)}){_takes(nearest)}."
        )
        return
    alike = [one for one in value.shown if len(one.present) == len(smallest.present) and one is not smallest]
    also = f", and so {'is' if len(alike) == 1 else 'are'} {_and([in_set(one.present) for one in alike])}"
    yield (
        f"The smallest set that is {claim} is {in_set(smallest.present)} ({tested}: {p_statement(smallest.p_holm)}; "
        f"{_loss(smallest, value, metric)}){also if alike else ''}."
    )
    yield from _prices(value, smallest, modalities)


def _regions(value: ModalityValue) -> str:
    return " in any region" if len(value.regions) > 1 or len({one.region for one in value.sets}) > 1 else ""


def _loss(one: SetLoss, value: ModalityValue, metric: Metric) -> str:
    where = f" in {one.region}" if _regions(value) else ""
    return (
        f"{fine(one.difference, metric, signed=True)}{where}, lower bound {fine(one.bound, metric, signed=True)}; "
        f"{one.beyond} of {count(value.patients, 'patient')} lose{'s' if one.beyond == 1 else ''} the margin or more"
    )


def _takes(one: SetLoss) -> str:
    if one.patients_needed is None:
        return ""
    return f"; at its observed loss {needed(one.patients_needed)} patients show it in {100 * POWER:.0f} % of studies"


def _prices(value: ModalityValue, smallest: SetLoss, modalities: Sequence[str]) -> Iterator[str]:
    everything, cheapest, plain = value.question.price(modalities), value.cheapest, value.without_contrast
    if everything is None or cheapest is None:
        return
    yield f"It takes {smallest.price}, all take {everything}."
    if cheapest is not smallest:
        yield f"The cheapest such set is {in_set(cheapest.present)}: {cheapest.price}."
    if not everything.contrast or (cheapest.price is not None and not cheapest.price.contrast):
        return
    if plain is None:
        yield "Without contrast agent none is shown to suffice."
    else:
        assert plain.price is not None
        yield f"Without contrast agent the cheapest is {in_set(plain.present)}: {plain.price.minutes:g} min."


def _and(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
