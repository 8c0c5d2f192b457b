"""Box plots: every case of every variant, by region, with the floors as dashed lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from harness.evaluation import METRICS, Metric
from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.analysis.variants import Variant
from harness.report.figures.figure import (
    DOUBLE,
    HATCHES,
    INK,
    MANY,
    MOST_NAMED,
    SINGLE,
    Drawing,
    Point,
    legend,
    legend_height,
    new_figure,
    pale,
    palette,
    styled,
    wrapped,
    write_title,
)
from harness.statistics.patients import MEAN_REGION

#: More boxes than this side by side need the width of two columns; more than the second number another row.
_BOXES_PER_COLUMN, _BOXES_PER_ROW = 14, 44
_GROUP_WIDTH = 0.84
#: Letters of a region's name in an inch of the axis.
_LETTERS_PER_INCH = 14
#: More cases than this in a box are specks, not rings; fewer than this have no quartiles worth a box.
_RINGS, _QUARTILES = 25, 5
_FLOOR = "#c4411b"
#: A floor farther from the boxes than this share of their range is written, not drawn.
_FAR = 0.5


def box_plot(study: StudyAnalysis, view: DatasetView) -> Drawing | None:
    """Draws one axes per metric (more where the regions do not fit in a row); ``None`` where no variant is complete.

    A variant that is not complete has no box, as it has no mean, but keeps its colour and stands in the legend.
    """
    metrics = [METRICS.get(name) for name in study.results.metrics if (name, view.main) in view.analyses]
    drawn = [each for each in view.variants if any(view.summary(each, metric.name, view.main) for metric in metrics)]
    if not drawn:
        return None
    number_of_rows = -(-len(view.shown) * len(drawn) // _BOXES_PER_ROW)
    per_row = -(-len(view.shown) // number_of_rows)
    rows = [view.shown[start : start + per_row] for start in range(0, len(view.shown), per_row)]
    boxes = len(drawn) * max(len(regions) for regions in rows)
    with styled():
        width = SINGLE if boxes <= _BOXES_PER_COLUMN else DOUBLE
        floors = sorted({name for name, *_ in view.floors})
        handles = _handles(view, drawn, floors)
        above = legend_height([str(handle.get_label()) for handle in handles], width)
        figure = new_figure(width, 0.3 + above + 1.7 * len(metrics) * len(rows))
        grid = figure.subplots(len(metrics) * len(rows), 1, squeeze=False)[:, 0]
        points: list[Point] = []
        for number, axes in enumerate(grid):
            metric, regions = metrics[number // len(rows)], rows[number % len(rows)]
            points += _boxes(axes, view, metric, regions, drawn)
            _floor_lines(axes, view, metric, regions)
            _label(axes, metric, regions, per_row)
        for number in range(len(metrics)):
            _share_scale(grid[number * len(rows) : (number + 1) * len(rows)])
        write_title(figure, grid[0], view.title)
        legend(figure, handles)
    dots = (
        f"Dots are the cases beyond the whiskers, where a box has more than {MANY} cases"
        if _is_crowded(view, metrics, drawn)
        else "Each dot is one case"
    )
    remarks = " Dashed lines, or triangles where off the scale: mean of a floor." if view.floors else ""
    if any(np.isinf(each.by_case.to_numpy(dtype=float)).any() for each in view.analyses.values()):
        remarks += " Infinite results are not drawn."
    refused = f" {view.data.refusal}." if view.data.refusal else ""
    caption = (
        f"{view.title}: {view.data.sample}. {dots}, seeds averaged; boxes span the quartiles, whiskers "
        f"reach 1.5 interquartile ranges (of fewer than {_QUARTILES} cases a box spans all of them); from left to "
        f"right as in the legend.{remarks}{refused}"
    )
    return Drawing(f"boxes_{view.name}", f"Cases by variant and region: {view.title}", caption, figure, _named(points))


def _named(points: Sequence[Point]) -> tuple[Point, ...]:
    """Returns the dots that a page names: where there are too many, those beyond the whiskers."""
    chosen = points if len(points) <= MOST_NAMED else [point for point in points if point.is_outer]
    return tuple(chosen[:MOST_NAMED])


def _boxes(
    axes: Axes, view: DatasetView, metric: Metric, regions: Sequence[str], drawn: Sequence[Variant]
) -> list[Point]:
    """Draws the boxes of each variant in every region, side by side, and the cases on top.

    Returns:
        The cases that are dots.
    """
    width = _GROUP_WIDTH / len(drawn)
    names = [view.names[variant] for variant in drawn]
    dots: list[_Dots] = []
    for number, variant in enumerate(drawn):
        name, offset = view.names[variant], width * (number + 0.5) - _GROUP_WIDTH / 2
        analyses = [view.analyses.get((metric.name, region)) for region in regions]
        values = {
            region: cases
            for region, each in zip(regions, analyses, strict=True)
            if each is not None and name in each.summaries and len(cases := _finite(each.by_case[name]))
        }
        if not values:
            continue
        before = len(axes.patches)
        shown = [(region, name, value) for region, cases in values.items() for value in _spread(cases)]
        sns.boxplot(
            pd.DataFrame(shown, columns=["region", "label", "value"]),
            x="region",
            y="value",
            hue="label",
            order=regions,
            hue_order=names,
            palette=[_colours(view)[each] for each in drawn],
            saturation=1,
            width=_GROUP_WIDTH,
            dodge=True,
            gap=0.1,
            linecolor=INK,
            linewidth=0.7,
            medianprops={"linewidth": 1.4},
            showfliers=False,
            legend=False,
            ax=axes,
        )
        for box in axes.patches[before:]:
            box.set_hatch(_hatch(view, variant))
        dots += [_Dots.of(cases, name, region, regions.index(region) + offset) for region, cases in values.items()]
    return _draw_dots(axes, metric, dots, width)


@dataclass(frozen=True)
class _Dots:
    """The cases of a box that are drawn as dots.

    Attributes:
        cases: Their values; the index is patient and case.
        outer: Which of them lie beyond the whiskers.
        method: Name of the variant.
        region: Name of the region.
        place: Middle of the box.
    """

    cases: pd.Series[float]
    outer: NDArray[np.bool_]
    method: str
    region: str
    place: float

    @classmethod
    def of(cls, cases: pd.Series[float], method: str, region: str, place: float) -> _Dots:
        """Takes all cases of a box, or of many those that the box does not show: beyond the whiskers."""
        numbers = cases.to_numpy()
        low, high = np.quantile(numbers, [0.25, 0.75])
        reach = 1.5 * (high - low)
        beyond: NDArray[np.bool_] = (numbers < low - reach) | (numbers > high + reach)
        if len(cases) <= MANY:
            return cls(cases, beyond, method, region, place)
        return cls(cases[beyond], beyond[beyond], method, region, place)


def _is_crowded(view: DatasetView, metrics: Sequence[Metric], drawn: Sequence[Variant]) -> bool:
    """Whether a box has too many cases for a dot each."""
    tables = (view.analyses[metric.name, view.main].by_case for metric in metrics)
    names = [view.names[variant] for variant in drawn]
    return any(int(table[name].notna().sum()) > MANY for table in tables for name in names if name in table)


def _spread(cases: pd.Series[float]) -> NDArray[np.float64]:
    """What a box is drawn of: the cases; of a few, values whose quartiles are their ends, around the same median."""
    if len(cases) >= _QUARTILES:
        return np.asarray(cases, np.float64)
    low, high = cases.min(), cases.max()
    return np.array([low, low, cases.median(), high, high])


def _finite(values: pd.Series[float]) -> pd.Series[float]:
    numbers = values.astype(float)
    return numbers[np.isfinite(numbers)]


def _draw_dots(axes: Axes, metric: Metric, dots: Sequence[_Dots], width: float) -> list[Point]:
    """Draws rings while there are few; where they would hide the boxes, faint specks."""
    most = max((len(each.cases) for each in dots), default=0)
    few = most <= _RINGS
    values = np.concatenate([each.cases.to_numpy() for each in dots]) if dots else np.empty(0)
    # Drawn from a fixed seed: the same results must give the same figure.
    jitter = np.random.default_rng(0).uniform(-0.3, 0.3, len(values)) * width
    places = np.repeat([each.place for each in dots], [len(each.cases) for each in dots]) + jitter
    axes.scatter(
        places,
        values,
        s=4 if few else 1.6 if most <= MANY else 1.2,
        facecolor="white" if few else INK,
        edgecolor=INK,
        linewidth=0.45 if few else 0,
        alpha=1 if few else 0.6 if most <= MANY else 0.25,
        rasterized=most > MANY,
        zorder=3,
    )
    found: list[Point] = []
    for each in dots:
        for key, value, outer in zip(each.cases.index, each.cases.to_numpy(), each.outer, strict=True):
            patient, case = map(str, key)
            text = f"{case}: {each.method}, {each.region}, {metric.title} {metric.text(float(value))}"
            found.append(Point(axes, float(places[len(found)]), float(value), patient, text, case, bool(outer)))
    return found


def _share_scale(rows: Iterable[Axes]) -> None:
    """Gives the rows of a metric one scale, so that the eye may compare them."""
    rows = list(rows)
    limits = [axes.get_ylim() for axes in rows]
    for axes in rows:
        axes.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))


def _colours(view: DatasetView) -> dict[Variant, tuple[float, float, float]]:
    colours = palette(len(view.variants))
    return {variant: pale(colour) for variant, colour in zip(view.variants, colours, strict=True)}


def _hatch(view: DatasetView, variant: Variant) -> str:
    return HATCHES[view.variants.index(variant) % len(HATCHES)]


def _floor_lines(axes: Axes, view: DatasetView, metric: Metric, regions: Sequence[str]) -> None:
    """Draws floors as lines; one so far off that its line would squash the boxes is written at the edge instead."""
    low, high = axes.get_ylim()
    reach = _FAR * (high - low)
    names = sorted({name for name, *_ in view.floors})
    means = {
        (number, place): summary.mean
        for number, name in enumerate(names)
        for place, region in enumerate(regions)
        if (summary := view.floors.get((name, metric.name, region))) is not None
    }
    # Room for what is written, so that it covers no dot.
    line = 0.1 * (high - low)
    below = line * len({number for (number, _), value in means.items() if value < low - reach})
    above = line * len({number for (number, _), value in means.items() if value > high + reach})
    near = [value for value in means.values() if low - reach <= value <= high + reach]
    pad = 0.03 * (high - low)
    axes.set_ylim(
        min([low - below, *(value - pad for value in near)]),
        max([high + above, *(value + pad for value in near)]),
    )
    for (number, place), value in means.items():
        if low - reach <= value <= high + reach:
            ends = [place - 0.46, place + 0.46]
            axes.plot(ends, [value] * 2, color=_FLOOR, linewidth=1, linestyle=_dash(number))
            continue
        under = value < low
        axes.annotate(
            f"{_triangles(number)[0 if under else 1]} {metric.text(value)}",
            (place, 0.03 + 0.09 * number if under else 0.97 - 0.09 * number),
            xycoords=axes.get_xaxis_transform(),
            ha="center",
            va="bottom" if under else "top",
            color=_FLOOR,
            fontsize=6.5,
        )


def _triangles(number: int) -> str:
    """What stands for a floor below and above the scale: filled for the first, open for the next."""
    return ("▼▲", "▽△", "⇩⇧")[number % 3]


def _dash(number: int) -> tuple[int, tuple[float, ...]]:
    return (0, (3.5, 1.5)) if number == 0 else (0, (1, 1 + number))


def _label(axes: Axes, metric: Metric, regions: Sequence[str], per_row: int) -> None:
    # A last row of fewer regions keeps the width of the boxes.
    axes.set(xlabel="", ylabel=metric.heading_with_arrow, xlim=(-0.5, per_row - 0.5))
    room = int(axes.get_figure(root=True).get_figwidth() * _LETTERS_PER_INCH / per_row)  # type: ignore[union-attr]
    axes.set_xticks(
        range(len(regions)),
        ["Mean over\nregions" if each == MEAN_REGION else wrapped(each, max(8, min(16, room))) for each in regions],
    )
    axes.tick_params(axis="x", length=0)


def _handles(view: DatasetView, drawn: Sequence[Variant], floors: Sequence[str]) -> list[Artist]:
    colours = _colours(view)
    handles: list[Artist] = []
    for variant, name in view.names.items():
        if variant in drawn:
            hatch = _hatch(view, variant)
            patch = Patch(facecolor=colours[variant], hatch=hatch, edgecolor=INK, linewidth=0.7, label=name)
        else:
            label = f"{name} ({view.status[variant]})"
            patch = Patch(facecolor="white", edgecolor=INK, linewidth=0.7, linestyle=":", label=label)
        handles.append(patch)
    for number, name in enumerate(floors):
        label = f"{name} (floor, {_triangles(number)[1]})"
        handles.append(Line2D([], [], color=_FLOOR, linewidth=1, linestyle=_dash(number), label=label))
    return handles
