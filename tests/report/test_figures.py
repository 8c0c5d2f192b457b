from __future__ import annotations

import io
import re
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from analysed import analysed
from matplotlib.colors import to_hex, to_rgb
from PIL import Image

from harness.report.figures.box_plots import box_plot
from harness.report.figures.figure import Drawing, palette, render
from harness.report.figures.images.overlays import overlay_figure
from harness.report.figures.images.slices import slice_dice
from harness.report.figures.images.surfaces import surface_mesh
from harness.report.figures.learning_curves import training_curves
from harness.results.schema import StudyResults


def draw(function, results: StudyResults) -> Drawing | None:
    study = analysed(results)
    return function(study, study.views["cortex"])


def test_boxes_one_axes_per_metric_one_box_per_variant_and_region(ablation: StudyResults) -> None:
    drawing = draw(box_plot, ablation)
    assert drawing is not None
    assert len(drawing.figure.axes) == 2
    for axes in drawing.figure.axes:
        # Four variants, each in two regions and their mean, with three cases a box.
        assert len(axes.patches) == 4 * 3
        assert sum(len(dots.get_offsets()) for dots in axes.collections) == 4 * 3 * 3
        sides = sorted((box.get_path().get_extents().x0, box.get_path().get_extents().x1) for box in axes.patches)
        assert all(right[0] > left[1] for left, right in pairwise(sides))  # side by side, not one over another
    assert "embedded data" in drawing.figure.axes[0].get_title(loc="left")
    assert "1 patient: no significance test" in drawing.caption


def test_floor_lines_stand_at_the_floor_means(ablation: StudyResults) -> None:
    drawing = draw(box_plot, ablation)
    assert drawing is not None
    dashed = [line for line in drawing.figure.axes[0].lines if line.get_linestyle() == "--"]
    assert [line.get_ydata()[0] for line in dashed] == pytest.approx([0.55, 0.73, 0.64])


def test_floors_beyond_the_boxes_are_still_in_the_picture(builder) -> None:
    builder.cell("A", [(0.5, 0.6), (0.6, 0.7)])
    builder.floor("near", [(0.63, 0.73), (0.63, 0.73)])
    builder.floor("far", [(0.99, 0.99), (0.99, 0.99)])
    drawing = draw(box_plot, builder.build())
    assert drawing is not None
    axes = drawing.figure.axes[0]
    assert axes.get_ylim()[0] < 0.63 < 0.73 < axes.get_ylim()[1] < 0.99
    assert {text.get_text() for text in axes.texts} == {"▲ 0.990"}


def test_a_failed_variant_has_no_box_but_stands_in_the_legend(builder) -> None:
    builder.cell("A", [(0.5, 0.6), (0.7, 0.8)])
    builder.cell("B", [(0.9, 0.9), (0.9, 0.9)], seed=0)
    builder.cell("B", seed=1, status="failed")
    drawing = draw(box_plot, builder.build())
    assert drawing is not None
    assert len(drawing.figure.axes[0].patches) == 3
    assert [text.get_text() for text in drawing.figure.legends[0].get_texts()] == ["A", "B (failed)"]


def test_nothing_to_draw_is_none(builder) -> None:
    builder.cell("A", status="failed")
    results = builder.build()
    assert [draw(each, results) for each in (box_plot, training_curves, overlay_figure)] == [None] * 3


def test_curves_have_one_line_per_cell(builder) -> None:
    for label in ("A", "B"):
        for seed in (0, 1, 2):
            builder.cell(label, [(0.5, 0.5)], seed=seed, epochs=5)
    drawing = draw(training_curves, builder.build())
    assert drawing is not None
    loss, dice = drawing.figure.axes
    assert (len(loss.lines), len(dice.lines)) == (6, 6)
    assert list(loss.lines[0].get_xdata()) == [1, 2, 3, 4, 5]
    # Epochs without validation leave no gap and no zero.
    assert list(dice.lines[0].get_xdata()) == [2, 4]


