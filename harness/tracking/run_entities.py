"""What MLflow calls the input and the output of a cell's run: its dataset, and its exported model."""

import json
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput

from harness.results.records import CellRecord
from harness.results.store import CellFolder


def log_dataset(client: MlflowClient, run: str, cell: CellRecord, kind: str) -> None:
    """Logs the dataset of a cell as the input of its run: name, hash of the files, fold and hash of the split.

    No patient, no path and no column of a table of patients is among it.

    Args:
        client: Client of the tracking server.
        run: The cell's run.
        cell: What the cell is.
        kind: ``real``, ``embedded`` or ``generated``.
    """
    source = json.dumps({"dataset": cell.dataset, "files": cell.data, "fold": cell.fold, "split": cell.split})
    dataset = Dataset(
        cell.dataset, cell.data[:36], "harness", source, profile=json.dumps({"kind": kind, "split": cell.split})
    )
    tags = [InputTag("mlflow.data.context", "training"), InputTag("split.hash", cell.split)]
    client.log_inputs(run, [DatasetInput(dataset, tags)])


def log_model(client: MlflowClient, experiment: str, run: str, cell: CellFolder, folder: Path) -> None:
    """Logs a folder as the model that a cell's run gave.

    Args:
        client: Client of the tracking server.
        experiment: The study's experiment.
        run: The cell's run.
        cell: The cell.
        folder: What ``harness export`` wrote.
    """
    record = cell.record()
    model = client.create_logged_model(
        experiment, name=record.model, source_run_id=run, tags={"harness.cell": cell.id}, model_type="torch.export"
    )
    client.log_model_artifacts(model.model_id, str(folder))
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run, [LoggedModelOutput(model.model_id, step=0)])
