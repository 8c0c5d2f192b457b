"""Which cases are shown, by a rule that ignores the images; and the stored slices and volumes of a variant."""

from pathlib import Path

import pandas as pd

from harness.evaluation import METRICS
from harness.report.analysis.analysis import DatasetView
from harness.report.analysis.variants import Variant
from harness.results.overlay import Overlay, read_slices
from harness.results.schema import StudyResults

#: How cases are chosen, printed under what shows them.
SELECTION_RULE = "the cases with the lowest, the middle and the highest score, taken as the median over variants"


def case_scores(results: StudyResults, view: DatasetView) -> pd.DataFrame:
    """The first metric of every case, mean over regions and seeds: one row per case, one column per variant.

    Sorted from the worst case to the best by the median over the variants that have every case, then by name. The
    index is patient and case.
    """
    metric = METRICS.get(results.metrics[0])
    analysis = view.analyses.get((metric.name, view.main))
    if analysis is None:
        return pd.DataFrame()
    table = analysis.by_case
    table = table[[name for name in view.names.values() if name in table and table[name].notna().any()]]
    whole = table.dropna(axis="columns")
    middle = (whole if whole.shape[1] else table).median(axis="columns")
    ranked = middle.sort_index().sort_values(ascending=metric.higher_is_better, kind="stable")
    return table.loc[ranked.index]


def select_cases(results: StudyResults, view: DatasetView) -> dict[str, str]:
    """Worst, median and best case by name of the place; fewer where there are fewer cases."""
    scores = case_scores(results, view)
    cases = [] if scores.empty else [str(case) for case in scores.index.get_level_values("case")]
    if not cases:
        return {}
    places = {"worst": 0, "median": len(cases) // 2, "best": len(cases) - 1}
    chosen = {name: cases[place] for name, place in places.items()}
    return {
        name: case for name, case in chosen.items() if list(chosen.values()).index(case) == list(chosen).index(name)
    }


def result_folders(results: StudyResults, view: DatasetView) -> dict[Variant, list[Path]]:
    """Folders of the finished cells of each variant, first fold and seed first."""
    cells = view.cells[view.cells["cell"].isin(list(results.overlays))]
    folders: dict[Variant, list[Path]] = {variant: [] for variant in view.variants}
    for row in cells.sort_values(["fold", "seed"]).to_dict("records"):
        variant = Variant(str(row["label"]), str(row["leading"]))
        # The store keeps all of a cell's result in one folder; the overlay is one of its files.
        folders[variant].append(results.overlays[row["cell"]].parent)
    return folders


def load_slices(results: StudyResults, view: DatasetView, cases: list[str]) -> dict[str, dict[Variant, Overlay]]:
    """The stored slices of some cases by case and variant, each of the first fold and seed that tested the case."""
    slices: dict[str, dict[Variant, Overlay]] = {case: {} for case in cases}
    for variant, folders in result_folders(results, view).items():
        wanted = list(cases)
        for folder in folders:
            path = folder / "slices.npz"
            if not wanted or not path.is_file():
                continue
            for case, overlay in read_slices(path, wanted).items():
                slices[case][variant] = overlay
                wanted.remove(case)
    return {case: by_variant for case, by_variant in slices.items() if by_variant}
