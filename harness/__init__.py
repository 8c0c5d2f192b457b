"""Benchmark and ablation harness for multi-modality medical image segmentation."""

import os
from importlib.metadata import PackageNotFoundError, version

from harness.moved_modules import install as install_old_names

# Libraries that report their use to their makers do not do so from here, unless the user has said otherwise. They read
# this when they are imported, and MLflow is imported by MONAI, so it stands before everything.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

try:
    __version__ = version("aahn-harness")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

install_old_names()
