"""Paired differences: every patient of every method against the reference, with medians and intervals."""

import numpy as np
from matplotlib.ticker import MaxNLocator

from harness.evaluation import METRICS
from harness.report.analysis.p_values import STAR, p_statement
from harness.report.figures.figure import DOUBLE, INK, MANY, Drawing, headline, new_figure, styled
from harness.statistics.analysis import Analysis
from harness.statistics.comparisons import Comparison
from harness.statistics.sample_size import ALPHA

_DOTS = "#8b93a7"


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
        for place, each in enumerate(order):
            deltas = (analysis.table[each.method] - analysis.table[each.reference]).to_numpy(dtype=float)
            axes.scatter(
                deltas,
                place + random.uniform(-0.24, 0.24, patients),
                s=5 if patients <= MANY else 3,
                color=_DOTS,
                alpha=0.7 if patients <= MANY else 0.25,
                linewidth=0,
                rasterized=patients > MANY,
                zorder=2,
            )
            if each.median_interval is not None:
                axes.plot(each.median_interval, [place, place], color="white", linewidth=4, zorder=3)
                axes.plot(each.median_interval, [place, place], color=INK, linewidth=2, zorder=4)
            axes.plot(
                each.median_difference, place, marker="D", color="white", markeredgecolor=INK, markersize=4.5, zorder=5
            )
            axes.annotate(_words(each), (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=6.5)
        axes.set_yticks(range(len(order)), [each.method for each in order])
        axes.set_ylim(len(order) - 0.5, -0.5)
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
        f"{patients} patients (dots), median (diamond) and its 95 % bootstrap "
        f"interval (bar). Right: share of patients on which the method is better, ties counted half"
        f"{', and ' + tested if tested else ''}.{refused}",
        figure,
    )


def _words(each: Comparison) -> str:
    better = f"better on {100 * each.p_better:.0f} %"
    if each.p_holm is None:
        return better
    return f"{better}, {p_statement(each.p_holm)}{f' {STAR}' if each.p_holm < ALPHA else ''}"
