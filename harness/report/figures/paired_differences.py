"""Paired differences: every patient of every method against the reference, with medians and intervals."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from harness.evaluation import METRICS
from harness.report.analysis.p_values import STAR, p_statement
from harness.report.figures.figure import DOUBLE, INK, MANY, Drawing, Point, headline, new_figure, styled
from harness.statistics.analysis import Analysis
from harness.statistics.comparisons import Comparison
from harness.statistics.sample_size import ALPHA

_DOTS = "#8b93a7"
_BOX = "#dde1ea"
#: Where there are many patients, the axis spans these shares of their differences.
_SHOWN = (0.005, 0.995)


def paired_differences(analysis: Analysis, title: str) -> Drawing | None:
    """Draws one row per method; ``None`` where nothing is compared, or on one patient.

    Args:
        analysis: Statistics of a dataset, metric and region.
        title: Title of the dataset.
    """
    shown = analysis.comparisons
    if not shown or len(analysis.table) < 2:
        return None
    metric, patients = METRICS.get(analysis.metric), len(analysis.table)
    references = list(dict.fromkeys(each.reference for each in shown))
    reference = references[0] if len(references) == 1 else "the reference"
    order = sorted(shown, key=lambda each: each.mean_difference, reverse=metric.higher_is_better)
    random = np.random.default_rng(0)
    with styled():
        figure = new_figure(DOUBLE, 0.9 + 0.27 * len(order))
        axes = figure.subplots()
        axes.grid(axis="x")
        axes.axvline(0, color=INK, linewidth=0.8, zorder=1)
        limits = _limits(analysis, order) if patients > MANY else None
        points: list[Point] = []
        for place, each in enumerate(order):
            deltas = (analysis.table[each.method] - analysis.table[each.reference]).to_numpy(dtype=float)
            if limits is None:
                heights = place + random.uniform(-0.24, 0.24, patients)
                axes.scatter(deltas, heights, s=5, color=_DOTS, alpha=0.7, linewidth=0, zorder=2)
                seen = np.arange(patients)
            else:
                heights, seen = np.full(patients, place), _summed_up(axes, deltas, place, limits)
            names = [str(name) for name in analysis.table.index]
            points += [
                Point(
                    axes,
                    float(deltas[n]),
                    float(heights[n]),
                    names[n],
                    f"{names[n]}: {each.method} {metric.signed(float(deltas[n]))}",
                )
                for n in map(int, seen)
            ]
            if each.median_interval is not None:
                axes.plot(each.median_interval, [place, place], color="white", linewidth=4, zorder=3)
                axes.plot(each.median_interval, [place, place], color=INK, linewidth=2, zorder=4)
            axes.plot(
                each.median_difference, place, marker="D", color="white", markeredgecolor=INK, markersize=4.5, zorder=5
            )
            axes.annotate(_words(each), (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=6.5)
        axes.set_yticks(range(len(order)), [each.method for each in order])
        axes.set_ylim(len(order) - 0.5, -0.5)
        if limits is not None:
            axes.set_xlim(*limits)
        axes.tick_params(axis="y", length=0)
        # Long names leave the axis half the width: more numbers would run into each other.
        axes.xaxis.set_major_locator(MaxNLocator(5))
        arrows = ("← worse", "better →") if metric.higher_is_better else ("← better", "worse →")
        axes.set_xlabel(f"{arrows[0]}      {metric.heading}, difference to {reference}      {arrows[1]}")
        headline(figure, f"{title}: {metric.heading}")
    tested = (
        f"p by signed-rank tests (Pratt), Holm over {len(order)}; * below {ALPHA}" if shown[0].p is not None else ""
    )
    refused = f" {analysis.refusals[0]}." if analysis.refusals and not tested else ""
    return Drawing(
        f"paired_differences_{analysis.dataset}_{analysis.metric}",
        f"Paired differences, {metric.title}: {title}",
        f"{title}, {metric.title} ({metric.direction}), {analysis.region}: method minus {reference} on each of "
        f"{patients} patients ({_drawn(limits)}), median (diamond) and its 95 % bootstrap "
        f"interval (bar). Right: share of patients on which the method is better, ties counted half"
        f"{', and ' + tested if tested else ''}.{refused}",
        figure,
        tuple(points),
    )


def _limits(analysis: Analysis, order: Sequence[Comparison]) -> tuple[float, float]:
    """Returns ends of the axis: a few extreme patients may not hide what happens to the others."""
    deltas = np.concatenate([(analysis.table[one.method] - analysis.table[one.reference]).to_numpy() for one in order])
    low, high = np.quantile(deltas, _SHOWN)
    pad = 0.05 * (high - low) or 1e-3
    return min(0.0, float(low)) - pad, max(0.0, float(high)) + pad


def _summed_up(axes: Axes, deltas: NDArray[np.float64], place: int, limits: tuple[float, float]) -> NDArray[np.intp]:
    """Draws many patients as a box of the quartiles and a line from the 5 % to the 95 % point, dots beyond.

    Returns:
        The patients that are dots.
    """
    ends = np.quantile(deltas, [0.05, 0.25, 0.75, 0.95])
    axes.plot(ends[[0, 3]], [place, place], color=_DOTS, linewidth=1.2, zorder=2)
    axes.barh(place, ends[2] - ends[1], left=ends[1], height=0.42, color=_BOX, edgecolor=_DOTS, linewidth=0.8, zorder=2)
    outer = deltas[(deltas < ends[0]) | (deltas > ends[3])]
    beyond = (deltas < ends[0]) | (deltas > ends[3])
    seen = np.flatnonzero(beyond & (deltas >= limits[0]) & (deltas <= limits[1]))
    axes.scatter(deltas[seen], np.full(len(seen), place), s=4, color=_DOTS, alpha=0.6, linewidth=0, zorder=2)
    for side, count, edge in (
        ("left", int((outer < limits[0]).sum()), limits[0]),
        ("right", int((outer > limits[1]).sum()), limits[1]),
    ):
        if count:
            axes.annotate(
                f"◂ {count}" if side == "left" else f"{count} ▸",
                (edge, place - 0.28),
                ha=side,
                va="center",
                fontsize=6,
                color=INK,
            )
    return seen


def _drawn(limits: tuple[float, float] | None) -> str:
    if limits is None:
        return "dots"
    beyond = "numbers with a triangle count the patients beyond the axis"
    return f"box: quartiles, line: 5 to 95 %, dots: those beyond; {beyond}"


def _words(each: Comparison) -> str:
    better = f"better on {100 * each.p_better:.0f} %"
    if each.p_holm is None:
        return better
    return f"{better}, {p_statement(each.p_holm)}{f' {STAR}' if each.p_holm < ALPHA else ''}"
