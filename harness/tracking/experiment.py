"""Opens the experiment of a study, or of the races of a dataset, in MLflow."""

import logging

from mlflow import MlflowClient

from harness.tracking.server import knock

#: Makes the interface that of model training, not that of language models.
_KIND = {"mlflow.experimentKind": "custom_model_development"}


def open_experiment(name: str, description: str = "") -> tuple[MlflowClient, str]:
    """Returns MLflow's client and the number of an experiment: created if need be, restored if it was deleted.

    Args:
        name: Name of the experiment.
        description: Text shown above its runs; used where the experiment is created.

    Raises:
        Exception: The server cannot be reached or written, or its database is locked, damaged or of another version.
            Call it within :func:`harness.tracking.server.tracking`.
    """
    for logger in ("mlflow", "alembic"):  # errors are raised as well: MLflow's log would show a traceback before
        logging.getLogger(logger).setLevel(logging.CRITICAL)
    knock()
    client = MlflowClient()
    found = client.get_experiment_by_name(name)
    if found is None:
        note = {"mlflow.note.content": description} if description else {}
        return client, str(client.create_experiment(name, tags=_KIND | note))
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return client, str(found.experiment_id)
