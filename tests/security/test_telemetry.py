"""Libraries do not report from here what they are used for."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.integration

PRINT = "import os; print(os.environ['MLFLOW_DISABLE_TELEMETRY'], os.environ['RAY_USAGE_STATS_ENABLED'])"
ASK = "from mlflow.telemetry.utils import is_telemetry_disabled; print(is_telemetry_disabled())"


@pytest.mark.parametrize(
    ("said", "code", "printed"),
    [
        ({}, ["import harness.tracking.mlflow_view", PRINT, ASK], "true 0 True"),
        ({"RAY_USAGE_STATS_ENABLED": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}, ["import harness", PRINT], "true 1"),
    ],
    ids=["by default", "what the user has said stays"],
)
def test_use_is_not_reported(said, code, printed):
    names = ("MLFLOW_DISABLE_TELEMETRY", "RAY_USAGE_STATS_ENABLED", "DO_NOT_TRACK", "CI", "PYTEST_CURRENT_TEST")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(code)], env={**environment, **said}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == printed.split()
