"""What to acquire and what should lead: one row per modality, from the advice that the paragraph tells."""

from collections.abc import Iterator
from typing import Any

from harness.evaluation import METRICS, Metric
from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.analysis.modalities.lead_words import NONE
from harness.report.analysis.modalities.leading import Leader
from harness.report.analysis.modalities.page import Advice, advice_of
from harness.report.tables.cells import difference_cell, interval_text, limitations, provenance
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
from harness.statistics.chances import LEAST_TO_CHOOSE, SURE


def _advice_tables(study: StudyAnalysis, view: DatasetView) -> Iterator[Table]:
    """One table of all networks; none where neither question was asked."""
    advice = advice_of(view, study.results.datasets[view.name].modalities)
    if not advice:
        return
    metric = METRICS.get(study.results.metrics[0])
    priced = any(each.to_acquire is not None and each.to_acquire.price is not None for each in advice)
    yield Table(
        kind="acquire-and-lead",
        dataset=view.name,
        title=f"{view.title}: what to acquire, and what should lead",
        caption=(
            f"Each modality as the leading one, and what the network in which the best one leads loses without it: "
            f"{view.title}.",
            f"{metric.title}, over {view.data.sample}.",
            *limitations(study, view),
        ),
        row_header=("Variant", "Modality"),
        columns=(
            Column("Leads", f"{metric.title} {metric.arrow}"),
            Column("Leads", "P(best)"),
            Column("Leads", "behind the best"),
            Column("", "worth"),
            Column("", "without it"),
            Column("", "acquire"),
            *((Column("", "minutes"),) if priced else ()),
        ),
        rows=tuple(
            Row((each.label, name), tuple(_cells(each, name, metric, priced=priced)))
            for each in advice
            for name in _names(each)
        ),
        notes=(
            f"P(best): share of resamples of patients and seeds in which a modality leads best; it should lead from "
            f"{SURE:.2f} on, by the rule of `harness lead`. Fewer than {LEAST_TO_CHOOSE} patients are refused. Chosen "
            "and measured on the same test patients, the best looks a little better than it is.",
            "Worth: Shapley value, mean over regions. Without it: difference to all modalities. Both with 95 % "
            "intervals over patients. Acquire: in the cheapest set (without costs the smallest) that is shown to "
            "suffice.",
            *provenance(view),
        ),
    )


def _names(advice: Advice) -> list[str]:
    led = [] if advice.choice is None else [one.name for one in advice.choice.leaders]
    return [*advice.modalities, *(name for name in led if name not in advice.modalities)]


def _cells(advice: Advice, name: str, metric: Metric, *, priced: bool) -> Iterator[TableCell]:
    leader = _leader(advice, name)
    yield from (NO_VALUE,) * 3 if leader is None else _leads(leader, advice, metric)
    yield _worth(advice, name, metric)
    group, network = advice.group, advice.network
    loss = None if group is None or network is None or name == NONE else network.loss(group.without(name))
    yield NO_VALUE if loss is None else difference_cell(metric, loss)
    chosen = advice.to_acquire
    yield NO_VALUE if chosen is None or name not in advice.modalities else word_cell(_check(name in chosen.present))
    if priced:
        price = None if advice.value is None or name not in advice.modalities else advice.value.question.price([name])
        yield NO_VALUE if price is None else TableCell(f"{price.minutes:g}", sort=price.minutes)


def _check(present: bool) -> str:
    return CHECK if present else "no"


def _leader(advice: Advice, name: str) -> Leader | None:
    leaders = () if advice.choice is None else advice.choice.leaders
    return next((one for one in leaders if one.name == name), None)


def _leads(leader: Leader, advice: Advice, metric: Metric) -> Iterator[TableCell]:
    assert advice.choice is not None
    mark = "best" if advice.leads == leader.name else ""
    yield TableCell(metric.text(leader.mean), mark=mark, sort=leader.mean)
    yield NO_VALUE if leader.chance is None else TableCell(f"{leader.chance:.2f}", sort=leader.chance)
    if leader.name == advice.choice.first.name:
        yield word_cell("best")
        return
    yield TableCell(metric.text(leader.behind), span=interval_text(metric, leader.interval), sort=leader.behind)


def _worth(advice: Advice, name: str, metric: Metric) -> TableCell:
    regions = () if advice.value is None else advice.value.regions
    if not regions or name not in regions[-1].means:
        return NO_VALUE
    mean, ends = regions[-1].means[name], regions[-1].intervals[name]
    return TableCell(metric.text(mean), span=interval_text(metric, ends), sort=mean)


_COLUMNS = (
    *("dataset", "label", "metric", "modality", "n_patients", "n_seeds", "leads", "p_best"),
    *("behind", "behind_low", "behind_high", "should_lead", "worth", "worth_low", "worth_high", "acquire"),
)


def _records(study: StudyAnalysis) -> Iterator[dict[str, Any]]:
    for view in study.views.values():
        for each in advice_of(view, study.results.datasets[view.name].modalities):
            patients = each.choice.patients if each.choice else each.value.patients if each.value else None
            seeds = each.choice.seeds if each.choice else each.value.seeds if each.value else None
            shared = {"dataset": view.name, "label": each.label, "metric": study.results.metrics[0]}
            for name in _names(each):
                record: dict[str, Any] = shared | {"modality": name, "n_patients": patients, "n_seeds": seeds}
                if (leader := _leader(each, name)) is not None:
                    record |= {"leads": leader.mean, "p_best": leader.chance, "behind": leader.behind}
                    record |= {"behind_interval": leader.interval, "should_lead": each.leads == name}
                if each.value is not None and each.value.regions and name in each.modalities:
                    last = each.value.regions[-1]
                    record |= {"worth": last.means[name], "worth_interval": last.intervals[name]}
                if each.to_acquire is not None and name in each.modalities:
                    record |= {"acquire": name in each.to_acquire.present}
                yield flat_record(record)


ACQUIRE_AND_LEAD = TableKind(_advice_tables, csv=(CsvFile("acquire_and_lead", _COLUMNS, _records, optional=True),))
