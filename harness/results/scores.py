"""All scores of a finished cell: those of its test, and those that ``harness evaluate STUDY`` added later.

``result/cases.parquet`` is written once. What is added lies beside it, one file per metric with the same columns:
``result/scores/METRIC.parquet``. A cell that is computed anew loses both together.
"""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from harness.files import atomic_path
from harness.results.store import CellFolder


def score_files(cell: CellFolder) -> list[Path]:
    """Returns the files of a finished cell's scores, those of its test first.

    What was added and cannot be read is left out: it counts as not there, and `harness evaluate` writes it anew.
    """
    added = sorted((cell.result / "scores").glob("*.parquet"))
    return [cell.result / "cases.parquet", *(path for path in added if _is_whole(path))]


def read_scores(cell: CellFolder) -> pd.DataFrame:
    """Returns the scores of a finished cell: one row per case, region and metric."""
    return pd.concat([pd.read_parquet(path) for path in score_files(cell)], ignore_index=True)


def lacking_metrics(cell: CellFolder, wanted: Sequence[str]) -> tuple[str, ...]:
    """Returns the metrics that a finished cell was not scored by."""
    files = score_files(cell)
    known = set(pd.read_parquet(files[0], columns=["metric"])["metric"])
    return tuple(name for name in wanted if name not in known and _added(cell, name) not in files)


def add_scores(cell: CellFolder, rows: pd.DataFrame) -> None:
    """Writes scores of further metrics beside those of the test; tests with fewer modalities compute them, too, then.

    Args:
        cell: A finished cell.
        rows: Columns as those of the test; of every metric all cases and regions.
    """
    for metric, group in rows.groupby("metric", sort=False):
        with atomic_path(_added(cell, str(metric))) as temporary:
            group.to_parquet(temporary, index=False)
    cell.want_metrics([str(metric) for metric in rows["metric"].unique()])


def _added(cell: CellFolder, metric: str) -> Path:
    return cell.result / "scores" / f"{quote(metric, safe='')}.parquet"


def _is_whole(path: Path) -> bool:
    try:
        pq.read_schema(path)
    except (OSError, pa.ArrowException):
        return False
    return True
