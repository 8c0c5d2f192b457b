"""Box plots: every case of every variant, by region, with the floors as dashed lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from harness.report.drawing import DOUBLE, HATCHES, INK, SINGLE, Drawing, legend, new_figure, pale, palette, styled
from harness.report.evidence import evidence_for, row_name
from harness.report.metrics import MetricStyle, metric_style
from harness.report.summary import MEAN_REGION, floor_summary, per_case
from harness.report.variants import Variant, regions_of, variant_status, variants_of
from harness.results.schema import StudyResults

__all__ = ["box_plot"]

#: More boxes than this side by side need the width of two columns.
_BOXES_PER_COLUMN = 14
_GROUP_WIDTH = 0.84
#: More cases than this are drawn as smaller dots.
_MANY = 15
_FLOOR = "#c4411b"
#: A floor farther from the boxes than this share of their range is written, not drawn.
_FAR = 0.5


def box_plot(results: StudyResults, dataset: str) -> Drawing | None:
    """Draws one axes a metric; ``None`` where no variant is complete.

    A variant that is not complete has no box, as it has no mean, but keeps its colour and stands in the legend.
    """
    variants = variants_of(results, dataset)
    names = {variant: row_name(variant, variants) for variant in variants}
    complete = [variant for variant in variants if variant_status(results, dataset, variant) == "complete"]
    cases = _cases(results, dataset, names)
    drawn = [names[variant] for variant in complete if names[variant] in set(cases["variant"])]
    if not drawn:
        return None
    regions = regions_of(results, dataset)
    shown = [*regions, MEAN_REGION] if len(regions) > 1 else regions
    width = SINGLE if len(shown) * len(drawn) <= _BOXES_PER_COLUMN else DOUBLE
    floors = floor_summary(results)
    floors = floors[floors["dataset"] == dataset]
    evidence = evidence_for(results, dataset)
    with styled():
        figure = new_figure(width, 0.75 + 1.75 * len(results.metrics))
        grid = figure.subplots(len(results.metrics), 1, sharex=True, squeeze=False)[:, 0]
        for axes, metric in zip(grid, results.metrics, strict=True):
            style = metric_style(metric)
            _boxes(axes, cases[cases["metric"] == metric], shown, drawn, list(names.values()))
            _floor_lines(axes, floors[floors["metric"] == metric], shown, style.decimals)
            _label(axes, style)
        grid[0].set_title(evidence.name, loc="left")
        grid[-1].set_xticks(
            range(len(shown)), ["Mean over\nregions" if each == MEAN_REGION else each for each in shown]
        )
        states = {name: variant_status(results, dataset, variant) for variant, name in names.items()}
        handles = _handles(states, drawn, sorted(set(floors["floor"])))
        legend(figure, handles)
    said = "" if floors.empty else " Dashed lines, or ▼ and ▲ where off the scale: mean of a floor."
    refused = f" {evidence.refusal}." if evidence.refusal else ""
    caption = (
        f"{evidence.name}: {evidence.base}. Each dot is one case; boxes span the quartiles, whiskers reach 1.5 "
        f"interquartile ranges.{said}"
        f"{refused}"
    )
    return Drawing(f"boxes_{dataset}", f"Cases by variant and region: {evidence.name}", caption, figure)


def _cases(results: StudyResults, dataset: str, names: dict[Variant, str]) -> pd.DataFrame:
    cases = per_case(results)
    cases = cases[cases["dataset"] == dataset]
    pairs = zip(cases["label"], cases["leading"], strict=True)
    return cases.assign(variant=[names[Variant(str(label), str(leading))] for label, leading in pairs])


def _colours(names: Sequence[str]) -> dict[str, tuple[float, float, float]]:
    return {name: pale(colour) for name, colour in zip(names, palette(len(names)), strict=True)}


def _hatch(names: Sequence[str], name: str) -> str:
    return HATCHES[names.index(name) % len(HATCHES)]


def _boxes(axes: Axes, cases: pd.DataFrame, regions: list[str], drawn: list[str], names: list[str]) -> None:
    common = {"data": cases, "x": "region", "y": "value", "hue": "variant", "order": regions, "hue_order": drawn}
    sns.boxplot(
        **common,
        ax=axes,
        palette=_colours(names),
        saturation=1,
        width=_GROUP_WIDTH,
        gap=0.1,
        showfliers=False,
        linewidth=0.7,
        linecolor=INK,
        medianprops={"linewidth": 1.4},
        legend=False,
    )
    for name, container in zip(drawn, axes.containers, strict=True):
        for box in cast(Any, container).boxes:
            box.set_hatch(_hatch(names, name))
    sns.stripplot(
        **common,
        ax=axes,
        palette=dict.fromkeys(names, "white"),
        dodge=True,
        jitter=False,
        size=2.4 if cases["case"].nunique() <= _MANY else 1.8,
        linewidth=0.5,
        edgecolor=INK,
        legend=False,
    )
    _spread(axes, _GROUP_WIDTH / len(drawn))


def _spread(axes: Axes, width: float) -> None:
    """Moves overlapping dots apart; seaborn's own jitter is random, and the same results must give the same figure."""
    random = np.random.default_rng(0)
    for dots in axes.collections:
        offsets = np.array(dots.get_offsets(), dtype=float)
        offsets[:, 0] += random.uniform(-0.22 * width, 0.22 * width, len(offsets))
        dots.set_offsets(offsets)


