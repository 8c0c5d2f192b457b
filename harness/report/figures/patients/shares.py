"""Learning curves: measured points with intervals against the number of training patients."""

from matplotlib.artist import Artist
from matplotlib.ticker import NullLocator

from harness.evaluation import METRICS
from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.analysis.patients.shares import Point
from harness.report.figures.figure import (
    DASHES,
    SINGLE,
    Drawing,
    legend,
    legend_height,
    new_figure,
    palette,
    styled,
    write_title,
)

#: More curves than this cannot be told apart; the first ones are drawn.
_CURVES = 6
_MARKERS = "os^Dvp"


def share_figure(study: StudyAnalysis, view: DatasetView) -> Drawing | None:
    """Draws one line per method in the first metric, between its measured points; ``None`` without any."""
    curves, metric = view.curves, METRICS.get(study.results.metrics[0])
    if curves is None:
        return None
    shown = curves.curves[:_CURVES]
    known = all(point.patients[1] for curve in shown for point in curve.points)
    ticks: set[float] = set()
    with styled():
        figure = new_figure(SINGLE, 2.4 + legend_height([curve.name for curve in shown], SINGLE))
        axes = figure.subplots()
        handles: list[Artist] = []
        for number, (curve, colour) in enumerate(zip(shown, palette(len(shown)), strict=True)):
            summaries = [(point, curves.summary(point, metric.name, curves.main)) for point in curve.points]
            measured = [(_place(point, known), summary) for point, summary in summaries if summary is not None]
            if not measured:
                continue
            ticks |= {place for place, _ in measured}
            handles += axes.plot(
                [place for place, _ in measured],
                [summary.mean for _, summary in measured],
                color=colour,
                linestyle=DASHES[number % len(DASHES)],
                marker=_MARKERS[number % len(_MARKERS)],
                markersize=4,
                linewidth=1.0,
                label=curve.name,
            )
            for place, summary in measured:
                if summary.mean_interval is not None:
                    axes.plot([place, place], summary.mean_interval, color=colour, linewidth=1.1)
        if not ticks:
            return None
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks(sorted(ticks), [f"{tick:g}" for tick in sorted(ticks)])
        axes.set(xlabel="training patients" if known else "% of training patients", ylabel=metric.heading_with_arrow)
        write_title(figure, axes, view.title)
        legend(figure, handles)
    over = ", mean over regions," if len(view.regions) > 1 else ""
    left_out = f" The first {_CURVES} of {len(curves.curves)} variants." if len(curves.curves) > _CURVES else ""
    return Drawing(
        f"learning_{view.name}",
        f"Learning curve, {metric.title}: {view.title}",
        f"{view.title}: {metric.title}{over} against the number of training patients, mean over test patients with its "
        f"95 % interval. Points are measured; lines only lead the eye, and end with the last point.{left_out}",
        figure,
    )


def _place(point: Point, known: bool) -> float:
    return sum(point.patients) / 2 if known else 100 * point.share
