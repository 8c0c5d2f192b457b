"""The numbers the AAHN paper prints, to stand beside ours; never mixed with them."""

from collections.abc import Collection, Mapping
from functools import cache

import pandas as pd

from harness.shipped import shipped
from harness.statistics.patients import MEAN_REGION
from harness.statistics.two_means import largest_sd

#: Where the numbers come from, printed with every one of them.
SOURCE = (
    "published: AAHN paper, Tables I to VI, read from the result images of its authors' repository (joker-527/AAHN)"
)

#: Test cases that a published mean may stand on. Our sources do not say how many: these are the fifth of the labelled
#: cases that the released code draws (Prostate158: the official test list).
TEST_CASES: Mapping[str, int] = {
    "hecktor21": 45,
    "prostate158": 19,
    "brats2019": 67,
    "brats2023": 251,
    "chaos": 4,
    "brats2024": 270,
}

#: Published numbers are rounded to three or four digits.
_ROUNDING = 5e-4

#: Dataset and region to why a published SD is none over cases, where no bound on its size says so.
_NOT_OVER_CASES = {
    ("brats2019", "ET"): "AAHN's Dice of 0.786 with SD 0.355 takes 17 % of cases at 0 and every other at 0.94, better "
    "than the tumour core around it (0.876), or 40 % at 1 and 16 % at 0 where the others are about 0.88; no policy for "
    "empty regions gives either, and the other methods' SDs are alike",
}


@cache
def _table() -> pd.DataFrame:
    rows = pd.read_csv(shipped("results/published") / "tables_1_to_6.csv")
    return rows.assign(
        metric=rows["metric"].replace({"hd95_mm": "hd95"}), region=rows["region"].replace({"mean": MEAN_REGION})
    )


def published_rows(dataset: str) -> pd.DataFrame:
    """The published numbers on a dataset.

    Returns:
        Columns ``dataset, method, region, metric, mean, std``; ``metric`` and ``region`` named as in this harness,
        ``std`` as printed, of what is not known, and NaN where none is printed. Empty for a dataset without a table.
    """
    rows = _table()
    return rows[rows["dataset"] == dataset].reset_index(drop=True)


@cache
def _over_sets() -> pd.DataFrame:
    return pd.read_csv(shipped("results/published") / "missing_brats.csv")


def published_over_sets(dataset: str, metric: str, regions: Collection[str]) -> pd.DataFrame:
    """Published Dice of networks made for missing modalities, in the mean of the 15 sets of BraTS' four sequences.

    Returns:
        Columns ``method, trained_on, region, mean, source``; empty for other datasets, metrics and regions.
    """
    rows = _over_sets()
    fits = dataset.startswith("brats") and metric == "dice" and set(rows["region"]) <= set(regions)
    return rows if fits else rows.iloc[:0]


def why_not_over_cases(dataset: str, region: str) -> str:
    """Why the published SDs of a region, of Dice and HD95 alike, cannot be SDs over test cases; ``''`` where they can.

    One SD of Dice that is too large for the number of test cases speaks against its whole table, since all numbers of
    a table will have been made in one way.
    """
    cases = TEST_CASES[dataset]
    rows = published_rows(dataset)
    rows = rows[(rows["metric"] == "dice") & rows["std"].notna()]
    bounds = [largest_sd(float(mean), cases) for mean in rows["mean"]]
    rows = rows.assign(bound=bounds, excess=rows["std"] - bounds)
    impossible = rows[rows["excess"] > _ROUNDING].sort_values("excess", ascending=False)
    if impossible.empty:
        return _NOT_OVER_CASES.get((dataset, region), "")
    worst = impossible.to_dict("records")[0]
    return (
        f"{len(impossible)} of {len(rows)} SDs of Dice are larger than {cases} test cases with that mean can have "
        f"({worst['method']}, {worst['region']}: {worst['std']:.3f}, at most {worst['bound']:.3f})"
    )
