"""Missing modalities: scores by what is present, the loss of the leading modality, and which network survives best."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from harness.evaluation import METRICS, Metric
from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.analysis.modalities.tested import MissingGroup, TestedNetwork
from harness.report.analysis.p_values import STAR, starred_p
from harness.report.tables.cells import difference_cell, interval_text, mean_cell, provenance, sentence
from harness.report.tables.table import (
    CHECK,
    DAGGER,
    NO_VALUE,
    WITHIN_SEEDS,
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
from harness.statistics.analysis import Summary
from harness.statistics.comparisons import Comparison
from harness.statistics.patients import MEAN_REGION
from harness.statistics.sample_size import ALPHA

#: Makes the cell of a network and of the modalities present, with the mark it has.
_MakeCell: TypeAlias = Callable[[TestedNetwork, tuple[str, ...], str], TableCell]

_FILLS = {
    "zeros": "zeros (in normalised units, over the whole image)",
    "mean": "the mean of its normalised images over the training cases",
    "token": "one value per modality, learned in training",
}


def _missing_tables(study: StudyAnalysis, view: DatasetView) -> Iterator[Table]:
    """Two tables per way of training, by what is present; then survival and leading modality of all networks."""
    del study
    for number, group in enumerate(view.missing):
        yield _scores(view, group, number)
        yield _losses(view, group, number)
    if view.missing:
        yield _survival(view)
        yield from _leading(view)


def _scores(view: DatasetView, group: MissingGroup, number: int) -> Table:
    metric = METRICS.get(group.metric)

    def make_cell(network: TestedNetwork, present: tuple[str, ...], mark: str) -> TableCell:
        summary = network.summary(present)
        return _absent(network) if summary is None else mean_cell(metric, summary, mark, interval=True)

    return _by_present(
        view,
        group,
        kind=f"missing-{number}",
        title=f"{metric.title} by the modalities present",
        caption=(
            f"{metric.title}{_over_regions(group)} by the modalities that are present ({CHECK}): {view.title}; in "
            f"training {group.dropout}.",
            f"Mean over patients and its 95 % interval, over {view.data.sample}; {metric.direction}.",
        ),
        make_cell=make_cell,
        ranked=not group.refusals,
    )


def _losses(view: DatasetView, group: MissingGroup, number: int) -> Table:
    metric = METRICS.get(group.metric)

    def make_cell(network: TestedNetwork, present: tuple[str, ...], mark: str) -> TableCell:
        del mark
        if present == group.modalities and network.by_subset is not None:
            return word_cell("reference")
        loss = network.loss(present)
        if loss is None and network.summary(present) is not None:
            return word_cell("fewer patients")
        return _absent(network) if loss is None else difference_cell(metric, loss)

    return _by_present(
        view,
        group,
        kind=f"missing-loss-{number}",
        title=f"{metric.title}, difference to all modalities",
        caption=(
            f"{metric.title}{_over_regions(group)} with the modalities that are present ({CHECK}) minus that with all "
            f"of them: {view.title}; in training {group.dropout}.",
            f"Mean of the patients' differences and its 95 % interval (BCa bootstrap). {STAR} p below {ALPHA} "
            "(signed-rank, Pratt, Holm over a column).",
        ),
        make_cell=make_cell,
        ranked=False,
    )


def _by_present(
    view: DatasetView,
    group: MissingGroup,
    *,
    kind: str,
    title: str,
    caption: tuple[str, ...],
    make_cell: _MakeCell,
    ranked: bool,
) -> Table:
    """One row per set of modalities, one column per network."""
    metric = METRICS.get(group.metric)
    rows = []
    for present in group.subsets:
        marks = _marks(group, present, metric) if ranked else {}
        checks = tuple(CHECK if name in present else "–" for name in group.modalities)
        cells = (make_cell(network, present, marks.get(network.name, "")) for network in group.tested)
        rows.append(Row(checks, tuple(cells)))
    return Table(
        kind=kind,
        dataset=view.name,
        title=f"{view.title}: {title} ({group.dropout})",
        caption=(*caption, *_limitations(view, group)),
        row_header=group.modalities,
        columns=tuple(Column("", network.name, group.metric, group.region) for network in group.tested),
        rows=tuple(rows),
        notes=(*_note_fills(group), *_note_incomplete(group), *_note_coverage(group), *provenance(view)),
        marked="mean of a row" if ranked and len(group.tested) > 1 else "",
    )


def _note_coverage(group: MissingGroup) -> Iterator[str]:
    """Says on how many patients each set stands, where patients lack modalities."""
    if group.coverage:
        counts = [f"{' + '.join(present)} {tested} ({whole})" for present, (tested, whole) in group.coverage.items()]
        yield (
            "Patients lack modalities: each is given those of a set that it has, and is left out where it has none. "
            f"Patients of each set, and in brackets those that have all of it: {'; '.join(counts)}."
        )


def _survival(view: DatasetView) -> Table:
    """How each network fares over all sets that lack a modality; ranked among those trained alike."""
    metric = METRICS.get(view.missing[0].metric)
    columns = (
        Column("", f"all present {metric.arrow}"),
        Column("Sets that lack a modality", f"mean {metric.arrow}"),
        Column("Sets that lack a modality", "minus all present"),
        Column("Sets that lack a modality", "worst"),
        Column("Sets that lack a modality", "p against the best"),
    )
    rows, ranked = [], False
    for group in view.missing:
        summaries = {} if group.over_subsets is None else group.over_subsets.summaries
        values = {name: summary.mean for name, summary in group.over_summaries.items()}
        marks = {} if group.refusals else metric.best_and_second(values)
        ranked = ranked or bool(marks)
        best = next((name for name, mark in marks.items() if mark == "best"), None)
        for network in group.tested:
            mark = marks.get(network.name, "")
            cells = _survival_cells(group, network, metric, summaries.get(network.name), mark, best)
            rows.append(Row((network.name, group.dropout, network.fill), cells, variant=network.variant))
    return Table(
        kind="missing-survival",
        dataset=view.name,
        title=f"{view.title}: which network survives missing modalities",
        caption=(
            f"{metric.title}{_over_regions(view.missing[0])} with all modalities, and over all tested sets that lack "
            f"at least one: {view.title}.",
            f"Means over patients with their 95 % intervals, over {view.data.sample}; each set counts alike. "
            "Networks are ranked and compared among those that saw modalities dropped in the same way.",
            *_limitations(view, *view.missing),
        ),
        row_header=("Variant", "In training", "Filled by"),
        columns=columns,
        rows=tuple(rows),
        notes=(
            f"p: two-sided signed-rank test (Pratt) against the best of the same training, Holm over all pairs; "
            f"{STAR} below {ALPHA}.",
            *_note_incomplete(*view.missing),
            *provenance(view),
        ),
        marked="mean" if ranked else "",
    )


def _survival_cells(
    group: MissingGroup, network: TestedNetwork, metric: Metric, over: Summary | None, mark: str, best: str | None
) -> tuple[TableCell, ...]:
    everything, worst = network.summary(group.modalities), group.worst(network)
    if everything is None:
        return (_absent(network),) * 5
    mean = word_cell("failed" if network.failure else "incomplete")
    if over is not None:
        mean = mean_cell(metric, over, mark, interval=True)
    minus_all = lowest = p = NO_VALUE
    if (loss := group.losses.get(network.name)) is not None:
        minus_all = TableCell(metric.signed(loss[0]), span=interval_text(metric, loss[1], signed=True), sort=loss[0])
    if worst is not None and (summary := network.summary(worst)) is not None:
        lowest = TableCell(metric.text(summary.mean), span=f"only {', '.join(worst)}", sort=summary.mean)
    pairs = None if group.over_subsets is None else group.over_subsets.pairwise
    if pairs is not None and best not in (None, network.name) and network.name in pairs:
        against = float(pairs[network.name].loc[best])
        p = TableCell(starred_p(against), sort=against)
    return mean_cell(metric, everything, interval=True), mean, minus_all, lowest, p


def _leading(view: DatasetView) -> Iterator[Table]:
    """The loss of the leading modality beside that of each auxiliary; none where single losses were not tested."""
    metric = METRICS.get(view.missing[0].metric)
    rows = tuple(row for group in view.missing for network in group.tested for row in _leading_rows(group, network))
    if not rows:
        return
    costs = "above" if metric.higher_is_better else "below"
    yield Table(
        kind="missing-leading",
        dataset=view.name,
        title=f"{view.title}: the leading modality's loss against each auxiliary's",
        caption=(
            f"{metric.title}{_over_regions(view.missing[0]).rstrip(',')}, lost without the leading modality, and "
            f"without one auxiliary modality: {view.title}.",
            "Differences to all modalities: mean of the patients' differences and its 95 % interval (BCa "
            f"bootstrap); {STAR} p below {ALPHA}. The third column is the score without the auxiliary minus the "
            f"score without the leading modality, patient by patient: {costs} 0 where the leading one's loss costs "
            "more.",
            *_limitations(view, *view.missing),
        ),
        row_header=("Variant", "In training", "Leading", "Auxiliary"),
        columns=(
            Column("Without", "the leading"),
            Column("Without", "the auxiliary"),
            Column("Leading costs more by", "mean"),
            Column("Leading costs more by", "p (Holm)"),
            Column("Leading costs more by", "within seeds"),
        ),
        rows=rows,
        notes=(
            "Leading (of others): no modality leads in this network; the same one is singled out as in the others.",
            f"p: two-sided signed-rank test (Pratt), Holm over a network's auxiliaries; {STAR} below {ALPHA}.",
            *_note_incomplete(*view.missing),
            *provenance(view),
        ),
    )


def _leading_rows(group: MissingGroup, network: TestedNetwork) -> Iterator[Row]:
    metric = METRICS.get(group.metric)
    without_leading = network.loss(group.without(network.leading))
    for auxiliary in group.modalities:
        without_auxiliary = network.loss(group.without(auxiliary))
        if auxiliary == network.leading or without_leading is None or without_auxiliary is None:
            continue
        mean = p = NO_VALUE
        within_seeds = None
        if (comparison := network.against_leading(auxiliary)) is not None:
            mean, within_seeds = difference_cell(metric, comparison, star=False), comparison.within_seeds
            if comparison.p_holm is not None:
                p = TableCell(starred_p(comparison.p_holm), sort=comparison.p_holm)
        losses = (difference_cell(metric, loss) for loss in (without_leading, without_auxiliary))
        leading = f"{network.leading}{'' if network.leads else ' (of others)'}"
        header = (network.name, group.dropout, leading, auxiliary)
        yield Row(header, (*losses, mean, p, TableCell(WITHIN_SEEDS[within_seeds])), variant=network.variant)


def _marks(group: MissingGroup, present: tuple[str, ...], metric: Metric) -> Mapping[str, str]:
    summaries = {network.name: network.summary(present) for network in group.tested}
    values = {name: summary.mean for name, summary in group.rankable(summaries).items()}
    return metric.best_and_second(values)


def _absent(network: TestedNetwork) -> TableCell:
    if network.status != "complete":
        return word_cell(network.status)
    return word_cell("failed" if network.failure else "not tested")


def _over_regions(group: MissingGroup) -> str:
    return ", mean over regions," if group.region == MEAN_REGION else ""


def _limitations(view: DatasetView, *groups: MissingGroup) -> tuple[str, ...]:
    """What these tables cannot show; methods of one group are alike even where the study's are not."""
    unlike = [text for group in groups for text in group.refusals]
    few_patients = (f"{view.data.refusal}.",) if view.data.refusal else ()
    return (*few_patients, *(sentence(text, capital=True) for text in unlike))