def test_the_dash_of_a_curve_is_that_of_its_legend(builder) -> None:
    for label in ("A", "B", "C"):
        builder.cell(label, [(0.5, 0.5)], epochs=5)
    drawing = draw(training_curves, builder.build())
    assert drawing is not None
    file = io.StringIO()
    drawing.figure.savefig(file, format="svg")
    dashes = []
    for colour in (to_hex(line.get_color()) for line in drawing.figure.legends[0].get_lines()):
        styles = re.findall(rf'style="fill: none;([^"]*)stroke: {colour};', file.getvalue())
        # Loss and validation Dice, and the line of the legend.
        assert len(styles) == 3
        dashes.append(set(styles))
    assert [len(each) for each in dashes] == [1, 1, 1]
    assert len(set.union(*dashes)) == 3


def test_overlay_shows_modalities_truth_and_predictions(ablation: StudyResults) -> None:
    drawing = draw(overlay_figure, ablation)
    assert drawing is not None
    titles = [axes.get_title() for axes in drawing.figure.axes if axes.get_title()]
    assert titles[:3] == ["t1", "epi", "Truth"]
    assert [title.splitlines()[0] for title in titles[3:]] == list(ablation.labels)
    shown = [axes for axes in drawing.figure.axes if axes.images]
    assert {axes.get_aspect() for axes in shown} == {1.5}
    assert "slice 7" in drawing.caption


def test_overlay_takes_the_first_seed_most_variants_have(builder, tmp_path) -> None:
    for label, seeds in (("A", (0, 1)), ("B", (1,))):
        for seed in (0, 1):
            cell = builder.cell(label, [(0.5, 0.5)], seed=seed)
            if seed in seeds:
                builder.overlay(cell, tmp_path / f"{label}{seed}.npz")
    drawing = draw(overlay_figure, builder.build())
    assert drawing is not None
    assert "seed 1" in drawing.caption
    assert "No prediction" not in drawing.caption


def test_slice_dice_is_the_mean_over_labels() -> None:
    truth = np.array([[1, 1, 2, 0]], dtype=np.uint8)
    prediction = np.array([[1, 0, 2, 3]], dtype=np.uint8)
    # Label 1: 2/3, label 2: 1, label 3: 0.
    assert slice_dice(truth, prediction) == pytest.approx(5 / 9)
    assert slice_dice(truth * 0, prediction * 0) == 1


def test_files_are_a_vector_pdf_and_a_sharp_png(report: tuple[Path, list[Path]]) -> None:
    figures = report[0] / "figures"
    pdf = (figures / "boxes_cortex.pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    assert b"/Subtype /Image" not in pdf
    with Image.open(figures / "boxes_cortex.png") as image:
        width, height = image.size
    assert width >= 700
    assert height >= 700


def test_drawing_leaves_matplotlib_as_it_was(ablation: StudyResults) -> None:
    before = dict(mpl.rcParams)
    drawings = [draw(each, ablation) for each in (box_plot, training_curves, overlay_figure)]
    assert None not in drawings
    render(drawings[1].figure)
    assert plt.get_fignums() == []
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("number", [2, 4, 8, 12])
def test_the_palette_is_ordered_by_lightness(number: int) -> None:
    lightness = [float(np.dot(to_rgb(colour), (0.2126, 0.7152, 0.0722))) for colour in palette(number)]
    assert lightness == sorted(lightness)
    assert len(set(lightness)) == number


def test_a_label_of_a_single_voxel_has_a_surface():
    """Between the steps of a coarse mesh there is nothing to find; the report of a short training has such labels."""
    mask = np.zeros((150, 150, 150), bool)
    mask[70, 71, 72] = True
    vertices, faces = surface_mesh(mask, (1.0, 1.0, 2.0))
    assert len(faces) > 0
    np.testing.assert_allclose(vertices.mean(axis=0), (71, 72, 146))
