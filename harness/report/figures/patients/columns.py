"""Scores by a column of the patients: means with intervals by group, or a map of sites that train and are tested."""

from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist

from harness.evaluation import METRICS, Metric
from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.analysis.patients.columns import ColumnView, SitePair
from harness.report.figures.figure import (
    DOUBLE,
    SINGLE,
    Drawing,
    headline,
    legend,
    legend_height,
    new_figure,
    palette,
    styled,
    wrapped,
    write_title,
)
from harness.report.figures.heatmap import heat_map
from harness.statistics.groups import GroupMean

#: More methods than this cannot be told apart; the first ones are drawn.
_METHODS = 6
#: Panels of maps, side by side.
_PANELS = 2
#: Groups that leave room in one column of a paper.
_FEW = 5
_MARKERS = "os^Dvp"
_NAME_WIDTH = 12


def column_figure(study: StudyAnalysis, view: DatasetView) -> Drawing | None:
    """Draws the first column that the report shows, in the first metric; ``None`` where it shows none."""
    metric = METRICS.get(study.results.metrics[0])
    for one in view.columns:
        if pairs := one.pairs.get(metric.name):
            return _map(view, one, pairs, metric)
        if means := one.means.get((metric.name, view.main)):
            return _points(view, one, means, metric)
    return None


def _points(view: DatasetView, one: ColumnView, means: Sequence[GroupMean], metric: Metric) -> Drawing:
    methods = list(dict.fromkeys(found.method for found in means))
    shown = methods[:_METHODS]
    groups = list(dict.fromkeys(found.group for found in means))
    counts = {found.group: found.n_patients for found in means}
    width = SINGLE if len(groups) <= _FEW else DOUBLE
    with styled():
        figure = new_figure(width, 2.4 + legend_height(shown, width))
        axes = figure.subplots()
        handles: list[Artist] = []
        for number, (method, colour) in enumerate(zip(shown, palette(len(shown)), strict=True)):
            mine = {found.group: found for found in means if found.method == method}
            offset = (number - (len(shown) - 1) / 2) * 0.6 / max(1, len(shown))
            places = [groups.index(group) + offset for group in mine]
            handles += axes.plot(
                places,
                [found.mean for found in mine.values()],
                color=colour,
                linestyle="",
                marker=_MARKERS[number % len(_MARKERS)],
                markersize=4,
                label=method,
            )
            for place, found in zip(places, mine.values(), strict=True):
                if found.mean_interval is not None:
                    axes.plot([place, place], found.mean_interval, color=colour, linewidth=1.1)
        axes.set_xticks(range(len(groups)), [wrapped(f"{name} (n={counts[name]})", _NAME_WIDTH) for name in groups])
        axes.set(xlabel=one.column, ylabel=metric.heading_with_arrow)
        write_title(figure, axes, view.title)
        legend(figure, handles)
    left_out = f" The first {_METHODS} of {len(methods)} variants." if len(methods) > _METHODS else ""
    how = ", each tested by networks trained on the others alone" if one.held_out else ""
    return Drawing(
        f"column_{view.name}",
        f"{metric.title} by {one.column}: {view.title}",
        f"{view.title}: {metric.title}{_over(view)} by {one.column}{how}; mean over patients with its 95 % interval, "
        f"which stands on 6 patients or more.{left_out}",
        figure,
    )


def _map(view: DatasetView, one: ColumnView, pairs: Sequence[SitePair], metric: Metric) -> Drawing:
    methods = list(dict.fromkeys(pair.method for pair in pairs))
    shown = methods[:_METHODS]
    trained, tested = (sorted({getattr(pair, side) for pair in pairs}) for side in ("trained", "tested"))
    known = [pair.mean for pair in pairs]
    columns = min(_PANELS, len(shown))
    rows = -(-len(shown) // columns)
    with styled():
        figure = new_figure(DOUBLE if columns > 1 else DOUBLE / 2, 0.4 + rows * (1.0 + 0.32 * len(trained)))
        panels = figure.subplots(rows, columns, squeeze=False)
        for axes in panels.flat[len(shown) :]:
            axes.set_axis_off()
        for axes, method in zip(panels.flat, shown, strict=False):
            means = {(pair.trained, pair.tested): pair.mean for pair in pairs if pair.method == method}
            values = np.array([[means.get((row, column), np.nan) for column in tested] for row in trained])
            words = [["not tested"] * len(tested)] * len(trained)
            heat_map(axes, values, words, metric, rows=trained, columns=tested, limits=_limits(min(known), max(known)))
            axes.set(xlabel=f"{one.column} tested", ylabel=f"{one.column} trained")
            axes.set_title(wrapped(f"{method}: {metric.heading_with_arrow}", 44), loc="left")
        headline(figure, view.title)
    return Drawing(
        f"column_{view.name}",
        f"{metric.title} by the {one.column} that trained: {view.title}",
        f"{view.title}: {metric.title}{_over(view)} by the {one.column} whose patients trained and the one whose "
        "patients were tested, mean over patients; on the diagonal, patients held out of training. Lighter is better.",
        figure,
    )


def _limits(low: float, high: float) -> tuple[float, float]:
    return low, high if high > low else low + 1


def _over(view: DatasetView) -> str:
    return ", mean over regions," if len(view.regions) > 1 else ""
