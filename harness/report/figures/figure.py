"""What all figures share: type, colours that survive grey printing and colour blindness, and saving."""

import io
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.typing import LineStyleType

#: Widths of one and of two columns of a paper, in inches.
SINGLE, DOUBLE = 3.5, 7.16

#: Characters in a line of the legend: two columns of this fit one column of a paper, four fit two.
_LEGEND_WIDTH = 20

#: Characters of a headline in an inch.
_PER_INCH = 14

#: Inches that the labels of a vertical axis take.
_LABEL_WIDTH = 0.5

#: How far towards viridis' yellow lines and boxes go.
_LIGHTEST = 0.85

#: More dots than this are drawn faint and as pixels, so that vector files stay small.
MANY = 200

#: A page names no more dots of a figure: it would be slow.
MOST_NAMED = 2000

#: Text, edges and points.
INK = "#1f2430"

HATCHES = ("", "////", "....", "xxxx", "----", "++", "\\\\\\\\", "oo")
DASHES: tuple[LineStyleType, ...] = (
    "-",
    (0, (4, 1.5)),
    (0, (1, 1)),
    (0, (5, 1.2, 1, 1.2)),
    (0, (7, 2)),
    (0, (3, 1, 1, 1, 1, 1)),
)

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7,
    "legend.fontsize": 7.5,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#dfe2e8",
    "grid.linewidth": 0.5,
    "hatch.linewidth": 0.5,
    # Labels are the user's: a dollar sign in one is a dollar sign.
    "text.parse_math": False,
    # A figure names its layout, whatever the user's default is.
    "figure.autolayout": False,
    "figure.constrained_layout.use": False,
    # Fonts as TrueType: journals refuse Type 3.
    "pdf.fonttype": 42,
}


@dataclass(frozen=True)
class Point:
    """A patient that is drawn as a dot, so that a page can name it.

    Attributes:
        axes: Axes that it is drawn on.
        x: Place along the first axis, in data units.
        y: Place along the second.
        patient: Name of the patient.
        text: What is said of it.
        case: Name of the case, where the dot is one case.
        is_outer: Whether it lies beyond the whiskers of a box.
    """

    axes: Axes
    x: float
    y: float
    patient: str
    text: str
    case: str = ""
    is_outer: bool = False

    def place(self) -> tuple[float, float]:
        """Returns where it is in the rendered figure: from the left and from the top, as shares of its size."""
        figure = self.axes.get_figure(root=True)
        if figure is None:
            raise ValueError("the axes are on no figure")
        left, bottom = figure.transFigure.inverted().transform(self.axes.transData.transform((self.x, self.y)))
        return float(left), 1 - float(bottom)


@dataclass(frozen=True)
class Drawing:
    """A figure with its words.

    Attributes:
        name: File name without suffix.
        title: Short title.
        caption: Sentences under the figure: what is drawn, on what data.
        figure: The figure.
        points: Patients that are dots in it.
    """

    name: str
    title: str
    caption: str
    figure: Figure
    points: tuple[Point, ...] = ()


@contextmanager
def styled() -> Iterator[None]:
    """Applies the report's style while drawing or saving, and leaves matplotlib as it was."""
    with mpl.rc_context(_STYLE):
        yield


def new_figure(width: float, height: float) -> Figure:
    """A figure outside pyplot: nothing global holds it, so nothing has to close it."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def headline(figure: Figure, text: str) -> None:
    """Writes over the whole figure what data it shows: a figure travels without its caption."""
    per_line = int(figure.get_figwidth() * _PER_INCH)
    lines = wrapped(text, per_line)
    figure.suptitle(lines, fontsize=8, x=0.01, ha="left")
    figure.set_figheight(figure.get_figheight() + 0.06 + 0.14 * (1 + lines.count("\n")))


def write_title(figure: Figure, axes: Axes, text: str) -> None:
    """Writes a title over axes that begin at the figure's left, in lines that the figure holds whole."""
    lines = wrapped(text, int((figure.get_figwidth() - _LABEL_WIDTH) * _PER_INCH))
    axes.set_title(lines, loc="left")
    figure.set_figheight(figure.get_figheight() + 0.14 * lines.count("\n"))


def wrapped(text: str, width: int) -> str:
    """The text in lines of a width; a word is never broken, because half a name names nothing."""
    return textwrap.fill(text, width, break_long_words=False)


def legend_height(labels: Sequence[str], width: float) -> float:
    """Inches that a legend of these labels takes above the axes of a figure of a width."""
    lines = [wrapped(label, _LEGEND_WIDTH).count("\n") + 1 for label in labels]
    columns = _legend_columns(width)
    # Matplotlib fills its columns from the left, the first ones with one entry more.
    rest, most = len(lines) % columns, -(-len(lines) // columns)
    sizes = [most - (1 if rest and column >= rest else 0) for column in range(columns)]
    starts = [sum(sizes[:column]) for column in range(columns)]
    return max(
        sum(0.125 * n + 0.05 for n in lines[start : start + size]) for start, size in zip(starts, sizes, strict=True)
    )


def legend(figure: Figure, handles: Sequence[Artist]) -> None:
    """Puts a legend above the axes, with labels broken so that its columns fit the figure."""
    for handle in handles:
        handle.set_label(wrapped(str(handle.get_label()), _LEGEND_WIDTH))
    figure.legend(
        handles=list(handles),
        loc="outside upper left",
        ncols=_legend_columns(figure.get_figwidth()),
        frameon=False,
        handlelength=2.6,
        handletextpad=0.6,
        columnspacing=1.2,
    )


def _legend_columns(width: float) -> int:
    return 2 if width <= SINGLE else 4


def palette(number: int) -> list[tuple[float, float, float]]:
    """Colours from dark to light, distinct to colour-blind eyes and in grey; the lightest is still seen on white."""
    viridis = mpl.colormaps["viridis"]
    return [(float(r), float(g), float(b)) for r, g, b, _ in viridis(np.linspace(0, _LIGHTEST, number))]


def pale(colour: tuple[float, float, float]) -> tuple[float, float, float]:
    """The colour light enough for ink to be read on it, in the same order of lightness."""
    red, green, blue = 1 - 0.55 * (1 - np.asarray(colour))
    return float(red), float(green), float(blue)


def render(figure: Figure) -> dict[str, bytes]:
    """The figure as ``pdf`` and ``png``; the same results give the same bytes."""
    files = {}
    with styled():
        for suffix, metadata in (("pdf", {"CreationDate": None}), ("png", {"Software": None})):
            buffer = io.BytesIO()
            # The layout is computed once: both files are the same drawing.
            figure.savefig(buffer, format=suffix, dpi=220, metadata=metadata)
            files[suffix] = buffer.getvalue()
            # Not "none", which keeps a stand-in for which the next file would be drawn once more.
            figure.set_layout_engine(None)
    return files
