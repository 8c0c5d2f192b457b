"""Dots of paired differences and box plots: where they are in the picture, and what the page says of them."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.report.analysis.analysis import StudyAnalysis, analyse_study
from harness.report.figures.box_plots import box_plot
from harness.report.figures.figure import MANY, Drawing, render
from harness.report.figures.paired_differences import paired_differences
from harness.report.writers.html import html_page
from harness.results.overlay import Overlay, write_slices

WHITE = 250


def drawn(builder, patients: int, boxes: bool = False) -> tuple[StudyAnalysis, Drawing, bytes]:
    random = np.random.default_rng(0)
    builder.reference = "Plain"
    names = [f"p{number:03d}" for number in range(patients)]
    for label, gain in (("Plain", 0.0), ("Better <b>", 0.05)):
        dice = np.clip(0.7 + gain + random.normal(0, 0.05, (patients, 2)), 0, 1)
        builder.cell(label, [tuple(map(float, row)) for row in dice], patients=names, cases=names)
    study = analyse_study(builder.build())
    view = study.views["cortex"]
    drawing = box_plot(study, view) if boxes else paired_differences(view.analyses["dice", "Mean"], "Cortex")
    assert drawing is not None
    return study, drawing, render(drawing.figure)["png"]


@pytest.mark.parametrize(("patients", "boxes"), [(30, True), (MANY + 50, False)])
def test_a_point_is_where_its_dot_is(builder, patients: int, boxes: bool) -> None:
    _, drawing, png = drawn(builder, patients, boxes)
    picture = np.asarray(Image.open(io.BytesIO(png)).convert("L"))
    height, width = picture.shape
    if patients <= MANY:  # boxes: two metrics of two methods in two regions and their mean
        assert len(drawing.points) == (12 * patients if boxes else patients)
    assert len(drawing.points) > 4
    for point in drawing.points:
        left, top = point.place()
        row, column = int(top * height), int(left * width)
        assert picture[row - 3 : row + 4, column - 3 : column + 4].min() < WHITE, point.text  # rings are white inside


def test_the_page_names_each_dot(builder) -> None:
    study, drawing, png = drawn(builder, 30)
    page = html_page(study, ["Yes."], [], [drawing], {drawing.name: png})
    spots = re.findall(r'<a class="spot" title="([^"]+)" style="left:([\d.]+)%;top:([\d.]+)%">', page)
    assert len(spots) == 30
    assert sum(text.startswith("p007: Better &lt;b&gt; ") for text, _, _ in spots) == 1
    assert all(0 < float(left) < 100 and 0 < float(top) < 100 for _, left, top in spots)


def test_a_dot_of_a_box_is_a_case_with_its_score(builder) -> None:
    study, drawing, _ = drawn(builder, 30, boxes=True)
    (dot,) = [point for point in drawing.points if point.text.startswith("p007: Plain, Mean, Dice ")]
    table = study.views["cortex"].analyses["dice", "Mean"].by_case["Plain"]
    assert dot.text == f"p007: Plain, Mean, Dice {table.xs('p007', level='case').item():.3f}"
    assert (dot.case, dot.patient) == ("p007", "p007")


def test_of_too_many_dots_those_beyond_the_whiskers_are_named(builder) -> None:
    builder.reference = "a"
    values = np.random.default_rng(1).normal(0.5, 0.03, (180, 2))
    values[3] = 0.01
    for label in "abcd":
        builder.cell(label, [tuple(map(float, row)) for row in values], cases=[f"c{n}" for n in range(180)])
    study = analyse_study(builder.build())
    drawing = box_plot(study, study.views["cortex"])
    assert drawing is not None
    assert 0 < len(drawing.points) < 200
    assert {"c3"} <= {point.case for point in drawing.points}
    assert all(point.is_outer for point in drawing.points)


def test_a_dot_leads_to_the_images_of_its_case(builder, tmp_path: Path) -> None:
    builder.overlay("cortex-Plain-t1-0-0", tmp_path / "overlay.npz")
    overlay = Overlay.load(tmp_path / "overlay.npz").only("t1")
    write_slices(tmp_path / "slices.npz", dict.fromkeys([f"p{number:03d}" for number in range(30)], overlay))
    study, drawing, png = drawn(builder, 30)
    page = html_page(study, ["Yes."], [], [drawing], {drawing.name: png})
    targets = re.findall(r'class="spot" href="#([^"]+)"', page)
    pictured = re.findall(r'<details id="([^"]+)">', page)
    assert len(pictured) == 24  # as many cases as the page shows images of
    assert sorted(targets) == sorted(pictured)
