"""All scores of a finished cell: those of its test, and those that ``harness evaluate STUDY`` added later.

``result/cases.parquet`` is written once. What is added lies beside it, one folder per metric with the same columns:
``result/scores/METRIC/cases.parquet``. A cell that is computed anew loses both together.
"""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote, unquote

import pandas as pd

from harness.files import atomic_folder
from harness.results.store import CellFolder
from harness.results.tables import ROWS, damaged_scores, score_folders, seal_tables


def added_metrics(cell: CellFolder) -> list[str]:
    """Returns the names of the metrics that were added to a cell; damaged ones are left out."""
    return [unquote(path.parent.name) for path in score_files(cell)[1:]]


def score_files(cell: CellFolder) -> list[Path]:
    """Returns the files of a finished cell's scores, those of its test first.

    What was added and is damaged is left out: it counts as not there, and `harness evaluate` writes it anew.
    """
    added = (folder / ROWS for folder in score_folders(cell.result) if not damaged_scores(folder))
    return [cell.result / ROWS, *added]


def read_scores(cell: CellFolder) -> pd.DataFrame:
    """Returns the scores of a finished cell: one row per case, region and metric."""
    return pd.concat([pd.read_parquet(path) for path in score_files(cell)], ignore_index=True)


def lacking_metrics(cell: CellFolder, wanted: Sequence[str]) -> tuple[str, ...]:
    """Returns the metrics that a finished cell was not scored by."""
    files = score_files(cell)
    known = set(pd.read_parquet(files[0], columns=["metric"])["metric"])
    return tuple(name for name in wanted if name not in known and _added(cell, name) / ROWS not in files)


def add_scores(cell: CellFolder, rows: pd.DataFrame) -> None:
    """Writes scores of further metrics beside those of the test; tests with fewer modalities compute them, too, then.

    Args:
        cell: A finished cell.
        rows: Columns as those of the test; of every metric all cases and regions.
    """
    for metric, group in rows.groupby("metric", sort=False):
        target = _added(cell, str(metric))
        with atomic_folder(target, replaces=lambda: True) as temporary:  # damaged, or of a metric that was mended
            group.to_parquet(temporary / ROWS, index=False)
            seal_tables(temporary)
    cell.want_metrics([str(metric) for metric in rows["metric"].unique()])


def _added(cell: CellFolder, metric: str) -> Path:
    return cell.result / "scores" / quote(metric, safe="")
