"""Which cases are shown, by a rule that looks at no picture; and the stored slices and volumes of a variant."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from harness.report.computed import Computed
from harness.report.metrics import metric_style
from harness.report.summary import MEAN_REGION
from harness.report.variants import Variant, regions_of, variants_of
from harness.results.overlay import Overlay, read_slices
from harness.results.schema import StudyResults

__all__ = ["RULE", "case_scores", "chosen_cases", "result_folders", "slices_of"]

#: How cases are chosen, printed under what shows them.
RULE = "the cases with the lowest, the middle and the highest score, taken as the median over variants"


def case_scores(computed: Computed, dataset: str) -> pd.DataFrame:
    """The first metric of every case, mean over regions and seeds: one row a case, one column a variant.

    Sorted from the worst case to the best by the median over the variants that have every case, then by name.
    """
    results, cases = computed.results, computed.cases
    regions = regions_of(results, dataset)
    wanted = MEAN_REGION if len(regions) > 1 else regions[0]
    style = metric_style(results.metrics[0])
    here = cases[(cases["dataset"] == dataset) & (cases["region"] == wanted) & (cases["metric"] == style.name)]
    table = here.pivot(index="case", columns=["label", "leading"], values="value")
    order = [tuple(each) for each in variants_of(results, dataset) if tuple(each) in table.columns]
    table = table[order]
    whole = table.dropna(axis="columns")
    middle = (whole if whole.shape[1] else table).median(axis="columns")
    ranked = middle.sort_index().sort_values(ascending=style.higher_is_better, kind="stable")
    return table.loc[ranked.index]


def chosen_cases(computed: Computed, dataset: str) -> dict[str, str]:
    """Worst, median and best case by name of the place; fewer where there are fewer cases."""
    cases = [str(case) for case in case_scores(computed, dataset).index]
    if not cases:
        return {}
    places = {"worst": 0, "median": len(cases) // 2, "best": len(cases) - 1}
    chosen = {name: cases[place] for name, place in places.items()}
    return {
        name: case for name, case in chosen.items() if list(chosen.values()).index(case) == list(chosen).index(name)
    }


def result_folders(results: StudyResults, dataset: str) -> dict[Variant, list[Path]]:
    """Folders of the finished cells of each variant, first fold and seed first."""
    cells = results.cells[(results.cells["dataset"] == dataset) & results.cells["cell"].isin(list(results.overlays))]
    folders: dict[Variant, list[Path]] = {variant: [] for variant in variants_of(results, dataset)}
    for row in cells.sort_values(["fold", "seed"]).to_dict("records"):
        variant = Variant(str(row["label"]), str(row["leading"]))
        # The store keeps all of a cell's result in one folder; the overlay is one of its files.
        folders[variant].append(results.overlays[row["cell"]].parent)
    return folders


def slices_of(results: StudyResults, dataset: str, cases: list[str]) -> dict[str, dict[Variant, Overlay]]:
    """The stored slices of some cases by case and variant, each of the first fold and seed that tested the case."""
    found: dict[str, dict[Variant, Overlay]] = {case: {} for case in cases}
    for variant, folders in result_folders(results, dataset).items():
        wanted = list(cases)
        for folder in folders:
            path = folder / "slices.npz"
            if not wanted or not path.is_file():
                continue
            for case, overlay in read_slices(path, wanted).items():
                found[case][variant] = overlay
                wanted.remove(case)
    return {case: slices for case, slices in found.items() if slices}
