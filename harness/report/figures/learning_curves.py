"""Training curves: loss and validation Dice by epoch, one line per cell, one colour and dash per variant."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from matplotlib.typing import LineStyleType

from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.analysis.variants import Variant
from harness.report.figures.figure import (
    DASHES,
    DOUBLE,
    SINGLE,
    Drawing,
    legend,
    legend_height,
    new_figure,
    palette,
    styled,
    write_title,
)

#: Variants whose legend leaves room in one column of a paper.
_FEW = 6
_WIDTH = 1.2


def training_curves(study: StudyAnalysis, view: DatasetView) -> Drawing | None:
    """Draws loss above validation Dice; ``None`` without a history."""
    history = study.results.history.merge(view.cells[["cell", "method"]].drop_duplicates(), on="cell")
    if history.empty:
        return None
    name, variants = view.title, view.variants
    labels = [_label(view, variant) for variant in variants]
    few = len(variants) <= _FEW
    width = SINGLE if few else DOUBLE
    with styled():
        figure = new_figure(width, legend_height(labels, width) + (3.4 if few else 2.6))
        upper, lower = figure.subplots(*((2, 1) if few else (1, 2)), sharex=True)
        handles = []
        for number, (variant, colour) in enumerate(zip(variants, palette(len(variants)), strict=True)):
            mine = history[history["method"] == view.names[variant]]
            dash = DASHES[number % len(DASHES)]
            _lines(upper, mine, "loss", colour, dash)
            _lines(lower, mine, "val_dice", colour, dash)
            handles.append(Line2D([], [], color=colour, linestyle=dash, linewidth=_WIDTH, label=labels[number]))
        write_title(figure, upper, name)
        upper.set_ylabel("Training loss")
        lower.set_ylabel("Validation Dice")
        for axes in (lower,) if few else (upper, lower):
            axes.set_xlabel("Epoch")
        lower.xaxis.set_major_locator(MaxNLocator(integer=True))
        legend(figure, handles)
    caption = f"{name}: mean training loss and validation Dice by epoch, one line per fold and seed."
    return Drawing(f"curves_{view.name}", f"Training: {name}", caption, figure)


def _label(view: DatasetView, variant: Variant) -> str:
    state = view.status[variant]
    return view.names[variant] if state == "complete" else f"{view.names[variant]} ({state})"


def _lines(
    axes: Axes, history: pd.DataFrame, column: str, colour: tuple[float, float, float], dash: LineStyleType
) -> None:
    for _, cell in history.dropna(subset=[column]).sort_values("epoch").groupby("cell", sort=True):
        # The dash itself: a line that is asked for its style calls every dash "--".
        (line,) = axes.plot(cell["epoch"], cell[column], color=colour, linewidth=_WIDTH, linestyle=dash)
        # A single point makes no line: show it as a dot.
        line.set_marker("." if len(cell) == 1 else "")
