"""Figure of a race: validation Dice by epoch, one line per candidate, which ends where the candidate stopped."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.typing import LineStyleType

from harness.leading.race import Rung
from harness.leading.runs import Trainings
from harness.report.analysis.modalities.lead_words import NONE
from harness.report.figures.figure import DASHES, INK, SINGLE, legend, new_figure, palette, styled

#: Candidates are drawn side by side at a rung, this share of the smallest gap between rungs apart.
_ASIDE = 0.05

_WIDTH = 1.3


def draw_race(trainings: Trainings, rungs: Sequence[Rung], beyond: bool) -> Figure:
    """Draws mean validation Dice with 95 % intervals at every rung.

    Args:
        trainings: Trainings of the race.
        rungs: All rungs.
        beyond: Whether stopped candidates were trained to the end afterwards; that part is drawn faint.
    """
    plan = trainings.plan
    reached = {candidate: rung.epoch for rung in rungs for candidate in rung.candidates}
    gaps = [later - earlier for earlier, later in zip((0, *plan.rungs), plan.rungs, strict=False)]
    with styled():
        figure = new_figure(SINGLE, 2.9)
        axes = figure.subplots()
        handles = []
        for number, (candidate, colour) in enumerate(zip(plan.candidates, palette(len(plan.candidates)), strict=True)):
            aside = (number - (len(plan.candidates) - 1) / 2) * _ASIDE * min(gaps)
            dash = DASHES[number % len(DASHES)]
            label = "no leading" if candidate == NONE else candidate
            handles.append(Line2D([], [], color=colour, linestyle=dash, linewidth=_WIDTH, label=label))
            epochs = [epoch for epoch in plan.rungs if epoch <= reached[candidate]]
            _line(axes, trainings, candidate, epochs, aside, colour, dash, 1.0)
            if reached[candidate] < rungs[-1].epoch:
                height = trainings.scores(candidate, epochs[-1]).mean()
                axes.plot([epochs[-1] + aside], [height], marker="x", color=colour, markersize=7, markeredgewidth=1.6)
            if beyond:
                rest = [epoch for epoch in plan.rungs if epoch >= reached[candidate]]
                _line(axes, trainings, candidate, rest, aside, colour, dash, 0.3)
        handles.append(Line2D([], [], color=INK, marker="x", linestyle="", label="stopped"))
        winner = rungs[-1].survivors[0]
        height = trainings.scores(winner, rungs[-1].epoch).mean()
        axes.annotate(
            "first", (rungs[-1].epoch, height), (4, 6), textcoords="offset points", fontsize=7, annotation_clip=False
        )
        axes.set(xticks=list(plan.rungs), xlabel="Epochs (rungs of the race)", ylabel="Validation Dice")
        axes.set_title(f"Which modality leads?\n{plan.data}", loc="left")  # two lines: one would not fit
        legend(figure, handles)
    return figure


def _line(
    axes: Axes,
    trainings: Trainings,
    candidate: str,
    epochs: Sequence[int],
    aside: float,
    colour: tuple[float, float, float],
    dash: LineStyleType,
    alpha: float,
) -> None:
    tables = [trainings.scores(candidate, epoch) for epoch in epochs]
    means = [float(table.mean()) for table in tables]
    ends = [trainings.draws.interval(table) for table in tables]
    # An interval of percentiles need not hold the mean where there are few patients.
    below = [max(0.0, mean - end.low) for mean, end in zip(means, ends, strict=True)]
    above = [max(0.0, end.high - mean) for mean, end in zip(means, ends, strict=True)]
    places = [epoch + aside for epoch in epochs]
    axes.plot(places, means, color=colour, linestyle=dash, linewidth=_WIDTH, alpha=alpha, marker="o", markersize=3)
    axes.errorbar(places, means, yerr=[below, above], fmt="none", ecolor=colour, elinewidth=0.7, alpha=alpha)
