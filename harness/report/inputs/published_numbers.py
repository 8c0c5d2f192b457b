"""The numbers the AAHN paper prints, to stand beside ours; never mixed with them."""

from __future__ import annotations

from functools import cache
from importlib.resources import as_file, files

import pandas as pd

from harness.report.analysis.analysis import DatasetView
from harness.report.analysis.variants import Variant
from harness.statistics.patients import MEAN_REGION

__all__ = ["SOURCE", "published_method", "published_rows"]

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
        Columns ``dataset, method, region, metric, mean, std``; ``metric`` and ``region`` in this harness's words,
        ``std`` NaN where the paper prints none. Empty for a dataset the paper does not use.
    """
    rows = _table()
    return rows[rows["dataset"] == dataset].reset_index(drop=True)


def published_method(view: DatasetView, variant: Variant) -> str | None:
    """The published method a variant is an implementation of; ``None`` for none.

    By label or, where the study runs only one variant of a model, by model; spelling (``Swin-Unet``, ``SwinUNet``)
    does not matter. A variant of an ablation is never taken for the whole model.
    """
    methods = {_plain(method): str(method) for method in published_rows(view.name)["method"]}
    if (label := _plain(variant.label)) in methods:
        return methods[label]
    model = str(view.cells.loc[view.cells["label"] == variant.label, "model"].iloc[0])
    labels = set(view.cells.loc[view.cells["model"] == model, "label"])
    return methods.get(_plain(model)) if len(labels) == 1 else None


def _plain(name: str) -> str:
    return "".join(each for each in name.lower() if each.isalnum())
