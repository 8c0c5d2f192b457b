"""Qualitative grid: worst, median and best case by rule; the same slice for every variant, and its errors under it."""

import textwrap
from typing import Any

import numpy as np
from matplotlib.colors import to_rgba
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from harness.boxes import Box
from harness.data.label_colours import label_colour, tint
from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.analysis.case_selection import SELECTION_RULE, load_slices, select_cases
from harness.report.analysis.variants import Variant
from harness.report.figures.figure import DOUBLE, INK, SINGLE, Drawing, headline, new_figure, styled
from harness.report.figures.images.slices import labels_in, shared_window, show_grey, slice_dice
from harness.results.overlay import Overlay

#: Colours of voxels that are predicted in excess, missed, or under another label, lighter than the darkened image.
SURPLUS, MISSED, CONFUSED = "#E0475B", "#B9A5FF", "#FFFFFF"
#: Variants a figure; more would make the panels too small to judge.
_MAX_VARIANTS = 12
#: Inches along the side of a panel.
_LARGEST = 1.3
_TITLE_SIZE = 5.5
_OPACITY = 0.55


def qualitative_grid(study: StudyAnalysis, view: DatasetView) -> Drawing | None:
    """Draws two rows per case (prediction, errors); ``None`` where no slices are stored."""
    chosen = select_cases(study.results, view)
    stored = load_slices(study.results, view, list(chosen.values()))
    rows = [(place, case, stored[case]) for place, case in chosen.items() if case in stored]
    if not rows:
        return None
    shown = [variant for variant in view.variants if any(variant in slices for *_, slices in rows)]
    left, shown = shown[_MAX_VARIANTS:], shown[:_MAX_VARIANTS]
    windows = {case: shared_window(slices.values(), margin=4) for _, case, slices in rows}
    # Few variants would otherwise give panels of half a page each.
    size = min(DOUBLE / (len(shown) + 1), _LARGEST)
    across = DOUBLE if size < _LARGEST else max(SINGLE, size * (len(shown) + 1))
    heights = []
    for _, case, slices in rows:
        first = next(iter(slices.values()))
        height, width = first.truth[windows[case]].shape
        heights += [min(height * first.spacing[0] / (width * first.spacing[1]), 1.5)] * 2
    with styled():
        figure = new_figure(across, 0.75 + sum(size * height + 0.14 for height in heights))
        grid = figure.subplots(2 * len(rows), len(shown) + 1, squeeze=False, height_ratios=heights)
        for number, (place, case, slices) in enumerate(rows):
            _case_rows(grid[2 * number : 2 * number + 2], place, slices, shown, windows[case])
        for axes, title in zip(grid[0], ["Truth", *(view.names[each] for each in shown)], strict=True):
            axes.set_title(f"{_title(title, size)}\n{axes.get_title()}", fontsize=_TITLE_SIZE, pad=2)
        present = labels_in(*(each.truth for *_, slices in rows for each in slices.values()))
        names = next(iter(rows[0][2].values())).labels
        figure.legend(
            handles=_handles(present, names),
            loc="outside lower center",
            ncols=4 if across == DOUBLE else 2,
            frameon=False,
            fontsize=6.5,
        )
        headline(figure, view.title)
    where = "; ".join(f"{place}: {next(iter(slices.values())).name}" for place, _, slices in rows)
    absent = ", ".join(view.names[each] for each in left)
    caption = (
        f"{view.title}: {SELECTION_RULE} ({where}). The slice is the one with most foreground in the truth. Above: the "
        "prediction in colour, the outline of the truth in white, Dice of the slice; below: its errors. The first fold "
        f"and seed of each variant.{f' Not drawn for want of room: {absent}.' if left else ''}"
    )
    return Drawing(f"qualitative_{view.name}", f"Worst, median and best case: {view.title}", caption, figure)


def _title(text: str, size: float) -> str:
    """A name in lines as wide as a panel; a word wider than that is broken."""
    return textwrap.fill(text, max(6, int(size * 72 / (0.55 * _TITLE_SIZE))))


def _case_rows(
    grid: NDArray[Any],
    place: str,
    slices: dict[Variant, Overlay],
    shown: list[Variant],
    window: Box,
) -> None:
    first = next(iter(slices.values()))
    image, truth = first.images[0][window], first.truth[window]
    aspect = first.spacing[0] / first.spacing[1]
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
    show_grey(grid[0, 0], image, aspect)
    grid[0, 0].imshow(tint(truth, _OPACITY), aspect=aspect, interpolation="nearest")
    grid[0, 0].set_ylabel(place, fontsize=7)
    show_grey(grid[1, 0], image, aspect)
    grid[1, 0].set_ylabel("errors", fontsize=6)
    for column, variant in enumerate(shown, start=1):
        upper, lower = grid[0, column], grid[1, column]
        mine = slices.get(variant)
        if mine is None:
            upper.text(0.5, 0.5, "no result", ha="center", va="center", fontsize=6, transform=upper.transAxes)
            continue
        prediction = mine.prediction[window]
        show_grey(upper, image, aspect)
        upper.imshow(tint(prediction, _OPACITY), aspect=aspect, interpolation="nearest")
        if truth.any():
            upper.contour(truth > 0, [0.5], colors="white", linewidths=0.5)
        upper.set_title(f"{slice_dice(mine.truth, mine.prediction):.2f}", fontsize=5.5, pad=1)
        show_grey(lower, image // 3, aspect)
        lower.imshow(_errors(truth, prediction), aspect=aspect, interpolation="nearest")


def _errors(truth: NDArray[np.uint8], prediction: NDArray[np.uint8]) -> NDArray[np.float64]:
    shown = np.zeros((*truth.shape, 4))
    wrong = truth != prediction
    for colour, place in (
        (SURPLUS, wrong & (truth == 0)),
        (MISSED, wrong & (prediction == 0)),
        (CONFUSED, wrong & (truth > 0) & (prediction > 0)),
    ):
        shown[place] = to_rgba(colour)
    return shown


def _handles(present: list[int], names: tuple[str, ...]) -> list[Patch | Line2D]:
    handles: list[Patch | Line2D] = [Patch(facecolor=label_colour(value), label=names[value]) for value in present]
    handles += [
        Patch(facecolor=SURPLUS, edgecolor=INK, linewidth=0.4, label="errors: too much"),
        Patch(facecolor=MISSED, edgecolor=INK, linewidth=0.4, label="errors: missed"),
    ]
    if len(present) > 1:
        handles.append(Patch(facecolor=CONFUSED, edgecolor=INK, linewidth=0.4, label="errors: wrong label"))
    return handles
