"""Datasets: their contract, their preparation, and the batches made from them."""

from harness.data.contract import Case, Dataset, Floor, Reader, Split
from harness.registry import Registry

__all__ = ["DATASETS", "Case", "Dataset", "Floor", "Reader", "Split"]

DATASETS: Registry[Dataset] = Registry("harness.datasets", Dataset, "dataset")
