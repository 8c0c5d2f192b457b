"""Benchmark and ablation harness for multi-modality medical image segmentation."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("aahn-harness")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
