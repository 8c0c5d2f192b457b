"""Figures of eleven methods with long names: no text runs into another or out of the picture, and grey suffices."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from harness.data.label_colours import label_colour
from harness.report.analysis.analysis import StudyAnalysis, analyse_study
from harness.report.figures.box_plots import box_plot
from harness.report.figures.costs import cost_plot
from harness.report.figures.critical_difference import critical_difference
from harness.report.figures.figure import Drawing
from harness.report.figures.images.overlays import overlay_figure
from harness.report.figures.images.qualitative import CONFUSED, MISSED, SURPLUS, qualitative_grid
from harness.report.figures.leading_modality import leading_map
from harness.report.figures.learning_curves import training_curves
from harness.report.figures.paired_differences import paired_differences
from harness.report.figures.rank_stability import rank_stability
from harness.report.figures.significance_map import significance_map
from harness.results.overlay import Overlay, write_slices

NAMES = (
    "AAHN", "AAHN without T-CFAF (both halves off)", "AAHN without CMHGF, concatenation instead",
    "nnU-Net 2D full resolution", "Swin-Unet", "TransUNet R50-ViT-B/16 (pretrained)", "UNETR", "MISSFormer",
    "NestedFormer", "nnFormer", "MAML modality-aware mutual learning",
)  # fmt: skip
REGIONS = ("WT", "TC", "ET", "Enhancing rim")


@pytest.fixture(scope="module")
def study(new_study, tmp_path_factory) -> StudyAnalysis:
    """Eleven methods on thirty patients, outliers among them; two lead with either modality, two lack a cell."""
    random, builder, folder = np.random.default_rng(1), new_study(), tmp_path_factory.mktemp("cells")
    builder.dataset(title="Invented", kind="generated", unit="patient", regions=REGIONS)
    people = [f"person-{number:05d}" for number in range(30)]
    hard = random.normal(0, 0.07, (30, 4))
    hard[3] -= 0.4
    for number, label in enumerate(NAMES):
        for leading in ("t1", "epi") if label.startswith("AAHN without") else ("t1",):
            dice = np.clip(0.8 - 0.012 * number + hard + random.normal(0, 0.03, hard.shape), 0, 1)
            scores = [tuple(map(float, each)) for each in dice]
            cell = builder.cell(label, scores, leading=leading, patients=people, cases=people, epochs=10)
            (folder / cell.replace("/", "-")).mkdir()
            path = folder / cell.replace("/", "-") / "overlay.npz"
            builder.overlay(cell, path, shift=number % 5)
            overlay = Overlay.load(path).only("t1")
            write_slices(path.with_name("slices.npz"), dict.fromkeys(people, overlay))
    builder.cell("MISSFormer", seed=1, status="failed", reason="the loss is not finite")
    builder.cell("nnFormer", seed=1, status="new")
    for floor in ("mean template", "all background"):
        builder.floor(floor, [(0.05,) * 4] * 30)
    results = builder.build()
    # The floors were scored on the same cases.
    results.floors["case"] = results.floors["case"].map({f"f0c{number}": name for number, name in enumerate(people)})
    results.floors["patient"] = results.floors["case"]
    sizes = results.cells["label"].map({label: 1e6 * (3 + 9 * number) for number, label in enumerate(NAMES)})
    results.cells["parameters"], results.cells["gflops"] = sizes, sizes / 4e5
    return analyse_study(results)


def texts(figure: Figure) -> Iterator[Text]:
    """Every text that is drawn."""
    figure.draw_without_rendering()
    found = [*figure.texts, *(text for legend in figure.legends for text in legend.get_texts())]
    for axes in figure.axes:
        found += [child for child in axes.get_children() if isinstance(child, Text)]
        if axes.axison:
            for axis in (axes.xaxis, axes.yaxis):
                low, high = sorted(axis.get_view_interval())
                shown = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
                found += [axis.label, *(label for tick in shown for label in (tick.label1, tick.label2))]
    yield from (text for text in found if text.get_visible() and text.get_text().strip())


def assert_readable(drawing: Drawing | None) -> None:
    assert drawing is not None
    figure = drawing.figure
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts(figure)]
    whole = figure.bbox.padded(2)
    outside = [name for name, box in boxes if box.width and not (whole.contains(*box.min) and whole.contains(*box.max))]
    assert outside == []
    shrunk = [(name, box.padded(-0.12 * min(box.width, box.height))) for name, box in boxes if box.width]
    crossing = [(one, other) for (one, a), (other, b) in combinations(shrunk, 2) if a.overlaps(b)]
    assert crossing == []


@pytest.mark.parametrize("draw", [box_plot, cost_plot, leading_map, qualitative_grid, overlay_figure, training_curves])
def test_texts_of_the_figures_of_a_dataset_stand_apart(study: StudyAnalysis, draw) -> None:
    assert_readable(draw(study, study.views["cortex"]))


@pytest.mark.parametrize("draw", [paired_differences, critical_difference, significance_map, rank_stability])
def test_texts_of_the_figures_of_a_metric_stand_apart(study: StudyAnalysis, draw) -> None:
    view = study.views["cortex"]
    assert_readable(draw(view.analyses["dice", view.main], view.title))


def test_numbers_under_paired_differences_leave_room_between_them(study: StudyAnalysis) -> None:
    view = study.views["cortex"]
    drawing = paired_differences(view.analyses["dice", view.main], view.title)
    assert drawing is not None
    drawing.figure.draw_without_rendering()
    (axes,) = drawing.figure.axes
    low, high = axes.get_xlim()
    boxes = [tick.label1.get_window_extent() for tick in axes.xaxis.get_major_ticks() if low <= tick.get_loc() <= high]
    assert all(right.x0 - left.x1 > 0.3 * left.height for left, right in pairwise(boxes))


def lightness(colour: str) -> float:
    return float(np.dot(to_rgb(colour), (0.299, 0.587, 0.114)))


def test_labels_and_errors_differ_in_grey() -> None:
    labels = [lightness(label_colour(value)) for value in (1, 2, 3, 4)]
    errors = [lightness(each) for each in (CONFUSED, MISSED, SURPLUS)]
    for series in (labels, errors):
        assert all(bright - dark > 0.07 for bright, dark in pairwise(series))
    # Errors are drawn on an image that is darkened to a third.
    assert errors[-1] > 1 / 3 + 0.1
