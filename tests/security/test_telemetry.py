"""Libraries do not report from here what they are used for."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.integration

CODE = """
import harness.tracking.mlflow_view
from mlflow.telemetry.utils import is_telemetry_disabled
import os
print(os.environ["MLFLOW_DISABLE_TELEMETRY"], os.environ["RAY_USAGE_STATS_ENABLED"], is_telemetry_disabled())
"""


@pytest.mark.parametrize(
    ("said", "printed"),
    [({}, "true 0 True"), ({"RAY_USAGE_STATS_ENABLED": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}, "true 1 True")],
    ids=["by default", "what the user has said stays"],
)
def test_use_is_not_reported(said, printed):
    names = ("MLFLOW_DISABLE_TELEMETRY", "RAY_USAGE_STATS_ENABLED", "DO_NOT_TRACK", "CI", "PYTEST_CURRENT_TEST")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run(
        [sys.executable, "-c", CODE], env={**environment, **said}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == printed
