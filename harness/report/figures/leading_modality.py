"""Heat map of the leading modality: rows lead, columns are regions, one panel per model and metric."""

import numpy as np

from harness.evaluation import METRICS
from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.analysis.variants import Variant, leading_groups
from harness.report.figures.figure import DOUBLE, Drawing, headline, new_figure, styled, wrapped
from harness.report.figures.heatmap import heat_map
from harness.statistics.patients import MEAN_REGION

#: Panels side by side; more would leave no room for numbers in them.
_COLUMNS = 2
_LABEL_WIDTH = 9


def leading_map(study: StudyAnalysis, view: DatasetView) -> Drawing | None:
    """Draws one row of panels per label; ``None`` where no label varies its leading modality."""
    results = study.results
    groups = leading_groups(view.variants)
    if not groups:
        return None
    shown = view.shown
    longest = max(len(variants) for variants in groups.values())
    labels = ["Mean" if name == MEAN_REGION else wrapped(name, _LABEL_WIDTH) for name in shown]
    below = 0.12 * max(label.count("\n") for label in labels)
    columns = min(_COLUMNS, len(results.metrics))
    per_group = -(-len(results.metrics) // columns)
    with styled():
        rows = len(groups) * per_group
        figure = new_figure(DOUBLE, 0.5 + rows * (0.65 + below + 0.32 * longest))
        grid = figure.subplots(rows, columns, squeeze=False)
        for number, (label, variants) in enumerate(groups.items()):
            panels = grid[number * per_group : (number + 1) * per_group]
            for axes in panels.flat[len(results.metrics) :]:
                axes.set_axis_off()
            for axes, metric in zip(panels.flat, map(METRICS.get, results.metrics), strict=False):
                means = np.array([[_mean(view, each, metric.name, region) for region in shown] for each in variants])
                words = [[_word(view, each)] * len(shown) for each in variants]
                names = ["none" if variant.leading == "-" else variant.leading for variant in variants]
                heat_map(axes, means, words, metric, rows=names, columns=labels)
                axes.set_title(wrapped(f"{label}: {metric.heading_with_arrow}", 44), loc="left")
            for row in panels:
                row[0].set_ylabel("Leading modality")
        headline(figure, view.title)
    title = view.title
    caption = (
        f"{title}: mean over patients by leading modality and region; lighter is better. A word stands for no mean."
    )
    return Drawing(f"leading_{view.name}", f"Leading modality: {title}", caption, figure)


def _mean(view: DatasetView, variant: Variant, metric: str, region: str) -> float:
    summary = view.summary(variant, metric, region)
    return np.nan if summary is None else summary.mean


def _word(view: DatasetView, variant: Variant) -> str:
    return "no result" if view.status[variant] == "complete" else view.status[variant]
