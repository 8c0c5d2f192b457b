"""All scores of a finished cell: those of its test, and those that ``harness evaluate STUDY`` added later.

``result/cases.parquet`` is written once. What is added lies beside it, one folder per metric with the same columns:
``result/scores/METRIC/cases.parquet``, and ``floors.parquet`` with what trivial methods score. What is added of a
metric that failed in the test stands for the test's rows of it. A cell that is computed anew loses both together.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote, unquote

import pandas as pd

from harness.files import atomic_folder
from harness.results.store import CellFolder
from harness.results.tables import FLOORS, ROWS, damaged_scores, score_folders, seal_tables


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
    tested, *added = (pd.read_parquet(path) for path in score_files(cell))
    if added:
        tested = tested[~tested["metric"].isin(added_metrics(cell))]
    return pd.concat([tested, *added], ignore_index=True)


def unscored_metrics(cell: CellFolder, wanted: Sequence[str]) -> tuple[str, ...]:
    """Returns the metrics that `harness evaluate` would compute of a finished cell: lacking ones, or those that failed.

    A metric that failed may have been mended since.
    """
    rows = read_scores(cell)
    # A finished cell has a prediction of every case: what is missing is the metric's value.
    failed = set(rows.loc[rows["status"] == "missing", "metric"])
    known = set(rows["metric"]) - failed
    return tuple(name for name in wanted if name not in known)


def read_floors(cell: CellFolder) -> pd.DataFrame:
    """Returns what trivial methods score on the test cases of a finished cell."""
    tested = pd.read_parquet(cell.result / FLOORS)
    files = (path.with_name(FLOORS) for path in score_files(cell)[1:])
    added = [pd.read_parquet(path) for path in files if path.is_file()]
    if added:
        tested = tested[~tested["metric"].isin(pd.concat(added)["metric"])]
    return pd.concat([tested, *added], ignore_index=True) if added else tested


def added_mark(cell: CellFolder) -> str:
    """Returns the metrics that were added to a cell, with a text that changes with their scores; empty for none."""
    names = added_metrics(cell)
    if not names:
        return ""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in score_files(cell)[1:]))
    return f"{', '.join(names)} ({digest.hexdigest()[:8]})"


def add_scores(cell: CellFolder, rows: pd.DataFrame, floors: pd.DataFrame | None = None) -> None:
    """Writes scores of further metrics beside those of the test; tests with fewer modalities compute them, too, then.

    Args:
        cell: A finished cell.
        rows: Columns as those of the test; of every metric all cases and regions.
        floors: What trivial methods score, columns as those of the test; default: nothing.
    """
    for metric, group in rows.groupby("metric", sort=False):
        target = _added(cell, str(metric))
        with atomic_folder(target, replaces=lambda: True) as temporary:  # damaged, or of a metric that was mended
            group.to_parquet(temporary / ROWS, index=False)
            if floors is not None and len(floors):
                floors[floors["metric"] == metric].to_parquet(temporary / FLOORS, index=False)
            seal_tables(temporary)
    cell.want_metrics([str(metric) for metric in rows["metric"].unique()])


def _added(cell: CellFolder, metric: str) -> Path:
    return cell.result / "scores" / quote(metric, safe="")
