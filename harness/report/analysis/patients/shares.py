"""Learning curves: the same methods trained on shares of the training patients and tested on the same patients."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from harness.data.patients.shares import full_label
from harness.evaluation import METRICS
from harness.report.analysis.variants import Variant, row_names, status_of
from harness.results.schema import StudyResults
from harness.statistics.analysis import Analysis, Summary, analyse
from harness.statistics.comparisons import Comparison
from harness.statistics.patients import MEAN_REGION, NothingCounts, build_grid


@dataclass(frozen=True)
class Point:
    """A method trained on one share of the training patients.

    Attributes:
        share: The share.
        patients: Training patients, the least and the most over folds.
        status: Whether it has a mean, as of variants.
        name: What the statistics call it.
    """

    share: float
    patients: tuple[int, int]
    status: str
    name: str

    @property
    def count(self) -> str:
        """Training patients in words; folds may differ by some."""
        low, high = self.patients
        return "unknown" if not high else str(low) if low == high else f"{low} to {high}"


@dataclass(frozen=True)
class LearningCurve:
    """The measured points of one method.

    Attributes:
        name: What tables call the method.
        points: From the smallest share to the largest.
    """

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class LearningCurves:
    """Learning curves on one dataset.

    Attributes:
        curves: One for each method that was trained on several shares.
        analyses: By metric and region; methods are points, each compared with the share before it.
        main: Region that stands for all.
    """

    curves: tuple[LearningCurve, ...]
    analyses: Mapping[tuple[str, str], Analysis]
    main: str

    def summary(self, point: Point, metric: str, region: str) -> Summary | None:
        """Returns the statistics of a point; ``None`` where it has no mean."""
        analysis = self.analyses.get((metric, region))
        return None if analysis is None else analysis.summaries.get(point.name)

    def step(self, point: Point, metric: str) -> Comparison | None:
        """Returns what a point gains over the share before it; ``None`` for the first, or without a mean."""
        analysis = self.analyses.get((metric, self.main))
        comparisons = () if analysis is None else analysis.comparisons
        return next((one for one in comparisons if one.method == point.name), None)


def whole_results(results: StudyResults) -> StudyResults:
    """Returns the results of the largest share of the training patients: what all other tables compare."""
    shares = {cell: design.train_share for cell, design in results.designs.items()}
    if set(shares.values()) <= {1.0}:
        return results
    of_cells = results.cells["cell"].map(lambda cell: shares.get(cell, 1.0))
    largest = of_cells.max()
    cells = results.cells[of_cells == largest]
    labels = set(cells["label"])
    kept = set(cells["cell"])
    return replace(
        results,
        cells=cells.reset_index(drop=True),
        cases=_kept(results.cases, kept),
        history=_kept(results.history, kept),
        subsets=_kept(results.subsets, kept),
        overlays={cell: path for cell, path in results.overlays.items() if cell in kept},
        labels=tuple(label for label in results.labels if label in labels),
    )


def _kept(rows: pd.DataFrame, cells: set[str]) -> pd.DataFrame:
    return rows[rows["cell"].isin(cells)].reset_index(drop=True)


def learning_curves(results: StudyResults, dataset: str, regions: Sequence[str]) -> LearningCurves | None:
    """Returns the learning curves on a dataset; ``None`` where no method was trained on several shares.

    Args:
        results: The study, with every share.
        dataset: Name of the dataset.
        regions: Regions in table order.
    """
    cells = results.cells[results.cells["dataset"] == dataset]
    curves = tuple(_curves(results, cells))
    if not curves:
        return None
    main = MEAN_REGION if len(regions) > 1 else regions[0]
    names = {}
    for label, leading in {(str(row["label"]), str(row["leading"])) for _, row in cells.iterrows()}:
        names[label, leading] = _name(label, leading)
    points = [point for curve in curves for point in curve.points]
    known = {point.name for point in points}
    analyses: dict[tuple[str, str], Analysis] = {}
    rows = results.cases[results.cases["dataset"] == dataset]
    rows = rows.assign(method=[names[str(a), str(b)] for a, b in zip(rows["label"], rows["leading"], strict=True)])
    for metric in results.metrics:
        mine = rows[(rows["metric"] == metric) & rows["method"].isin(known)]
        for region in dict.fromkeys((*regions, main)) if len(mine) else ():
            if (found := _analysis(mine, dataset, metric, region, regions, curves)) is not None:
                analyses[metric, region] = found
    return LearningCurves(curves, analyses, main)


def _curves(results: StudyResults, cells: pd.DataFrame) -> Iterator[LearningCurve]:
    """Yields each method with more than one share."""
    points: dict[Variant, dict[float, Point]] = {}
    for (label, leading), own in cells.groupby(["label", "leading"], sort=False, observed=True):
        designs = [results.designs[cell] for cell in own["cell"] if cell in results.designs]
        share = designs[0].train_share if designs else 1.0
        counts = [design.train_patients for design in designs] or [0]
        variant = Variant(full_label(str(label), share), str(leading))
        name = _name(str(label), str(leading))
        points.setdefault(variant, {})[share] = Point(share, (min(counts), max(counts)), status_of(own), name)
    several = {variant: found for variant, found in points.items() if len(found) > 1}
    for variant, name in row_names(list(several)).items():
        yield LearningCurve(name, tuple(several[variant][share] for share in sorted(several[variant])))


def _name(label: str, leading: str) -> str:
    return f"{label}|{leading}"


def _analysis(
    rows: pd.DataFrame,
    dataset: str,
    metric: str,
    region: str,
    regions: Sequence[str],
    curves: Sequence[LearningCurve],
) -> Analysis | None:
    """Compares each point with the one before it; all steps of all methods are one family."""
    there = set(rows["method"])
    unfinished = [point.name for curve in curves for point in curve.points if point.status != "complete"]
    references: dict[str, str] = {}
    for curve in curves:
        measured = [one.name for one in curve.points if one.status == "complete" and one.name in there]
        references |= dict(zip(measured[1:], measured, strict=False))
    grid = build_grid(rows, dataset, metric)
    if region != MEAN_REGION and region not in grid.regions:
        return None
    try:
        return analyse(
            grid,
            region,
            higher_is_better=METRICS.get(metric).higher_is_better,
            references=references,
            regions=[one for one in regions if one in grid.regions],
            unfinished=unfinished,
        )
    except NothingCounts:
        return None
