"""Missing modalities: scores by what is present, the loss of the leading modality, and which network survives best."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from harness.report.analysis.analysis import DatasetView
from harness.report.analysis.metric_styles import MetricStyle, metric_style
from harness.report.analysis.missing_modalities import MissingGroup, TestedNetwork
from harness.report.analysis.p_values import STAR, starred_p
from harness.report.tables.cells import provenance, rank, sentence
from harness.report.tables.table import CHECK, DAGGER, Column, Row, Table, TableCell, word_cell
from harness.statistics.analysis import Summary
from harness.statistics.comparisons import Comparison
from harness.statistics.floors import ALPHA
from harness.statistics.patients import MEAN_REGION

__all__ = ["missing_tables"]

_NONE = TableCell("–")


def missing_tables(view: DatasetView) -> list[Table]:
    """Two tables a way of training, by what is present; then the survival and the leading modality of all networks."""
    groups = view.missing
    if not groups:
        return []
    tables = []
    for number, group in enumerate(groups):
        tables += [_scores(view, group, number), _losses(view, group, number)]
    return [*tables, _survival(view), *_leading(view)]


def _scores(view: DatasetView, group: MissingGroup, number: int) -> Table:
    style = metric_style(group.metric)

    def entry(one: TestedNetwork, present: tuple[str, ...], mark: str) -> TableCell:
        summary = one.summary(present)
        if summary is None:
            return _absent(one)
        return TableCell(
            style.text(summary.mean),
            span=_ends(style, summary.mean_interval),
            mark=mark,
            dagger=not summary.complete,
            sort=summary.mean,
        )

    return _by_present(
        view,
        group,
        kind=f"missing-{number}",
        title=f"{style.title} by the modalities present",
        caption=(
            f"{style.title}{_over_regions(group)} by the modalities that are present ({CHECK}): {view.title}; in "
            f"training {group.dropout}.",
            f"Mean over patients and its 95 % interval, over {view.data.sample}; {style.direction}.",
        ),
        entry=entry,
        ranked=not _unlike(group),
    )


def _losses(view: DatasetView, group: MissingGroup, number: int) -> Table:
    style = metric_style(group.metric)

    def entry(one: TestedNetwork, present: tuple[str, ...], mark: str) -> TableCell:
        del mark
        if present == group.modalities:
            return word_cell("reference") if one.own is not None else _absent(one)
        found = one.loss(present)
        return _absent(one) if found is None else _difference(style, found)

    return _by_present(
        view,
        group,
        kind=f"missing-loss-{number}",
        title=f"{style.title}, difference to all modalities",
        caption=(
            f"{style.title}{_over_regions(group)} with the modalities that are present ({CHECK}) minus that with all "
            f"of them: {view.title}; in training {group.dropout}.",
            f"Mean of the patients' differences and its 95 % interval (BCa bootstrap). {STAR} p below {ALPHA} "
            "(signed-rank, Pratt, Holm over a column).",
        ),
        entry=entry,
        ranked=False,
    )


def _by_present(
    view: DatasetView,
    group: MissingGroup,
    *,
    kind: str,
    title: str,
    caption: tuple[str, ...],
    entry: Callable[[TestedNetwork, tuple[str, ...], str], TableCell],
    ranked: bool,
) -> Table:
    """One row a set of modalities, one column a network."""
    style = metric_style(group.metric)
    rows = []
    for present in group.subsets:
        marks = _marks(group, present, style) if ranked else {}
        checks = tuple(CHECK if name in present else "–" for name in group.modalities)
        rows.append(Row(checks, tuple(entry(one, present, marks.get(one.name, "")) for one in group.tested)))
    return Table(
        kind=kind,
        dataset=view.name,
        title=f"{view.title}: {title} ({group.dropout})",
        caption=(*caption, *_refused(view, group)),
        row_header=group.modalities,
        columns=tuple(Column("", one.name, group.metric, group.region) for one in group.tested),
        rows=tuple(rows),
        notes=(*_fills(group), *_lacking(group), *provenance(view)),
        marked="mean of a row" if ranked and len(group.tested) > 1 else "",
    )


def _survival(view: DatasetView) -> Table:
    """How each network fares over all sets that lack a modality; ranked among those trained alike."""
    style = metric_style(view.missing[0].metric)
    columns = (
        Column("", f"all present {style.arrow}"),
        Column("Sets that lack a modality", f"mean {style.arrow}"),
        Column("Sets that lack a modality", "minus all present"),
        Column("Sets that lack a modality", "worst"),
        Column("Sets that lack a modality", "p against the best"),
    )
    rows, ranked = [], False
    for group in view.missing:
        over = {} if group.over is None else group.over.summaries
        values = {name: found.mean for name, found in over.items() if found.complete}
        marks = {} if _unlike(group) else rank(values, style)
        ranked = ranked or bool(marks)
        best = next((name for name, mark in marks.items() if mark == "best"), None)
        for one in group.tested:
            cells = _survival_cells(group, one, style, over.get(one.name), marks.get(one.name, ""), best)
            rows.append(Row((one.name, group.dropout, one.fill), cells))
    return Table(
        kind="missing-survival",
        dataset=view.name,
        title=f"{view.title}: which network survives missing modalities",
        caption=(
            f"{style.title}{_over_regions(view.missing[0])} with all modalities, and over all tested sets that lack "
            f"at least one: {view.title}.",
            f"Means over patients with their 95 % intervals, over {view.data.sample}; each set counts alike. "
            "Networks are ranked and compared among those that saw modalities dropped in the same way.",
            *_refused(view, *view.missing),
        ),
        row_header=("Variant", "In training", "Filled by"),
        columns=columns,
        rows=tuple(rows),
        notes=(
            f"p: two-sided signed-rank test (Pratt) against the best of the same training, Holm over all pairs; "
            f"{STAR} below {ALPHA}.",
            *(note for group in view.missing for note in _lacking(group)),
            *provenance(view),
        ),
        marked="mean" if ranked else "",
    )


def _survival_cells(
    group: MissingGroup, one: TestedNetwork, style: MetricStyle, over: Summary | None, mark: str, best: str | None
) -> tuple[TableCell, ...]:
    everything, worst = one.summary(group.modalities), group.worst(one)
    if everything is None:
        return tuple(_absent(one) for _ in range(5))
    low = None if worst is None else one.summary(worst)
    lost = group.losses.get(one.name)
    pairs = None if group.over is None else group.over.pairwise
    against = None
    if pairs is not None and best is not None and best != one.name and one.name in pairs:
        against = float(pairs[one.name].loc[best])
    return (
        TableCell(style.text(everything.mean), span=_ends(style, everything.mean_interval), sort=everything.mean),
        word_cell("failed" if one.failure else "incomplete")
        if over is None
        else TableCell(
            style.text(over.mean),
            span=_ends(style, over.mean_interval),
            mark=mark,
            dagger=not over.complete,
            sort=over.mean,
        ),
        _NONE
        if lost is None
        else TableCell(style.signed(lost[0]), span=_ends(style, lost[1], signed=True), sort=lost[0]),
        _NONE
        if low is None or worst is None
        else TableCell(style.text(low.mean), span=f"only {', '.join(worst)}", sort=low.mean),
        _NONE if against is None else TableCell(starred_p(against), sort=against),
    )


def _leading(view: DatasetView) -> list[Table]:
    """The loss of the leading modality beside that of each auxiliary; none where single losses were not tested."""
    style = metric_style(view.missing[0].metric)
    rows = []
    for group in view.missing:
        for one in group.tested:
            apart = {} if one.apart is None else {each.method: each for each in one.apart.comparisons}
            lead = one.loss(group.without(one.leading))
            for auxiliary in group.modalities:
                other = one.loss(group.without(auxiliary))
                if auxiliary == one.leading or lead is None or other is None:
                    continue
                found = apart.get(auxiliary)
                header = (one.name, group.dropout, f"{one.leading}{'' if one.leads else ' (of others)'}", auxiliary)
                cells = (
                    _difference(style, lead),
                    _difference(style, other),
                    _NONE if found is None else _difference(style, found, star=False),
                    _NONE
                    if found is None or found.p_holm is None
                    else TableCell(starred_p(found.p_holm), sort=found.p_holm),
                    TableCell(
                        {None: "–", True: "yes, a tie", False: "no"}[None if found is None else found.within_seeds]
                    ),
                )
                rows.append(Row(header, cells))
    if not rows:
        return []
    costs = "above" if style.higher_is_better else "below"
    return [
        Table(
            kind="missing-leading",
            dataset=view.name,
            title=f"{view.title}: the leading modality's loss against each auxiliary's",
            caption=(
                f"{style.title}{_over_regions(view.missing[0]).rstrip(',')}, lost without the leading modality, and "
                f"without one auxiliary modality: {view.title}.",
                "Differences to all modalities: mean of the patients' differences and its 95 % interval (BCa "
                f"bootstrap); {STAR} p below {ALPHA}. The third column is the score without the auxiliary minus the "
                f"score without the leading modality, patient by patient: {costs} 0 where the leading one's loss costs "
                "more.",
                *_refused(view, *view.missing),
            ),
            row_header=("Variant", "In training", "Leading", "Auxiliary"),
            columns=(
                Column("Without", "the leading"),
                Column("Without", "the auxiliary"),
                Column("Leading costs more by", "mean"),
                Column("Leading costs more by", "p (Holm)"),
                Column("Leading costs more by", "within seeds"),
            ),
            rows=tuple(rows),
            notes=(
                "Leading (of others): no modality leads in this network; the same one is singled out as in the others.",
                f"p: two-sided signed-rank test (Pratt), Holm over a network's auxiliaries; {STAR} below {ALPHA}.",
                *(note for group in view.missing for note in _lacking(group)),
                *provenance(view),
            ),
        )
    ]


def _difference(style: MetricStyle, found: Comparison, *, star: bool = True) -> TableCell:
    marked = STAR if star and found.p_holm is not None and found.p_holm < ALPHA else ""
    return TableCell(
        f"{style.signed(found.mean_difference)}{marked}",
        span=_ends(style, found.mean_interval, signed=True),
        sort=found.mean_difference,
    )


def _ends(style: MetricStyle, interval: tuple[float, float] | None, *, signed: bool = False) -> str:
    if interval is None:
        return ""
    return ", ".join(style.signed(each) if signed else style.text(each) for each in interval)


def _marks(group: MissingGroup, present: tuple[str, ...], style: MetricStyle) -> Mapping[str, str]:
    found = {one.name: summary for one in group.tested if (summary := one.summary(present)) is not None}
    values = {name: summary.mean for name, summary in found.items() if summary.complete}
    return rank(values, style)


def _absent(one: TestedNetwork) -> TableCell:
    if one.status != "complete":
        return word_cell(one.status)
    return word_cell("failed" if one.failure else "not tested")


def _over_regions(group: MissingGroup) -> str:
    return ", mean over regions," if group.region == MEAN_REGION else ""


def _unlike(group: MissingGroup) -> bool:
    return group.over is not None and any(text.startswith("not ranked") for text in group.over.refusals)


def _refused(view: DatasetView, *groups: MissingGroup) -> tuple[str, ...]:
    """What these tables cannot show; methods of one group are alike even where the study's are not."""
    patients = view.data.refusal
    unlike = [text for group in groups if _unlike(group) and group.over is not None for text in group.over.refusals]
    return (*((f"{patients}.",) if patients else ()), *(sentence(text[0].upper() + text[1:]) for text in unlike))


def _fills(group: MissingGroup) -> tuple[str, ...]:
    """What stood for absent modalities, by network where that differs."""
    tested = [one for one in group.tested if one.own is not None]
    kinds = {one.fill for one in tested}
    meaning = {
        "zeros": "zeros (in normalised units, over the whole image)",
        "mean": "the mean of its normalised images over the training cases",
        "token": "one value a modality, learned in training",
    }
    if len(kinds) == 1:
        return (f"For an absent modality stands: {meaning[kinds.pop()]}.",)
    return tuple(f"In {one.name} for an absent modality stands: {meaning[one.fill]}." for one in tested)


def _lacking(group: MissingGroup) -> tuple[str, ...]:
    """Networks whose numbers stand on fewer results, or that failed."""
    notes = []
    for one in group.tested:
        if one.failure:
            notes.append(f"{one.name}: a test with fewer modalities failed: {sentence(one.failure)}")
        short = [] if one.own is None else [name for name, found in one.own.summaries.items() if not found.complete]
        if short:
            notes.append(f"{DAGGER} {one.name}: fewer results than with all modalities for {', '.join(short)}.")
    return tuple(notes)
