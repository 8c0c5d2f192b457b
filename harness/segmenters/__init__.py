"""The contract a network meets, and where networks are found."""

from harness.registry import Registry
from harness.segmenters.contract import Options, Segmenter, Source, Task

__all__ = ["SEGMENTERS", "Options", "Segmenter", "Source", "Task"]

SEGMENTERS: Registry[Segmenter] = Registry("harness.segmenters", Segmenter, "model")
