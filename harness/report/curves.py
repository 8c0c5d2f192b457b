"""Training curves: loss and validation Dice by epoch, one line a cell, one colour and dash a variant."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from harness.report.computed import Computed, DatasetView
from harness.report.drawing import DASHES, SINGLE, Drawing, legend, new_figure, palette, styled

__all__ = ["training_curves"]


def training_curves(computed: Computed, view: DatasetView) -> Drawing | None:
    """Draws loss above validation Dice; ``None`` without a history."""
    history = computed.results.history.merge(view.cells[["cell", "method"]].drop_duplicates(), on="cell")
    if history.empty:
        return None
    name, variants = view.title, view.variants
    with styled():
        figure = new_figure(SINGLE, 4.0)
        upper, lower = figure.subplots(2, 1, sharex=True)
        handles = []
        for number, (variant, colour) in enumerate(zip(variants, palette(len(variants)), strict=True)):
            mine = history[history["method"] == view.names[variant]]
            line = Line2D([], [], color=colour, linestyle=DASHES[number % len(DASHES)], linewidth=1.2)
            state = view.status[variant]
            line.set_label(view.names[variant] if state == "complete" else f"{view.names[variant]} ({state})")
            _lines(upper, mine, "loss", line)
            _lines(lower, mine, "val_dice", line)
            handles.append(line)
        upper.set_title(name, loc="left")
        upper.set_ylabel("Training loss")
        lower.set_ylabel("Validation Dice")
        lower.set_xlabel("Epoch")
        lower.xaxis.set_major_locator(MaxNLocator(integer=True))
        legend(figure, handles)
    caption = f"{name}: mean training loss and validation Dice by epoch, one line a fold and seed."
    return Drawing(f"curves_{view.name}", f"Training: {name}", caption, figure)


def _lines(axes: Axes, history: pd.DataFrame, column: str, style: Line2D) -> None:
    for _, cell in history.dropna(subset=[column]).sort_values("epoch").groupby("cell", sort=True):
        (line,) = axes.plot(cell["epoch"], cell[column], color=style.get_color(), linewidth=style.get_linewidth())
        line.set_linestyle(style.get_linestyle())
        # A single point makes no line: show it as a dot.
        line.set_marker("." if len(cell) == 1 else "")
