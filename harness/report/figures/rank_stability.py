"""Rank stability: how often each method had each rank when patients were resampled."""

import numpy as np

from harness.evaluation import METRICS
from harness.report.figures.figure import DOUBLE, INK, SINGLE, Drawing, headline, new_figure, styled, wrapped
from harness.statistics.analysis import Analysis

#: More methods than this need the width of two columns.
_WIDE = 6
_LABEL_WIDTH = 24
#: One colour: in other figures colours name variants, here the rows do.
_BLOB = "#c3cbdc"


def rank_stability(analysis: Analysis, title: str) -> Drawing | None:
    """Draws a blob for each method and rank, its area the share of resamples; ``None`` where nothing was ranked.

    Args:
        analysis: Statistics of a dataset, metric and region.
        title: Title of the dataset.
    """
    stability = analysis.stability
    if stability is None:
        return None
    metric = METRICS.get(analysis.metric)
    names = list(stability.full.sort_values(kind="stable").index)
    shares = stability.counts.loc[names].to_numpy() / stability.resamples
    with styled():
        width = SINGLE if len(names) <= _WIDE else DOUBLE
        labels = [wrapped(name, _LABEL_WIDTH) for name in names]
        lines = max(label.count("\n") + 1 for label in labels)
        figure = new_figure(width, 0.7 + max(0.27, 0.13 * lines) * len(names))
        axes = figure.subplots()
        # The largest blob just fills its row.
        room = 0.2 * 72
        for place, name in enumerate(names):
            ranks = np.flatnonzero(shares[place]) + 1
            axes.scatter(
                ranks,
                np.full(len(ranks), place),
                s=room**2 * shares[place][ranks - 1],
                color=_BLOB,
                edgecolor=INK,
                linewidth=0.6,
                zorder=2,
            )
            low, middle, high = _points(shares[place])
            axes.plot([low, high], [place, place], color=INK, linewidth=0.9, zorder=3)
            axes.plot(middle, place, marker="|", color=INK, markersize=8, zorder=4)
            axes.plot(int(stability.full[name]), place, marker="x", color=INK, markersize=4, zorder=5)
        axes.grid(visible=False, axis="y")
        axes.grid(visible=True, axis="x")
        # Names stand upright beside their rows: slanted ones under the axis run into each other.
        axes.set_yticks(range(len(names)), labels)
        axes.tick_params(axis="y", length=0)
        axes.set(ylim=(len(names) - 0.4, -0.6), xlim=(0.4, len(names) + 0.6), xlabel="rank (1 is best)")
        axes.set_xticks(range(1, len(names) + 1))
        headline(figure, f"{title}: {metric.heading_with_arrow}")
    taus = stability.taus
    first = str(stability.first.idxmax())
    return Drawing(
        f"rank_stability_{analysis.dataset}_{analysis.metric}",
        f"Rank stability, {metric.title}: {title}",
        f"{title}, {metric.title} ({metric.direction}), {analysis.region}: ranks by mean over {stability.resamples:,} "
        f"resamples of {len(analysis.table)} patients. The area of a blob is the share of resamples, the cross the "
        f"rank on all patients, the dash the median, the line 95 % of resamples. Kendall's tau with the ranking on all "
        f"patients {taus.median:.2f} (95 %: {taus.low:.2f} to {taus.high:.2f}); {first} ranked first most often "
        f"(in {100 * stability.first[first]:.0f} % of resamples).",
        figure,
    )


def _points(shares: np.ndarray) -> tuple[int, int, int]:
    """Ranks at 2.5, 50 and 97.5 % of the resamples."""
    below = np.cumsum(shares)
    low, middle, high = (int(np.searchsorted(below, share - 1e-12) + 1) for share in (0.025, 0.5, 0.975))
    return low, middle, high
