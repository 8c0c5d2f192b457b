"""Heat map of the leading modality: rows lead, columns are regions, one panel a model and metric."""

from __future__ import annotations

import numpy as np
import seaborn as sns

from harness.report.computed import Computed
from harness.report.drawing import DOUBLE, INK, Drawing, new_figure, styled
from harness.report.evidence import data_name
from harness.report.forms.common import lookup
from harness.report.forms.leading import leading_groups
from harness.report.metrics import metric_style
from harness.report.summary import MEAN_REGION
from harness.report.variants import regions_of

__all__ = ["leading_map"]


def leading_map(computed: Computed, dataset: str) -> Drawing | None:
    """Draws one row of panels a label; ``None`` where no label varies its leading modality."""
    results = computed.results
    groups = leading_groups(computed, dataset)
    if not groups:
        return None
    found = lookup(computed.summary[computed.summary["dataset"] == dataset])
    regions = regions_of(results, dataset)
    shown = [*regions, MEAN_REGION] if len(regions) > 1 else regions
    longest = max(len(variants) for variants in groups.values())
    with styled():
        figure = new_figure(DOUBLE, 0.5 + len(groups) * (0.65 + 0.32 * longest))
        grid = figure.subplots(len(groups), len(results.metrics), squeeze=False)
        for row, (label, variants) in zip(grid, groups.items(), strict=True):
            for axes, metric in zip(row, results.metrics, strict=True):
                style = metric_style(metric)
                rows = [[found[(*variant, metric, region)] for region in shown] for variant in variants]
                means = np.array([[float(each["mean"]) for each in line] for line in rows])
                words = [[_words(each, style.text(float(each["mean"]))) for each in line] for line in rows]
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
                axes.set_title(f"{label}: {style.heading} {'↑' if style.higher_is_better else '↓'}", loc="left")
                axes.tick_params(length=0, labelrotation=0)
                axes.set_facecolor("#ffffff")
                for text in axes.texts:
                    if text.get_text() in ("failed", "incomplete"):
                        text.set_color(INK)
            row[0].set_ylabel("Leading modality")
    title = data_name(results.datasets[dataset])
    caption = f"{title}: mean over cases by leading modality and region; lighter is better. A word stands for no mean."
    return Drawing(f"leading_{dataset}", f"Leading modality: {title}", caption, figure)


def _words(row: object, text: str) -> str:
    status = str(row["status"])  # type: ignore[index]
    return text if status == "complete" else status
