"""The numbers the AAHN paper prints, to stand beside ours; never mixed with them."""

from functools import cache
from importlib.resources import as_file, files

import pandas as pd

from harness.statistics.patients import MEAN_REGION

#: Where the numbers come from, printed with every one of them.
SOURCE = (
    "published: AAHN paper, Tables I to VI, read from the result images of its authors' repository (joker-527/AAHN)"
)


@cache
def _table() -> pd.DataFrame:
    with as_file(files("harness.report.inputs") / "published" / "tables_1_to_6.csv") as path:
        rows = pd.read_csv(path)
    return rows.assign(
        metric=rows["metric"].replace({"hd95_mm": "hd95"}), region=rows["region"].replace({"mean": MEAN_REGION})
    )


def published_rows(dataset: str) -> pd.DataFrame:
    """The published numbers on a dataset.

    Returns:
        Columns ``dataset, method, region, metric, mean, std``; ``metric`` and ``region`` named as in this harness,
        ``std`` NaN where the paper prints none. Empty for a dataset the paper does not use.
    """
    rows = _table()
    return rows[rows["dataset"] == dataset].reset_index(drop=True)
