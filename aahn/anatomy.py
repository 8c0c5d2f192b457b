"""What each part of AAHN costs: parameters and compute, measured without memory or arithmetic.

``python -m aahn.anatomy`` prints the table of ``docs/aahn.md``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from aahn import SEGMENTER
from aahn.options import LEVELS
from harness.segmenters.contract import Options, Task

__all__ = ["PARTS", "Part", "measure_parts"]

_STAGES = range(LEVELS - 1)
PARTS: dict[str, tuple[str, ...]] = {
    "Transformer branch, convolutions": (
        "transformer.stem",
        *(f"transformer.stages.{stage}.{name}" for stage in _STAGES for name in ("down", "conv")),
    ),
    **{f"Transformer branch, ViT of level {stage + 2}": (f"transformer.stages.{stage}.vit",) for stage in _STAGES},
    **{
        f"Leading branch, level {level + 1}": (f"leading.levels.{level}.entry", f"leading.levels.{level}.refine")
        for level in range(LEVELS)
    },
    "T-CFAF of level 1 (with its residual group)": ("tcfaf.0",),
    "T-CFAF of levels 2 to 4": tuple(f"tcfaf.{level}" for level in range(1, LEVELS)),
    "CMHGF": ("cmhgf",),
    "Decoder": ("decoder",),
}
"""Parts and the modules of the network, with the native leading branch, that make them up."""


@dataclass(frozen=True)
class Part:
    """Parameters, and GFLOPs at batch 1 (1 MAC = 2 FLOPs; norms and activations uncounted)."""

    parameters: int
    gflops: float


def measure_parts(task: Task, options: Options) -> dict[str, Part]:
    """Measures the parts of a network with the native leading branch; together they are the whole network.

    Args:
        task: What to segment.
        options: Sizes and switches.
    """
    with torch.device("meta"):
        network = SEGMENTER.build(task, options).eval()
        x = torch.zeros(1, task.in_channels, *task.patch_size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(x)
    counts = counter.get_flop_counts()
    return {
        part: Part(
            sum(p.numel() for name in names for p in network.get_submodule(name).parameters()),
            sum(sum(counts[f"{type(network).__name__}.{name}"].values()) for name in names) / 1e9,
        )
        for part, names in PARTS.items()
    }


def main() -> None:
    """Prints the parts of the official configuration as a Markdown table."""
    assert SEGMENTER.official_task is not None
    parts = measure_parts(SEGMENTER.official_task, SEGMENTER.parse_options({}))
    parts["Whole network"] = Part(sum(p.parameters for p in parts.values()), sum(p.gflops for p in parts.values()))
    print("| part | parameters (M) | GFLOPs |\n|---|---:|---:|")
    for name, part in parts.items():
        print(f"| {name} | {part.parameters / 1e6:.2f} | {part.gflops:.2f} |")


if __name__ == "__main__":
    main()
