"""What each modality is worth, and every set of them against all: two tables per dataset."""

from collections.abc import Iterator
from typing import Any

from harness.evaluation import METRICS, Metric
from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.analysis.modalities.tested import MissingGroup, TestedNetwork
from harness.report.analysis.modalities.value import ModalityValue, RegionValue, SetLoss
from harness.report.analysis.modalities.words import lacking_sentence
from harness.report.analysis.p_values import p_text
from harness.report.analysis.verdict_words import fine, needed
from harness.report.tables.cells import interval_text, provenance, sentence
from harness.report.tables.table import (
    CHECK,
    NO_VALUE,
    Column,
    CsvFile,
    Row,
    Table,
    TableCell,
    TableKind,
    flat_record,
    word_cell,
)
from harness.results.subsets import in_words
from harness.statistics.patients import MEAN_REGION
from harness.statistics.power import POWER
from harness.statistics.sample_size import ALPHA

_NETWORK = ("Variant", "In training", "Filled by")
_SHARE = f"{100 * POWER:.0f} %"


def _value_tables(study: StudyAnalysis, view: DatasetView) -> Iterator[Table]:
    """Values of all networks; then, where a margin is named, the sets."""
    valued = [pair for pair in _networks(view) if _value(pair[1]).regions or _value(pair[1]).lacking]
    if valued:
        yield _values(study, view, valued)
    tested = [pair for pair in _networks(view) if _value(pair[1]).sets]
    if tested:
        yield _sets(view, tested)


def _networks(view: DatasetView) -> list[tuple[MissingGroup, TestedNetwork]]:
    return [(group, network) for group in view.missing for network in group.tested if network.value is not None]


def _values(study: StudyAnalysis, view: DatasetView, networks: list[tuple[MissingGroup, TestedNetwork]]) -> Table:
    metric = METRICS.get(view.missing[0].metric)
    regions = dict.fromkeys(one.region for _, network in networks for one in _value(network).regions)
    return Table(
        kind="modality-value",
        dataset=view.name,
        title=f"{view.title}: what each modality is worth",
        caption=(
            f"Shapley values in {metric.title}: what a modality adds to the sets that lack it, averaged over all "
            f"orders in which modalities may be added: {view.title}. A network's values sum to its score with all "
            "modalities.",
            f"Mean over patients and its 95 % interval (BCa bootstrap), over {view.data.sample}. In how many seeds it "
            "is worth most: by the mean over regions.",
            *((f"{view.data.refusal}.",) if view.data.refusal else ()),
        ),
        row_header=(*_NETWORK, "Modality"),
        columns=(
            *(Column("Worth", region, metric.name, region) for region in regions or [view.main]),
            Column("", "worth more than (p below 0.05)"),
            Column("", "first in seeds"),
        ),
        rows=tuple(
            Row((network.name, group.dropout, network.fill, modality), cells)
            for group, network in networks
            for modality, cells in _value_rows(_value(network), group.modalities, list(regions or [view.main]), metric)
        ),
        notes=(
            f"Without any modality nothing is segmented, which counts as {metric.text(_worst(metric))} "
            f"{metric.title} for every patient and region. Another score of the empty set would move all values of a "
            "network alike: differences between modalities do not depend on it.",
            f"Worth more: two-sided signed-rank tests (Pratt) of the patients' values, p below {ALPHA} after Holm over "
            "all pairs of modalities in all regions; the mean over regions is not tested.",
            "Values are those of the trained network, with what stood for absent modalities: another network may use "
            "the images otherwise. Patients are resampled, trainings are not.",
            *(
                f"{network.name}: {lacking_sentence(study, _value(network), group.modalities, network.variant.label)}"
                for group, network in networks
                if _value(network).lacking
            ),
            *dict.fromkeys(sentence(_value(network).untested) for _, network in networks if _value(network).untested),
            *provenance(view),
        ),
    )


def _value(network: TestedNetwork) -> ModalityValue:
    assert network.value is not None  # only those that have one are asked for
    return network.value


def _worst(metric: Metric) -> float:
    return metric.lowest if metric.higher_is_better else metric.highest


def _value_rows(
    value: ModalityValue, modalities: tuple[str, ...], regions: list[str], metric: Metric
) -> Iterator[tuple[str, tuple[TableCell, ...]]]:
    by_region = {one.region: one for one in value.regions}
    for modality in modalities:
        if not by_region:
            yield modality, (*(word_cell("not tested") for _ in regions), NO_VALUE, NO_VALUE)
            continue
        found = [_worth(by_region.get(region), modality, metric) for region in regions]
        parts = [one for one in value.regions if one.region != MEAN_REGION]
        above = [
            f"{'' if len(parts) == 1 else f'{one.region}: '}{', '.join(one.above(modality))}"
            for one in parts
            if one.above(modality)
        ]
        last = value.regions[-1]
        seeds = sum(last.first_in_seeds.values())
        yield (
            modality,
            (
                *found,
                NO_VALUE if value.untested else TableCell("; ".join(above) or "none"),
                TableCell(f"{last.first_in_seeds[modality]} of {seeds}") if seeds else NO_VALUE,
            ),
        )


def _worth(one: RegionValue | None, modality: str, metric: Metric) -> TableCell:
    if one is None:
        return NO_VALUE
    mean = one.means[modality]
    return TableCell(metric.text(mean), span=interval_text(metric, one.intervals[modality]), sort=mean)


