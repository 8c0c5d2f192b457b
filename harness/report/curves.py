"""Training curves: loss and validation Dice by epoch, one line a cell, one colour and dash a variant."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from harness.report.drawing import DASHES, SINGLE, Drawing, legend, new_figure, palette, styled
from harness.report.evidence import data_name, row_name
from harness.report.variants import Variant, variant_status, variants_of
from harness.results.schema import StudyResults

__all__ = ["training_curves"]


def training_curves(results: StudyResults, dataset: str) -> Drawing | None:
    """Draws loss above validation Dice; ``None`` without a history."""
    cells = results.cells[results.cells["dataset"] == dataset]
    history = results.history.merge(cells[["cell", "label", "leading", "fold", "seed"]], on="cell")
    if history.empty:
        return None
    variants = variants_of(results, dataset)
    name = data_name(results.datasets[dataset])
    with styled():
        figure = new_figure(SINGLE, 4.0)
        upper, lower = figure.subplots(2, 1, sharex=True)
        handles = []
        for number, (variant, colour) in enumerate(zip(variants, palette(len(variants)), strict=True)):
            mine = history[(history["label"] == variant.label) & (history["leading"] == variant.leading)]
            line = Line2D([], [], color=colour, linestyle=DASHES[number % len(DASHES)], linewidth=1.2)
            line.set_label(_label(results, dataset, variant, variants))
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
    return Drawing(f"curves_{dataset}", f"Training: {name}", caption, figure)


def _lines(axes: Axes, history: pd.DataFrame, column: str, style: Line2D) -> None:
    for _, cell in history.dropna(subset=[column]).sort_values("epoch").groupby("cell", sort=True):
        (line,) = axes.plot(cell["epoch"], cell[column], color=style.get_color(), linewidth=style.get_linewidth())
        line.set_linestyle(style.get_linestyle())
        # A single point makes no line: show it as a dot.
        line.set_marker("." if len(cell) == 1 else "")


def _label(results: StudyResults, dataset: str, variant: Variant, variants: list[Variant]) -> str:
    status = variant_status(results, dataset, variant)
    name = row_name(variant, variants)
    return name if status == "complete" else f"{name} ({status})"
