"""Power against patients: how many it takes to show each observed difference."""

import numpy as np
from matplotlib.artist import Artist
from matplotlib.ticker import FuncFormatter, NullFormatter

from harness.evaluation import METRICS
from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.analysis.verdict import Verdict
from harness.report.analysis.verdict_words import fine
from harness.report.figures.figure import (
    DASHES,
    INK,
    SINGLE,
    Drawing,
    legend,
    legend_height,
    new_figure,
    palette,
    styled,
)
from harness.statistics.power import POWER, power_of

#: The axis of patients ends here at the latest.
_MOST = 100_000
_POINTS = 80
#: More curves than this cannot be told apart; the largest differences are drawn.
_CURVES = 6


def power_curves(study: StudyAnalysis, view: DatasetView) -> Drawing | None:
    """Draws one curve per method against its reference, in the study's first metric; ``None`` without a verdict."""
    if not study.comparability.allows_ranking(view.name):
        return None
    verdict = view.verdicts.get(study.results.metrics[0])
    if verdict is None:
        return None
    metric = METRICS.get(verdict.metric)
    shown = sorted(verdict.resolutions, key=lambda one: -one.power)[:_CURVES]
    patients = np.unique(np.geomspace(6, _last(verdict), _POINTS).astype(int))
    with styled():
        labels = [
            f"{one.comparison.method} ({fine(one.comparison.mean_difference, metric, signed=True)})" for one in shown
        ]
        figure = new_figure(SINGLE, 2.4 + legend_height(labels, SINGLE))
        axes = figure.subplots()
        handles: list[Artist] = []
        for number, (one, colour) in enumerate(zip(shown, palette(len(shown)), strict=True)):
            values = [power_of(one.chances, int(count), verdict.alpha) for count in patients]
            style = DASHES[number % len(DASHES)]
            handles += axes.plot(patients, values, color=colour, linestyle=style, linewidth=1.4, label=labels[number])
        axes.axhline(POWER, color=INK, linewidth=0.7, linestyle=(0, (2, 2)))
        axes.axvline(verdict.patients, color=INK, linewidth=0.7)
        axes.annotate(
            f"{verdict.patients} patients at hand",
            (verdict.patients, 0.1),
            xytext=(3, 0),
            textcoords="offset points",
            fontsize=6.5,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )
        axes.set(xscale="log", ylim=(0, 1.02), xlim=(patients[0], patients[-1]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set(xlabel="patients", ylabel=f"share of studies that show it, {metric.title}")
        axes.set_title(view.title, loc="left")
        legend(figure, handles)
    reference = " and ".join(dict.fromkeys(one.comparison.reference for one in shown))
    return Drawing(
        f"power_{view.name}_{verdict.metric}",
        f"Power against patients, {metric.title}: {view.title}",
        f"{view.title}, {metric.title}: share of studies that would show the observed difference to {reference} "
        f"(signed-rank test, p below {verdict.alpha:.3g}) against their number of patients. Dashed line: "
        f"{100 * POWER:.0f} %; upright line: the patients at hand.",
        figure,
    )


def _last(verdict: Verdict) -> int:
    """Returns the last number of patients: beyond those at hand, and those that it takes."""
    needed = [one.patients for one in verdict.resolutions if one.patients is not None]
    return min(_MOST, max(4 * verdict.patients, *(2 * count for count in needed), 100))
