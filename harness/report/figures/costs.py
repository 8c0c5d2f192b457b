"""Accuracy against what it costs: the mean score over parameters and over GFLOPs, one point per variant."""

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from harness.evaluation import METRICS
from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.figures.figure import (
    DOUBLE,
    INK,
    Drawing,
    legend,
    legend_height,
    new_figure,
    palette,
    styled,
    write_title,
)
from harness.statistics.analysis import Summary
from harness.statistics.patients import MEAN_REGION

_MARKERS = "osD^vP*X<>hp"
#: Ratios of the ends of an axis: up to the first its ticks are even, up to the second at 1, 2 and 5.
_NARROW, _WIDE = 3, 200
#: Costs nearer than this ratio are drawn near: an axis of their own span would make a rounding look like a gap.
_LEAST = 2
_COSTS = (("parameters", 1e-6, "Parameters (M)"), ("gflops", 1.0, "GFLOPs of one pass"))


def cost_plot(study: StudyAnalysis, view: DatasetView) -> Drawing | None:
    """Draws one row of axes per metric; ``None`` with fewer than two variants that have a mean and a cost."""
    results = study.results
    sizes = view.cells.groupby("method")[["parameters", "gflops"]].max().astype(float).dropna()
    complete = [set(view.whole(metric)) for metric in results.metrics]
    shown = [each for each in view.variants if view.names[each] in sizes.index and all(each in of for of in complete)]
    if len(shown) < 2:
        return None
    colours = dict(zip(view.variants, palette(len(view.variants)), strict=True))
    marks = {variant: _MARKERS[number % len(_MARKERS)] for number, variant in enumerate(view.variants)}
    with styled():
        height = legend_height([view.names[each] for each in shown], DOUBLE)
        figure = new_figure(DOUBLE, 0.6 + height + 1.9 * len(results.metrics))
        grid = figure.subplots(len(results.metrics), 2, sharey="row", sharex="col", squeeze=False)
        for row, metric in zip(grid, results.metrics, strict=True):
            for axes, (column, scale, _) in zip(row, _COSTS, strict=True):
                for variant in shown:
                    summary = view.summary(variant, metric, view.main)
                    if summary is not None:
                        cost = float(sizes[column].to_dict()[view.names[variant]]) * scale
                        _point(axes, cost, summary, colours[variant], marks[variant])
            row[0].set_ylabel(METRICS.get(metric).heading_with_arrow)
        for axes, (*_, title) in zip(grid[-1], _COSTS, strict=True):
            _logarithmic(axes)
            axes.set_xlabel(title)
        write_title(figure, grid[0, 0], view.title)
        legend(figure, [_handle(view.names[each], colours[each], marks[each]) for each in shown])
    absent = ", ".join(name for each, name in view.names.items() if each not in shown)
    over = "mean over regions and patients" if view.main == MEAN_REGION else "mean over patients"
    caption = (
        f"{view.title}: {over} against size and compute (logarithmic). Bars: 95 % bootstrap "
        f"interval over patients, where there are enough."
        f"{f' Without a mean or a known cost: {absent}.' if absent else ''}"
    )
    return Drawing(f"costs_{view.name}", f"Accuracy and cost: {view.title}", caption, figure)


def _point(axes: Axes, cost: float, summary: Summary, colour: tuple[float, float, float], mark: str) -> None:
    if summary.mean_interval is not None:
        axes.plot([cost, cost], list(summary.mean_interval), color=colour, linewidth=1.1, zorder=2)
    axes.plot(
        cost, summary.mean, mark, color=colour, markeredgecolor=INK, markeredgewidth=0.6, markersize=6.5, zorder=3
    )


def _logarithmic(axes: Axes) -> None:
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    if high / low < _LEAST:
        middle = (low * high) ** 0.5
        low, high = middle / _LEAST**0.5, middle * _LEAST**0.5
        axes.set_xlim(low, high)
    # Powers of ten alone would leave an axis of little more than a decade with one number.
    near = MaxNLocator(4) if high / low < _NARROW else LogLocator(subs=(1, 2, 5) if high / low < _WIDE else (1,))
    axes.xaxis.set_major_locator(near)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _handle(name: str, colour: tuple[float, float, float], mark: str) -> Line2D:
    return Line2D([], [], color=colour, marker=mark, linestyle="", markeredgecolor=INK, markeredgewidth=0.6, label=name)
