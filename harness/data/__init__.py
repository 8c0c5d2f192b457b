"""Datasets: their contract, their preparation, and the batches made from them."""

from harness.data.contract import Case, Dataset, Floor, Reader, Split, TrivialPrediction
from harness.registry import Registry

__all__ = ["DATASETS", "Case", "Dataset", "Floor", "Reader", "Split", "TrivialPrediction"]

DATASETS: Registry[Dataset] = Registry("harness.datasets", Dataset, "dataset")
