"""Dots of the paired differences: where they are in the picture, and what the page says of them."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.report.analysis.analysis import StudyAnalysis, analyse_study
from harness.report.figures.figure import MANY, Drawing, render
from harness.report.figures.paired_differences import paired_differences
from harness.report.writers.html import html_page
from harness.results.overlay import Overlay, write_slices

WHITE = 250


def drawn(builder, patients: int) -> tuple[StudyAnalysis, Drawing, bytes]:
    random = np.random.default_rng(0)
    builder.reference = "Plain"
    names = [f"p{number:03d}" for number in range(patients)]
    for label, gain in (("Plain", 0.0), ("Better <b>", 0.05)):
        dice = np.clip(0.7 + gain + random.normal(0, 0.05, (patients, 2)), 0, 1)
        builder.cell(label, [tuple(map(float, row)) for row in dice], patients=names, cases=names)
    study = analyse_study(builder.build())
    drawing = paired_differences(study.views["cortex"].analyses["dice", "Mean"], "Cortex")
    assert drawing is not None
    return study, drawing, render(drawing.figure)["png"]


@pytest.mark.parametrize("patients", [30, MANY + 50])
def test_a_point_is_where_its_dot_is(builder, patients: int) -> None:
    _, drawing, png = drawn(builder, patients)
    picture = np.asarray(Image.open(io.BytesIO(png)).convert("L"))
    height, width = picture.shape
    if patients <= MANY:
        assert len(drawing.points) == patients
    assert len(drawing.points) > 10
    for point in drawing.points:
        left, top = point.place()
        assert picture[int(top * height), int(left * width)] < WHITE, point.text


def test_the_page_names_each_dot(builder) -> None:
    study, drawing, png = drawn(builder, 30)
    page = html_page(study, ["Yes."], [], [drawing], {drawing.name: png})
    spots = re.findall(r'<a class="spot" title="([^"]+)" style="left:([\d.]+)%;top:([\d.]+)%">', page)
    assert len(spots) == 30
    assert sum(text.startswith("p007: Better &lt;b&gt; ") for text, _, _ in spots) == 1
    assert all(0 < float(left) < 100 and 0 < float(top) < 100 for _, left, top in spots)


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
