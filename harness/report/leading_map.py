"""Heat map of the leading modality: rows lead, columns are regions, one panel a model and metric."""

from __future__ import annotations

import numpy as np
import seaborn as sns

from harness.report.computed import Computed, DatasetView
from harness.report.drawing import DOUBLE, INK, Drawing, new_figure, styled
from harness.report.forms.leading import leading_groups
from harness.report.metrics import metric_style
from harness.report.variants import Variant
from harness.statistics.patients import MEAN_REGION

__all__ = ["leading_map"]


def leading_map(computed: Computed, view: DatasetView) -> Drawing | None:
    """Draws one row of panels a label; ``None`` where no label varies its leading modality."""
    results = computed.results
    groups = leading_groups(view)
    if not groups:
        return None
    shown = view.shown
    longest = max(len(variants) for variants in groups.values())
    with styled():
        figure = new_figure(DOUBLE, 0.5 + len(groups) * (0.65 + 0.32 * longest))
        grid = figure.subplots(len(groups), len(results.metrics), squeeze=False)
        for row, (label, variants) in zip(grid, groups.items(), strict=True):
            for axes, metric in zip(row, results.metrics, strict=True):
                style = metric_style(metric)
                means = np.array([[_mean(view, each, metric, region) for region in shown] for each in variants])
                words = [
                    [view.status[each] if np.isnan(mean) else style.text(mean) for mean in line]
                    for each, line in zip(variants, means, strict=True)
                ]
                # Light is better in both directions, so that the eye compares panels.
                colours = "Greys_r" if style.higher_is_better else "Greys"
                sns.heatmap(
                    means,
                    ax=axes,
                    cmap=colours,
                    annot=np.array(words, dtype=object),
                    fmt="",
                    linewidths=0.8,
                    linecolor="white",
                    annot_kws={"fontsize": 7},
                    xticklabels=["Mean" if name == MEAN_REGION else name for name in shown],
                    yticklabels=["none" if variant.leading == "-" else variant.leading for variant in variants],
                    cbar_kws={"label": style.heading, "shrink": 0.9},
                )
                axes.set_title(f"{label}: {style.pointed}", loc="left")
                axes.tick_params(length=0, labelrotation=0)
                axes.set_facecolor("#ffffff")
                for text in axes.texts:
                    if text.get_text() in ("failed", "incomplete"):
                        text.set_color(INK)
            row[0].set_ylabel("Leading modality")
    title = view.title
    caption = (
        f"{title}: mean over patients by leading modality and region; lighter is better. A word stands for no mean."
    )
    return Drawing(f"leading_{view.name}", f"Leading modality: {title}", caption, figure)


def _mean(view: DatasetView, variant: Variant, metric: str, region: str) -> float:
    summary = view.summary(variant, metric, region)
    return np.nan if summary is None else summary.mean
