"""Accuracy against what it costs: the mean score over parameters and over GFLOPs, one point a variant."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from harness.report.computed import Computed
from harness.report.drawing import DOUBLE, INK, Drawing, legend, new_figure, palette, styled
from harness.report.evidence import data_name, row_name
from harness.report.interval import mean_interval, of_patients
from harness.report.metrics import MetricStyle, metric_style
from harness.report.summary import MEAN_REGION
from harness.report.variants import Variant, regions_of, variants_of

__all__ = ["cost_plot"]

_MARKERS = "osD^vP*X<>hp"
_COSTS = (("parameters", 1e-6, "Parameters (M)"), ("gflops", 1.0, "GFLOPs of one pass"))


def cost_plot(computed: Computed, dataset: str) -> Drawing | None:
    """Draws one row of axes a metric; ``None`` with fewer than two variants that have a mean and a cost."""
    results = computed.results
    cells = results.cells[results.cells["dataset"] == dataset]
    sizes = cells.groupby(["label", "leading"])[["parameters", "gflops"]].max().astype(float)
    regions = regions_of(results, dataset)
    region = MEAN_REGION if len(regions) > 1 else regions[0]
    here = computed.summary[(computed.summary["dataset"] == dataset) & (computed.summary["region"] == region)]
    every = variants_of(results, dataset)
    known = {tuple(map(str, key)) for key in sizes.dropna().index}
    means = here[here["comparable"].astype(bool)].set_index(["label", "leading", "metric"])["mean"]
    first = results.metrics[0]
    shown = [each for each in every if tuple(each) in known and (*each, first) in means.index]
    if len(shown) < 2:
        return None
    colours = dict(zip(every, palette(len(every)), strict=True))
    marks = {variant: _MARKERS[number % len(_MARKERS)] for number, variant in enumerate(every)}
    with styled():
        figure = new_figure(DOUBLE, 0.9 + 1.9 * len(results.metrics))
        grid = figure.subplots(len(results.metrics), 2, sharey="row", sharex="col", squeeze=False)
        for row, metric in zip(grid, results.metrics, strict=True):
            for axes, (column, scale, _) in zip(row, _COSTS, strict=True):
                for variant in shown:
                    cost = _cost(sizes, variant, column) * scale
                    _point(axes, cost, float(means[(*variant, metric)]), colours[variant], marks[variant])
                    _whisker(computed, axes, cost, (dataset, variant, metric, region), colours[variant])
            _labels(row[0], metric_style(metric))
        for axes, (*_, title) in zip(grid[-1], _COSTS, strict=True):
            _logarithmic(axes)
            axes.set_xlabel(title)
        grid[0, 0].set_title(data_name(results.datasets[dataset]), loc="left")
        legend(figure, [_handle(row_name(each, every), colours[each], marks[each]) for each in shown])
    absent = ", ".join(row_name(each, every) for each in every if each not in shown)
    over = "mean over regions and cases" if region == MEAN_REGION else "mean over cases"
    caption = (
        f"{data_name(results.datasets[dataset])}: {over} against size and compute (logarithmic). Bars: 95 % bootstrap "
        f"interval over patients, where there are enough.{f' Without a mean: {absent}.' if absent else ''}"
    )
    return Drawing(f"costs_{dataset}", f"Accuracy and cost: {data_name(results.datasets[dataset])}", caption, figure)


def _cost(sizes: pd.DataFrame, variant: Variant, column: str) -> float:
    return float(sizes[column].to_dict()[tuple(variant)])


def _point(axes: Axes, cost: float, mean: float, colour: tuple[float, float, float], mark: str) -> None:
    axes.plot(cost, mean, mark, color=colour, markeredgecolor=INK, markeredgewidth=0.6, markersize=6.5, zorder=3)


def _whisker(
    computed: Computed,
    axes: Axes,
    cost: float,
    score: tuple[str, Variant, str, str],
    colour: tuple[float, float, float],
) -> None:
    dataset, variant, metric, region = score
    cases: pd.DataFrame = computed.cases
    mine = (cases["dataset"] == dataset) & (cases["label"] == variant.label) & (cases["leading"] == variant.leading)
    values = of_patients(cases[mine & (cases["metric"] == metric) & (cases["region"] == region)])
    if (interval := mean_interval(values)) is not None:
        axes.plot([cost, cost], list(interval), color=colour, linewidth=1.1, zorder=2)


def _labels(axes: Axes, style: MetricStyle) -> None:
    axes.set_ylabel(f"{style.heading} {'↑' if style.higher_is_better else '↓'}")


def _logarithmic(axes: Axes) -> None:
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    # Within one decade the only round power may lie outside: then the minor ticks carry the numbers.
    minor = FuncFormatter(lambda value, _: f"{value:g}") if high / low < 10 else NullFormatter()
    axes.xaxis.set_minor_formatter(minor)


def _handle(name: str, colour: tuple[float, float, float], mark: str) -> Line2D:
    line = Line2D([], [], color=colour, marker=mark, linestyle="", markeredgecolor=INK, markeredgewidth=0.6)
    line.set_label(name)
    return line