def _sets(view: DatasetView, networks: list[tuple[MissingGroup, TestedNetwork]]) -> Table:
    metric = METRICS.get(view.missing[0].metric)
    question = _value(networks[0][1]).question
    assert question.margin is not None
    priced = question.costs is not None
    tests = len(_value(networks[0][1]).sets)
    return Table(
        kind="modality-sets",
        dataset=view.name,
        title=f"{view.title}: which sets of modalities suffice",
        caption=(
            f"Every set of modalities ({CHECK} present) against all of them: {view.title}. A set suffices where it is "
            f"shown to be worse by less than {question.margin:g} {metric.unit or metric.title} in every region.",
            f"In the region that speaks most against the set: mean over patients of its {metric.title} minus that with "
            f"all{'' if metric.higher_is_better else ', turned so that below 0 is worse'}, and its 95 % interval (BCa "
            f"bootstrap); over {view.data.sample}.",
        ),
        row_header=(*_NETWORK, *networks[0][0].modalities),
        columns=(
            Column("", "region"),
            Column("", "against all"),
            Column("", "lower bound"),
            Column("", "p"),
            Column("", "p (Holm)"),
            Column("", "verdict"),
            Column("Patients", "lose the margin"),
            Column("Patients", "largest loss"),
            Column("Patients", f"for {_SHARE}"),
            *((Column("Cost", "minutes"), Column("Cost", "contrast agent")) if priced else ()),
        ),
        rows=tuple(
            Row((network.name, group.dropout, network.fill, *_checks(one, group)), tuple(_cells(one, network, metric)))
            for group, network in networks
            for one in _value(network).sets
        ),
        notes=(
            f"p: one-sided t test, skewness taken out by Hall's transformation, that the mean loss is the margin or "
            f"more; the largest over regions, so that one lost region is enough to fail. Holm over the {tests} sets "
            f"of a network; suffices below α = {question.alpha:g}. Lower bound: one-sided, α = {question.alpha:g}, "
            "before correction.",
            "Not shown does not mean worse: the patients may be too few, or a network trained with fewer modalities "
            "may lose less than one that never lacked any.",
            f"A loss that strikes fewer than {_unseen(networks)} of patients may strike none of these (rule of three).",
            f"Patients for {_SHARE}: so many show it in {_SHARE} of studies, at the observed mean and spread.",
            *provenance(view),
        ),
    )


def _unseen(networks: list[tuple[MissingGroup, TestedNetwork]]) -> str:
    return f"{min(100.0, 300 / _value(networks[0][1]).patients):.0f} %"


def _checks(one: SetLoss, group: MissingGroup) -> tuple[str, ...]:
    return tuple(CHECK if name in one.present else "–" for name in group.modalities)


def _cells(one: SetLoss, network: TestedNetwork, metric: Metric) -> Iterator[TableCell]:
    yield TableCell(one.region)
    yield TableCell(
        fine(one.difference, metric, signed=True),
        span="" if one.interval is None else ", ".join(fine(end, metric, signed=True) for end in one.interval),
        sort=one.difference,
    )
    yield TableCell(fine(one.bound, metric, signed=True), sort=one.bound)
    yield TableCell(p_text(one.p), sort=one.p)
    yield TableCell(p_text(one.p_holm), sort=one.p_holm)
    yield word_cell("suffices" if one.shown else "not shown")
    yield TableCell(f"{one.beyond} of {_value(network).patients}", sort=one.beyond)
    yield TableCell(fine(one.worst, metric, signed=True), sort=one.worst)
    known = one.patients_needed is not None
    yield TableCell(needed(one.patients_needed), sort=one.patients_needed) if known else NO_VALUE
    if one.price is not None:
        yield TableCell(f"{one.price.minutes:g}", sort=one.price.minutes)
        yield word_cell("yes" if one.price.contrast else "no")


_PLACE = ("dataset", "label", "leading", "dropout", "fill", "metric")
_VALUES = (*_PLACE, "region", "modality", "n_patients", "worth", "worth_low", "worth_high", "first_in_seeds")
_SETS = (
    *(*_PLACE, "present", "margin", "alpha", "n_patients", "deciding_region"),
    *("difference", "difference_low", "difference_high", "lower_bound", "p", "p_holm", "suffices"),
    *("patients_beyond_margin", "largest_loss", "patients_needed", "minutes", "contrast"),
)


def _places(study: StudyAnalysis) -> Iterator[tuple[dict[str, Any], MissingGroup, ModalityValue]]:
    for view in study.views.values():
        for group, network in _networks(view):
            more = {"dropout": group.dropout, "fill": network.fill, "metric": group.metric}
            yield {"dataset": view.name, **network.variant._asdict(), **more}, group, _value(network)


def _value_records(study: StudyAnalysis) -> Iterator[dict[str, Any]]:
    for place, group, value in _places(study):
        for one in value.regions:
            for name in group.modalities:
                numbers = {"worth": one.means[name], "worth_interval": one.intervals[name]}
                seeds = {"first_in_seeds": one.first_in_seeds[name], "n_patients": value.patients}
                yield flat_record(place | {"region": one.region, "modality": name} | numbers | seeds)


def _set_records(study: StudyAnalysis) -> Iterator[dict[str, Any]]:
    for place, _, value in _places(study):
        for one in value.sets:
            asked = {"margin": value.question.margin, "alpha": value.question.alpha, "n_patients": value.patients}
            found = {
                **{"present": in_words(one.present), "deciding_region": one.region, "difference": one.difference},
                **{"difference_interval": one.interval, "lower_bound": one.bound, "p": one.p, "p_holm": one.p_holm},
                **{"suffices": one.shown, "patients_beyond_margin": one.beyond, "largest_loss": one.worst},
                "patients_needed": one.patients_needed,
                **({} if one.price is None else one.price._asdict()),
            }
            yield flat_record(place | asked | found)


MODALITY_VALUE = TableKind(
    _value_tables,
    csv=(
        CsvFile("modality_value", _VALUES, _value_records, optional=True),
        CsvFile("modality_sets", _SETS, _set_records, optional=True),
    ),
)
