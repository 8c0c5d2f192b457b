"""What each modality is worth by region, and how far every set of them lies from all, beside the margin."""

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from harness.evaluation import METRICS, Metric
from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.analysis.modalities.tested import MissingGroup, TestedNetwork, answering
from harness.report.analysis.modalities.value import ModalityValue, SetLoss
from harness.report.analysis.modalities.words import in_set
from harness.report.analysis.verdict_words import fine
from harness.report.figures.figure import DOUBLE, INK, SINGLE, Drawing, legend, new_figure, palette, styled, wrapped

_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
#: Regions of one modality are drawn beside each other within this part of its row.
_ASIDE = 0.56
_TITLE_WIDTH = 44
#: Characters in a line of a set's name.
_SET_WIDTH = 32
#: Of more sets those are drawn that are nearest to being shown.
_SETS = 16
#: Ends of the axis of losses, in margins: a set that loses far more is named with its loss at the edge.
_ENDS = (-5.0, 2.5)


def value_figure(study: StudyAnalysis, view: DatasetView) -> Drawing | None:
    """Draws one row of panels per network that is told of; ``None`` where none has values."""
    del study
    told = [(group, network) for group, network in answering(view.missing) if network.value and network.value.regions]
    if not told:
        return None
    metric = METRICS.get(told[0][0].metric)
    sets = any(network.value is not None and network.value.sets for _, network in told)
    most = max(_rows(group, network) for group, network in told)
    with styled():
        figure = new_figure(DOUBLE if sets else SINGLE, 0.7 + len(told) * (0.75 + 0.17 * most))
        grid = figure.subplots(len(told), 2 if sets else 1, squeeze=False)
        for panels, (group, network) in zip(grid, told, strict=True):
            assert network.value is not None
            _draw_values(panels[0], network.value, group, metric)
            title = f"{view.title}: to {network.name}"
            panels[0].set_title(wrapped(title, _TITLE_WIDTH), loc="left")
            if sets:
                _draw_sets(panels[1], network.value, metric)
        first = told[0][1].value
        assert first is not None
        legend(figure, _handles(first, sets=sets))
    return Drawing(
        f"modality_value_{view.name}",
        f"What modalities are worth: {view.title}",
        _caption(view, metric, first, sets=sets),
        figure,
    )


def _rows(group: MissingGroup, network: TestedNetwork) -> int:
    assert network.value is not None
    of_values = len(group.modalities) * (0.6 + 0.4 * len(network.value.regions))
    lines = sum(name.count("\n") + 1 for name in map(_set_name, _drawn(network.value)))
    return max(round(of_values), lines)


def _drawn(value: ModalityValue) -> list[SetLoss]:
    """The sets that are drawn, the smallest first."""
    chosen = sorted(value.sets, key=lambda one: one.p)[:_SETS]
    return [one for one in value.sets if one in chosen]


def _set_name(one: SetLoss) -> str:
    return wrapped(in_set(one.present), _SET_WIDTH)


def _draw_values(axes: Axes, value: ModalityValue, group: MissingGroup, metric: Metric) -> None:
    """One row per modality, one marker per region."""
    axes.grid(axis="x")
    axes.axvline(0, color=INK, linewidth=0.8, zorder=1)
    asides = np.linspace(-_ASIDE / 2, _ASIDE / 2, len(value.regions)) if len(value.regions) > 1 else [0.0]
    for number, (one, colour) in enumerate(zip(value.regions, palette(len(value.regions)), strict=True)):
        places = np.arange(len(group.modalities)) + asides[number]
        for place, name in zip(places, group.modalities, strict=True):
            if (ends := one.intervals[name]) is not None:
                axes.plot([ends.low, ends.high], [place, place], color=colour, linewidth=1.6, zorder=3)
            axes.plot(
                one.means[name],
                place,
                marker=_MARKERS[number % len(_MARKERS)],
                color=colour,
                markeredgecolor=INK,
                markeredgewidth=0.5,
                markersize=5,
                zorder=4,
            )
    axes.set_yticks(range(len(group.modalities)), group.modalities)
    axes.set_ylim(len(group.modalities) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.set_xlabel(f"worth in {metric.heading} (Shapley value)")


def _draw_sets(axes: Axes, value: ModalityValue, metric: Metric) -> None:
    """One row per set, the smallest first: mean loss and lower bound in the region that speaks most against it."""
    margin = value.question.margin
    if margin is None or not value.sets:
        axes.set_axis_off()
        return
    drawn = _drawn(value)
    low, high = _ENDS[0] * margin, _ENDS[1] * margin
    axes.grid(axis="x")
    axes.axvspan(low, -margin, color="#e7e9ee", zorder=0, linewidth=0)
    axes.axvline(-margin, color=INK, linewidth=1, linestyle=(0, (4, 2)), zorder=1)
    axes.axvline(0, color=INK, linewidth=0.8, zorder=1)
    for place, one in enumerate(drawn):
        if one.difference < low:
            words = f"◂ {fine(one.difference, metric, signed=True)}"
            axes.annotate(words, (low, place), (3, 0), textcoords="offset points", va="center", fontsize=6.5)
            continue
        axes.plot([max(low, one.bound), one.difference], [place, place], color=INK, linewidth=1.4, zorder=3)
        axes.plot(
            min(one.difference, high),
            place,
            marker="o",
            color=INK if one.shown else "white",
            markeredgecolor=INK,
            markeredgewidth=0.9,
            markersize=5,
            zorder=4,
        )
    axes.set_xlim(low, high)
    axes.set_yticks(range(len(drawn)), [_set_name(one) for one in drawn])
    axes.set_ylim(len(drawn) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.set_xlabel(f"{metric.heading} minus that with all\n(dashed: the margin)")
    axes.set_title("Sets of modalities", loc="left")


def _handles(value: ModalityValue, *, sets: bool) -> list[Artist]:
    colours = palette(len(value.regions))
    handles: list[Artist] = [
        Line2D([], [], color=colours[n], marker=_MARKERS[n % len(_MARKERS)], markeredgecolor=INK, label=one.region)
        for n, one in enumerate(value.regions)
    ]
    if sets:
        for label, fill in (("suffices", INK), ("not shown", "white")):
            handles.append(
                Line2D([], [], color=INK, marker="o", markerfacecolor=fill, markeredgecolor=INK, label=label)
            )
    return handles


def _caption(view: DatasetView, metric: Metric, value: ModalityValue, *, sets: bool) -> str:
    words = (
        f"{view.title}, {metric.title}: what each modality adds to the sets that lack it, averaged over all orders "
        f"(Shapley value), by region; mean over {value.patients} patients and its 95 % bootstrap interval."
    )
    if not sets:
        return words
    question = value.question
    return (
        f"{words} Right: every set against all modalities, in the region that speaks most against it; mean and "
        f"one-sided lower bound (α = {question.alpha:g}, before correction), dashed: the margin of "
        f"{question.margin:g}. Filled: shown to lose less than the margin in every region, after Holm over "
        f"{len(value.sets)} sets. A number at the edge is a mean loss beyond it"
        f"{f'; of the sets the {_SETS} nearest to it are drawn' if len(value.sets) > _SETS else ''}."
    )
