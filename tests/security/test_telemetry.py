"""Libraries do not report from here what they are used for."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import harness  # noqa: F401 - importing it says so

pytestmark = pytest.mark.integration

PRINT = "import os; print(os.environ['MLFLOW_DISABLE_TELEMETRY'], os.environ['RAY_USAGE_STATS_ENABLED'])"


@pytest.mark.parametrize(
    ("said", "printed"),
    [({}, "true 0"), ({"RAY_USAGE_STATS_ENABLED": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}, "true 1")],
    ids=["by default", "what the user has said stays"],
)
def test_use_is_not_reported(said, printed):
    environment = {name: value for name, value in os.environ.items() if name.partition("_")[0] not in ("MLFLOW", "RAY")}
    code = f"import harness; {PRINT}"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**environment, **said}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == printed.split()


def test_mlflow_takes_it_from_this_variable():
    from mlflow.environment_variables import MLFLOW_DISABLE_TELEMETRY

    assert MLFLOW_DISABLE_TELEMETRY.name in PRINT
    assert MLFLOW_DISABLE_TELEMETRY.get()
