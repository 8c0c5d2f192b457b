"""Parameters and metrics of a run in MLflow, in batches that a server takes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from harness.text import printable
from harness.tracking.names import metric_name

_PARAMS, _METRICS = 100, 1000  # at once
_LONGEST_VALUE = 6000


def log_metrics(client: MlflowClient, run: str, metrics: Sequence[Metric]) -> None:
    """Logs any number of metrics.

    Args:
        client: MLflow.
        run: Identity of the run.
        metrics: Names that MLflow takes, with values.
    """
    for start in range(0, len(metrics), _METRICS):
        client.log_batch(run, metrics=metrics[start : start + _METRICS])


def log_params(client: MlflowClient, run: str, params: Mapping[str, object], known: Iterable[str] = ()) -> None:
    """Logs parameters, under names that MLflow takes.

    Args:
        client: MLflow.
        run: Identity of the run.
        params: Value by name.
        known: Names that the run has already: MLflow never changes a value.
    """
    named = {metric_name(key): printable(str(value))[:_LONGEST_VALUE] for key, value in params.items()}
    new = [Param(key, value) for key, value in named.items() if key not in set(known)]
    for start in range(0, len(new), _PARAMS):
        client.log_batch(run, params=new[start : start + _PARAMS])


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields nested values by names with dots."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
