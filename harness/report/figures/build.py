"""All figures of a report, in the order they are shown: a new figure is its own module and a line here."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.figures.box_plots import box_plot
from harness.report.figures.costs import cost_plot
from harness.report.figures.critical_difference import critical_difference
from harness.report.figures.evidence.modality_value import value_figure
from harness.report.figures.evidence.power import power_curves
from harness.report.figures.figure import Drawing
from harness.report.figures.images.overlays import overlay_figure
from harness.report.figures.images.qualitative import qualitative_grid
from harness.report.figures.images.surfaces import surface_view
from harness.report.figures.leading_modality import leading_map
from harness.report.figures.learning_curves import training_curves
from harness.report.figures.missing_modalities import missing_map
from harness.report.figures.paired_differences import paired_differences
from harness.report.figures.patients.columns import column_figure
from harness.report.figures.patients.shares import share_figure
from harness.report.figures.rank_stability import rank_stability
from harness.report.figures.significance_map import significance_map
from harness.statistics.analysis import Analysis

#: Figures of each dataset; each returns ``None`` where there is nothing to draw.
DATASET_FIGURES: tuple[Callable[[StudyAnalysis, DatasetView], Drawing | None], ...] = (
    box_plot,
    power_curves,
    cost_plot,
    leading_map,
    missing_map,
    value_figure,
    column_figure,
    share_figure,
)
#: Figures of each dataset and metric.
METRIC_FIGURES: tuple[Callable[[Analysis, str], Drawing | None], ...] = (
    paired_differences,
    critical_difference,
    significance_map,
    rank_stability,
)
#: Figures of each dataset that show single cases and trainings.
CASE_FIGURES: tuple[Callable[[StudyAnalysis, DatasetView], Drawing | None], ...] = (
    qualitative_grid,
    overlay_figure,
    surface_view,
    training_curves,
)


def draw_figures(study: StudyAnalysis) -> Iterator[Drawing]:
    """Draws the figures of every dataset."""
    for view in study.views.values():
        for drawing in _draw(study, view):
            yield replace(drawing, caption=" ".join((drawing.caption, *view.paper_only_notes)))


def _draw(study: StudyAnalysis, view: DatasetView) -> Iterator[Drawing]:
    analyses = [view.analyses.get((metric, view.main)) for metric in study.results.metrics]
    yield from filter(None, (draw(study, view) for draw in DATASET_FIGURES))
    for analysis in filter(None, analyses):
        yield from filter(None, (draw(analysis, view.title) for draw in METRIC_FIGURES))
    yield from filter(None, (draw(study, view) for draw in CASE_FIGURES))