def _floor_lines(axes: Axes, floors: pd.DataFrame, regions: list[str], places: int) -> None:
    """Draws floors as lines; one so far off that its line would squash the boxes is written at the edge instead."""
    low, high = axes.get_ylim()
    reach = _FAR * (high - low)
    room = 0.1 * (high - low)  # for what is written, so that it covers no dot
    values = floors["mean"].astype(float)
    axes.set_ylim(low - room * bool((values < low - reach).any()), high + room * bool((values > high + reach).any()))
    for number, name in enumerate(sorted(set(floors["floor"]))):
        mine = floors[floors["floor"] == name]
        means = dict(zip(mine["region"], mine["mean"], strict=True))
        for place, region in enumerate(regions):
            value = float(means[region])
            if low - reach <= value <= high + reach:
                ends = [place - 0.46, place + 0.46]
                axes.plot(ends, [value] * 2, color=_FLOOR, linewidth=1, linestyle=_dash(number))
                continue
            below = value < low
            axes.annotate(
                f"{'▼' if below else '▲'} {value:.{places}f}",
                (place, 0.03 + 0.09 * number if below else 0.97 - 0.09 * number),
                xycoords=axes.get_xaxis_transform(),
                ha="center",
                va="bottom" if below else "top",
                color=_FLOOR,
                fontsize=6.5,
            )


def _dash(number: int) -> tuple[int, tuple[float, ...]]:
    return (0, (3.5, 1.5)) if number == 0 else (0, (1, 1 + number))


def _label(axes: Axes, style: MetricStyle) -> None:
    arrow = "↑" if style.higher_is_better else "↓"
    axes.set_xlabel("")
    axes.set_ylabel(f"{style.heading} {arrow}")
    axes.tick_params(axis="x", length=0)


def _handles(states: Mapping[str, str], drawn: list[str], floors: Sequence[str]) -> list[Artist]:
    names = list(states)
    colours = _colours(names)
    handles: list[Artist] = []
    for name in names:
        if name in drawn:
            patch = Patch(facecolor=colours[name], hatch=_hatch(names, name), edgecolor=INK, linewidth=0.7, label=name)
        else:
            label = f"{name} ({states[name]})"
            patch = Patch(facecolor="white", edgecolor=INK, linewidth=0.7, linestyle=":", label=label)
        handles.append(patch)
    for number, name in enumerate(floors):
        handles.append(Line2D([], [], color=_FLOOR, linewidth=1, linestyle=_dash(number), label=f"{name} (floor)"))
    return handles
