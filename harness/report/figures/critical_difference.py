"""Critical difference diagram: mean ranks on a line, methods that no test tells apart joined by bars."""

import scikit_posthocs

from harness.evaluation import METRICS
from harness.report.figures.figure import DOUBLE, INK, Drawing, headline, new_figure, styled, wrapped
from harness.statistics.analysis import Analysis
from harness.statistics.sample_size import ALPHA

#: Longer names take two lines, so that the axis keeps the middle of the figure.
_LABEL_WIDTH = 24


def critical_difference(analysis: Analysis, title: str) -> Drawing | None:
    """Draws the diagram; ``None`` where the data cannot carry the tests.

    Args:
        analysis: Statistics of a dataset, metric and region.
        title: Title of the dataset.
    """
    if analysis.pairwise is None or analysis.ranking is None:
        return None
    metric = METRICS.get(analysis.metric)
    names = {name: wrapped(str(name), _LABEL_WIDTH) for name in analysis.ranking.mean_ranks.index}
    ranks = analysis.ranking.mean_ranks.rename(names)
    pairwise = analysis.pairwise.rename(index=names, columns=names)
    methods, patients = len(ranks), len(analysis.table)
    margin = 0.03 * max(1.0, float(ranks.max() - ranks.min()))
    with styled():
        lines = max(name.count("\n") + 1 for name in names.values())
        figure = new_figure(DOUBLE, 1.0 + (0.17 if lines == 1 else 0.07 * (1 + lines)) * methods)
        axes = figure.subplots()
        axes.grid(visible=False)
        scikit_posthocs.critical_difference_diagram(
            ranks,
            pairwise,
            alpha=ALPHA,
            ax=axes,
            label_fmt_left="{label}  {rank:.2f} ",
            label_fmt_right=" {rank:.2f}  {label}",
            label_props={"fontsize": 7.5},
            marker_props={"color": INK, "s": 14},
            elbow_props={"color": INK, "linewidth": 0.7},
            # A dot marks each method of a bar: the line alone would also cover one that differs from its neighbours.
            crossbar_props={"color": INK, "linewidth": 2.2, "marker": "o", "markersize": 4},
            text_h_margin=margin,
        )
        axes.spines["top"].set_visible(True)
        ends = (float(ranks.min()) - margin, float(ranks.max()) + margin)
        axes.set(xlabel="mean rank over patients (1 is best)", xlim=ends)
        axes.xaxis.set_label_position("top")
        headline(figure, f"{title}: {metric.heading_with_arrow}")
    omnibus = analysis.omnibus
    test = "" if omnibus is None else f" Friedman χ² = {omnibus.statistic:.1f}, p = {omnibus.p:.2g}."
    return Drawing(
        f"critical_difference_{analysis.dataset}_{analysis.metric}",
        f"Critical difference, {metric.title}: {title}",
        f"{title}, {metric.title} ({metric.direction}), {analysis.region}: mean rank of {methods} methods over "
        f"{patients} patients. Dots joined by a bar are methods that no pairwise signed-rank test (Pratt, Holm over "
        f"all pairs) tells apart at {ALPHA}; a method under a bar without a dot on it does not belong to it.{test}",
        figure,
    )
