"""Significance map: which method is better than which, one-sided and corrected."""

from matplotlib.patches import Rectangle

from harness.evaluation import METRICS
from harness.report.analysis.p_values import p_text
from harness.report.figures.figure import INK, SINGLE, Drawing, headline, new_figure, styled, wrapped
from harness.statistics.analysis import Analysis
from harness.statistics.sample_size import ALPHA

_BETTER, _OPEN, _SELF = "#2b3a67", "#ffffff", "#e4e6ec"
_LABEL_WIDTH = 22


def significance_map(analysis: Analysis, title: str) -> Drawing | None:
    """Draws methods against methods, best mean rank first; ``None`` where the data cannot carry the tests.

    Args:
        analysis: Statistics of a dataset, metric and region.
        title: Title of the dataset.
    """
    if analysis.directed is None or analysis.ranking is None:
        return None
    metric = METRICS.get(analysis.metric)
    names = list(analysis.ranking.mean_ranks.sort_values(kind="stable").index)
    matrix = analysis.directed.loc[names, names].to_numpy()
    side = 0.34 * len(names)
    with styled():
        figure = new_figure(max(SINGLE, 1.5 + side), max(2.2, 1.6 + side))
        axes = figure.subplots()
        axes.grid(visible=False)
        for row in range(len(names)):
            for column in range(len(names)):
                better = matrix[row, column] < ALPHA
                colour = _SELF if row == column else _BETTER if better else _OPEN
                corner = (column - 0.5, row - 0.5)
                axes.add_patch(Rectangle(corner, 1, 1, facecolor=colour, edgecolor="#9aa0ad", linewidth=0.5))
                if row != column:
                    text = _p(float(matrix[row, column]))
                    ink = "white" if better else INK
                    axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=5.5)
        ends = (-0.5, len(names) - 0.5)
        axes.set(xlim=ends, ylim=ends[::-1], aspect="equal", xlabel="… than", ylabel="is better …")
        labels = [wrapped(name, _LABEL_WIDTH) for name in names]
        # Upright names keep to their own column, however many lines they have.
        axes.set_xticks(range(len(names)), labels, rotation=90, fontsize=7)
        axes.set_yticks(range(len(names)), labels, fontsize=7)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        headline(figure, f"{title}: {metric.heading}")
    return Drawing(
        f"significance_map_{analysis.dataset}_{analysis.metric}",
        f"Significance map, {metric.title}: {title}",
        f"{title}, {metric.title} ({metric.direction}), {analysis.region}: p that the row's method is better than the "
        f"column's, by one-sided signed-rank tests (Pratt) over {len(analysis.table)} patients, Holm over all ordered "
        f"pairs; dark where p < {ALPHA}. Methods in the order of their mean rank.",
        figure,
    )


def _p(value: float) -> str:
    """A p in the room of a cell."""
    if value > 0.995:
        return "1"
    return (p_text(value) if value < 0.1 else f"{value:.2f}").replace("0.", ".", 1)
