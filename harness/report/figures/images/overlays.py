"""Overlays: one slice with every modality, the truth, and the prediction of each variant."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from harness.data.label_colours import label_colour, tint
from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.analysis.variants import Variant
from harness.report.figures.figure import DOUBLE, Drawing, new_figure, styled, wrapped
from harness.report.figures.images.slices import labels_in, shared_window, show_grey, slice_dice
from harness.results.overlay import Overlay

_MAX_COLUMNS = 6
#: Characters of a title that fit over a panel.
_TITLE_WIDTH = 19
_OPACITY = 0.35


@dataclass(frozen=True)
class _Panel:
    title: str
    image: NDArray[np.uint8]
    labels: NDArray[np.uint8] | None = None


def overlay_figure(study: StudyAnalysis, view: DatasetView) -> Drawing | None:
    """Draws the slice of the first fold and seed that most variants have; ``None`` without an overlay."""
    fold, seed, slices = _first(study, view)
    if not slices:
        return None
    first = next(iter(slices.values()))
    panels = [_Panel(name, image) for name, image in zip(first.modalities, first.images, strict=True)]
    panels.append(_Panel("Truth", first.images[0], first.truth))
    panels += [_prediction(variant, view.names[variant], mine, first) for variant, mine in slices.items()]
    with styled():
        figure = _draw(panels, first, f"{view.title}: {first.name}")
    absent = ", ".join(name for variant, name in view.names.items() if variant not in slices)
    caption = (
        f"{view.title}: {first.name}, fold {fold}, seed {seed}. Dice is of this slice alone, mean over the "
        f"labels in truth or prediction.{f' No prediction to show: {absent}.' if absent else ''}"
    )
    return Drawing(f"overlay_{view.name}", f"One slice: {view.title}", caption, figure)


def _first(study: StudyAnalysis, view: DatasetView) -> tuple[int, int, dict[Variant, Overlay]]:
    """The first fold and seed among those with the most overlays, and its slices in table order."""
    stored = study.results.overlays
    cells = view.cells[view.cells["cell"].isin(list(stored))]
    runs: dict[tuple[int, int], dict[Variant, Path]] = {}
    for row in cells.to_dict("records"):
        variant = Variant(str(row["label"]), str(row["leading"]))
        runs.setdefault((int(row["fold"]), int(row["seed"])), {})[variant] = stored[row["cell"]]
    if not runs:
        return 0, 0, {}
    fold, seed = min(runs, key=lambda run: (-len(runs[run]), run))
    paths = runs[fold, seed]
    slices = {each: Overlay.load(paths[each]) for each in view.variants if each in paths}
    if len({(each.name, each.truth.shape) for each in slices.values()}) > 1:
        return fold, seed, slices
    # The same slice in all: what is black in all of them is cut off.
    rows, columns = shared_window(slices.values(), margin=3)
    window = (..., rows, columns)
    return (
        fold,
        seed,
        {
            variant: replace(
                each, images=each.images[window], truth=each.truth[window], prediction=each.prediction[window]
            )
            for variant, each in slices.items()
        },
    )


def _prediction(variant: Variant, name: str, mine: Overlay, first: Overlay) -> _Panel:
    leading = mine.modalities.index(variant.leading) if variant.leading in mine.modalities else 0
    # Two variants may show different slices where one was scored on other cases: then the title says so.
    where = "" if mine.name == first.name else f"\n{wrapped(mine.name, _TITLE_WIDTH)}"
    title = f"{wrapped(name, _TITLE_WIDTH)}\nDice {slice_dice(mine.truth, mine.prediction):.3f}{where}"
    return _Panel(title, mine.images[leading], mine.prediction)


def _draw(panels: list[_Panel], first: Overlay, title: str) -> Figure:
    plain = len(first.modalities) + 1
    predictions = len(panels) - plain
    columns = min(max(plain, predictions), _MAX_COLUMNS)
    rows = -(-plain // columns) + -(-predictions // columns)
    aspect = first.spacing[0] / first.spacing[1]
    height, width = first.truth.shape
    size = DOUBLE / columns
    lines = sum(
        max(panel.title.count("\n") for panel in row)
        for row in [panels[:plain], *(panels[at : at + columns] for at in range(plain, len(panels), columns))]
    )
    figure = new_figure(DOUBLE, 0.55 + 0.13 * lines + rows * (0.2 + size * min(height * aspect / width, 1.3)))
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    top = -(-plain // columns)
    places = [*grid[:top].flat][:plain] + [*grid[top:].flat][:predictions]
    for axes, panel in zip(places, panels, strict=True):
        _show(axes, panel, aspect)
    handles = [
        Patch(facecolor=(label_colour(label), _OPACITY), edgecolor=label_colour(label), label=first.labels[label])
        for label in labels_in(*(panel.labels for panel in panels if panel.labels is not None))
    ]
    figure.suptitle(title, fontsize=8, x=0.01, ha="left")
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles) or 1, frameon=False)
    return figure


def _show(axes: Axes, panel: _Panel, aspect: float) -> None:
    show_grey(axes, panel.image, aspect)
    axes.set_title(panel.title, fontsize=7.5, pad=3)
    if panel.labels is None:
        return
    axes.imshow(tint(panel.labels, _OPACITY), aspect=aspect, interpolation="nearest")
    for label in labels_in(panel.labels):
        style = "solid" if label % 2 else "dashed"
        mask = (panel.labels == label).astype(float)
        axes.contour(mask, [0.5], colors=[label_colour(label)], linewidths=0.8, linestyles=style)
