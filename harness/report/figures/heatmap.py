"""Heat maps of mean scores: light is better whatever the metric, and a word stands where there is no mean."""

from collections.abc import Sequence

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from numpy.typing import NDArray

from harness.evaluation import Metric
from harness.report.figures.figure import INK


def heat_map(
    axes: Axes,
    means: NDArray[np.float64],
    words: Sequence[Sequence[str]],
    metric: Metric,
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    limits: tuple[float, float] | None = None,
) -> None:
    """Draws means with their numbers in them.

    Args:
        axes: Axes to draw on.
        means: Means, rows x columns; NaN where there is no mean.
        words: Words printed in place of means that are NaN, rows x columns.
        metric: Metric of the means.
        rows: Names of the rows.
        columns: Names of the columns.
        limits: Ends of the colour scale; by default the smallest and largest mean.
    """
    low, high = limits or (None, None)
    sns.heatmap(
        means,
        ax=axes,
        # Light is better in both directions, so that the eye compares panels.
        cmap="Greys_r" if metric.higher_is_better else "Greys",
        vmin=low,
        vmax=high,
        annot=np.array([[metric.text(mean) for mean in line] for line in means.tolist()], dtype=object),
        fmt="",
        linewidths=0.8,
        linecolor="white",
        annot_kws={"fontsize": 7},
        xticklabels=list(columns),
        yticklabels=list(rows),
        cbar_kws={"label": metric.heading, "shrink": 0.9},
    )
    axes.tick_params(length=0, labelrotation=0)
    axes.set_facecolor("#ffffff")
    axes.grid(visible=False)  # it would strike through the words
    for row, column in np.argwhere(np.isnan(means)):  # seaborn leaves these cells empty
        axes.text(column + 0.5, row + 0.5, words[row][column], ha="center", va="center", fontsize=7, color=INK)
