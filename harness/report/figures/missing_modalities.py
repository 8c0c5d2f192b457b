"""Heat map of missing modalities: rows are what is present, columns are networks, one panel per way of training."""

import numpy as np
from numpy.typing import NDArray

from harness.evaluation import METRICS
from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.analysis.modalities.tested import MissingGroup, TestedNetwork
from harness.report.figures.figure import DOUBLE, Drawing, headline, new_figure, styled
from harness.report.figures.heatmap import heat_map

#: Inches of a column, and of what stands beside the columns.
_COLUMN, _BESIDE = 0.62, 2.2
#: A name longer than this is written aslant.
_LEVEL = 9


def missing_map(study: StudyAnalysis, view: DatasetView) -> Drawing | None:
    """Draws one panel per way of training, all on one scale; ``None`` where no subset was tested."""
    del study
    groups = view.missing
    if not groups:
        return None
    metric = METRICS.get(groups[0].metric)
    means = [_means(group) for group in groups]
    known = np.concatenate([each[~np.isnan(each)] for each in means])
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    columns = max(len(group.tested) for group in groups)
    rows = max(len(group.subsets) for group in groups)
    with styled():
        figure = new_figure(
            max(DOUBLE / 2, min(DOUBLE, _BESIDE + columns * _COLUMN)), 0.4 + len(groups) * (1.5 + 0.26 * rows)
        )
        panels = figure.subplots(len(groups), 1, squeeze=False)[:, 0]
        for axes, group, values in zip(panels, groups, means, strict=True):
            names = [network.name for network in group.tested]
            words = [[_word(network) for network in group.tested] for _ in group.subsets]
            heat_map(
                axes,
                values,
                words,
                metric,
                rows=["all" if present == group.modalities else " + ".join(present) for present in group.subsets],
                columns=names,
                limits=(low, high if high > low else low + 1),
            )
            axes.set_title(f"In training {group.dropout}: {metric.heading_with_arrow}", loc="left")
            if any(len(name) > _LEVEL for name in names):
                axes.set_xticks(axes.get_xticks(), names, rotation=35, ha="right", rotation_mode="anchor")
            axes.set_ylabel("Present")
        headline(figure, view.title)
    caption = (
        f"{view.title}: {metric.title}{', mean over regions,' if len(view.regions) > 1 else ''} by the modalities "
        "that are present, mean over patients; lighter is better, all panels on one scale. A word stands for no mean."
    )
    return Drawing(f"missing_{view.name}", f"Missing modalities: {view.title}", caption, figure)


def _means(group: MissingGroup) -> NDArray[np.float64]:
    return np.array([[_mean(network, present) for network in group.tested] for present in group.subsets])


def _mean(network: TestedNetwork, present: tuple[str, ...]) -> float:
    summary = network.summary(present)
    return np.nan if summary is None else summary.mean


def _word(network: TestedNetwork) -> str:
    return network.status if network.status != "complete" else "failed" if network.failure else "not tested"
