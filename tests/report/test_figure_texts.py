"""What a picture says without its caption, and what it must not suggest."""

from __future__ import annotations

import numpy as np
import pytest
from analysed import analysed
from matplotlib.figure import Figure

from harness.report.analysis.analysis import StudyAnalysis, analyse_study
from harness.report.analysis.p_values import p_statement, p_text, starred_p
from harness.report.figures.box_plots import box_plot
from harness.report.figures.costs import cost_plot
from harness.report.figures.critical_difference import critical_difference
from harness.report.figures.images.surfaces import draw_surfaces, nested_labels
from harness.report.figures.leading_modality import leading_map
from harness.report.figures.paired_differences import paired_differences
from harness.report.figures.rank_stability import rank_stability
from harness.report.figures.significance_map import significance_map


def words(figure: Figure) -> str:
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    suptitle = figure.get_suptitle()
    return " ".join([suptitle, *titles])


@pytest.fixture(scope="module")
def study(new_study) -> StudyAnalysis:
    """Four methods on fourteen invented patients; one has no result with one of its leading modalities."""
    random, builder = np.random.default_rng(0), new_study()
    builder.dataset(title="Invented", kind="generated", unit="patient")
    people = [f"p{number:02d}" for number in range(14)]
    for number, label in enumerate(("AAHN", "B", "C", "D")):
        scores = [
            tuple(map(float, row)) for row in np.clip(0.9 - 0.05 * number + random.normal(0, 0.02, (14, 2)), 0, 1)
        ]
        builder.cell(label, scores, patients=people, cases=people)
    builder.cell("B", leading="epi", status="failed", reason="the loss is not finite")
    return analyse_study(builder.build())


@pytest.mark.parametrize("draw", [paired_differences, critical_difference, significance_map, rank_stability])
def test_every_picture_of_a_metric_names_metric_and_kind_of_data(study: StudyAnalysis, draw) -> None:
    view = study.views["cortex"]
    drawing = draw(view.analyses["dice", view.main], view.title)
    assert "Invented, generated data: Dice" in words(drawing.figure)


@pytest.mark.parametrize("draw", [box_plot, cost_plot, leading_map])
def test_every_picture_of_a_dataset_names_the_kind_of_data(study: StudyAnalysis, draw) -> None:
    assert "Invented, generated data" in words(draw(study, study.views["cortex"]).figure)


def test_the_map_of_leading_modalities_says_where_there_is_no_mean(study: StudyAnalysis) -> None:
    drawing = leading_map(study, study.views["cortex"])
    assert drawing is not None
    # Two regions and their mean, in Dice and in HD95.
    assert sum(text.get_text() == "failed" for axes in drawing.figure.axes for text in axes.texts) == 2 * 3


def test_costs_that_hardly_differ_are_drawn_near_each_other(builder) -> None:
    builder.cell("A", [(0.5, 0.6), (0.6, 0.7)])
    builder.cell("B", [(0.5, 0.7), (0.6, 0.7)])
    results = builder.build()
    results.cells["parameters"] = [1_000_000, 1_001_000]
    study = analysed(results)
    drawing = cost_plot(study, study.views["cortex"])
    assert drawing is not None
    low, high = drawing.figure.axes[0].get_xlim()
    assert high / low >= 2 * (1 - 1e-9)
    assert low < 1 < 1.001 < high


def test_a_box_of_few_cases_spans_them_all_and_has_no_whiskers(builder) -> None:
    builder.dataset(regions=("Cortex",))
    builder.cell("few", [(0.2,), (0.3,), (0.9,)], cases=["a", "b", "c"])
    study = analyse_study(builder.build())
    drawing = box_plot(study, study.views["cortex"])
    assert drawing is not None
    (box,) = drawing.figure.axes[0].patches
    heights = box.get_path().vertices[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((0.2, 0.9))
    assert "fewer than 5 cases" in drawing.caption


def nested_balls() -> np.ndarray:
    place = np.indices((24, 24, 24))
    distance = np.sqrt(((place - 12) ** 2).sum(0))
    labels = np.zeros(distance.shape, np.uint8)
    labels[distance < 11], labels[distance < 7], labels[distance < 4] = 2, 3, 1
    return labels


def test_the_outer_of_nested_surfaces_are_seen_through() -> None:
    labels = nested_balls()
    assert nested_labels(labels) == {1: set(), 2: {1, 3}, 3: {1}}
    figure = draw_surfaces({"Truth": labels}, (1.0, 1.0, 1.0), ("background", "core", "oedema", "rim"))
    meshes = sorted(figure.axes[0].collections, key=lambda mesh: mesh.get_zorder())
    opacities = [mesh.get_alpha() for mesh in meshes]
    assert opacities == sorted(opacities)
    assert opacities[-1] == 1
    assert opacities[0] < 0.3


def test_surfaces_side_by_side_are_solid() -> None:
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[2:8, 2:18, 2:18], labels[11:18, 2:18, 2:18] = 1, 2
    assert nested_labels(labels) == {1: set(), 2: set()}
    figure = draw_surfaces({"Truth": labels}, (1.0, 1.0, 1.0), ("background", "left", "right"))
    assert {mesh.get_alpha() for mesh in figure.axes[0].collections} == {1}


@pytest.mark.parametrize(
    ("value", "said", "starred"),
    [
        (0.0004, "p < 0.001", "<0.001*"),
        (0.0321, "p = 0.032", "0.032*"),
        (0.04996, "p < 0.05", "<0.05*"),
        (0.05, "p = 0.050", "0.050"),
        (1.0, "p = 1.000", "1.000"),
    ],
)
def test_a_printed_p_agrees_with_its_star(value: float, said: str, starred: str) -> None:
    assert (p_statement(value), starred_p(value)) == (said, starred)
    assert p_text(value) == starred.rstrip("*")
