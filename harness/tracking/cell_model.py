"""Logs an exported model in MLflow."""

from pathlib import Path

from harness.results.store import CellFolder, Store, StudyFolder
from harness.tracking.mlflow_view import MlflowView
from harness.tracking.server import tracking


def log_cell_model(store: Store, study: StudyFolder, cell: CellFolder, folder: Path) -> None:
    """Logs an exported model as the model of the cell's run, which is written first where MLflow lacks it.

    Args:
        store: The results.
        study: A study that holds the cell.
        cell: The cell.
        folder: What ``harness export`` wrote.

    Raises:
        TrackingError: The tracking server cannot be reached or written.
    """
    view = MlflowView(store, study)
    view.sync()
    with tracking("The model cannot be logged", "The exported folder itself is written."):
        view.log_model(cell, folder)