def _note_fills(group: MissingGroup) -> tuple[str, ...]:
    """What stood for absent modalities, by network where that differs."""
    tested = [network for network in group.tested if network.by_subset is not None]
    kinds = {network.fill for network in tested}
    if len(kinds) == 1:
        return (f"For an absent modality stands: {_FILLS[kinds.pop()]}.",)
    return tuple(f"In {network.name} for an absent modality stands: {_FILLS[network.fill]}." for network in tested)


def _note_incomplete(*groups: MissingGroup) -> Iterator[str]:
    """Networks whose numbers stand on fewer results, or that failed."""
    for network in (network for group in groups for network in group.tested):
        if network.failure:
            yield f"{network.name}: a test with fewer modalities failed: {sentence(network.failure)}"
        summaries = {} if network.by_subset is None else network.by_subset.summaries
        if short := [name for name, summary in summaries.items() if not summary.complete]:
            yield f"{DAGGER} {network.name}: fewer results than with all modalities for {', '.join(short)}."


#: ``difference`` is the score minus that with all modalities; ``p_holm`` belongs to it.
_COLUMNS = (
    *("dataset", "label", "leading", "singled_out", "dropout", "fill", "metric", "region", "present", "absent"),
    *("n_patients", "n_cases", "complete", "mean", "mean_low", "mean_high"),
    *("difference", "difference_low", "difference_high", "p_holm"),
)


def _records(study: StudyAnalysis) -> Iterator[dict[str, Any]]:
    """One row per network and set of modalities; sets a network was not tested with are left out."""
    for view in study.views.values():
        for group in view.missing:
            for network in group.tested:
                place = {
                    **{"dataset": view.name, **network.variant._asdict(), "singled_out": network.leading},
                    **{"dropout": group.dropout, "fill": network.fill, "metric": group.metric, "region": group.region},
                }
                for present in group.subsets:
                    if (summary := network.summary(present)) is not None:
                        absent = [name for name in group.modalities if name not in present]
                        words = {"present": in_words(present), "absent": in_words(absent)}
                        yield place | words | _numbers(summary, network.loss(present))


def _numbers(summary: Summary, loss: Comparison | None) -> dict[str, Any]:
    names = ("n_patients", "n_cases", "complete", "mean", "mean_interval")
    record = {name: getattr(summary, name) for name in names}
    if loss is not None:
        record |= {"difference": loss.mean_difference, "p_holm": loss.p_holm, "difference_interval": loss.mean_interval}
    return flat_record(record)


MISSING = TableKind(_missing_tables, csv=(CsvFile("missing", _COLUMNS, _records, optional=True),))
