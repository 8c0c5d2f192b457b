"""Cost of each part of AAHN: parameters and compute, measured without memory or arithmetic.

``python -m aahn.anatomy`` prints the tables of ``docs/aahn.md``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from aahn import SEGMENTER
from aahn.options import LEVELS
from harness.segmenters.contract import Options, Task

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

TO_LITE: dict[str, dict[str, Any]] = {
    "`paper`": {},
    "`token_patch` 8 to 2": {"token_patch": 2},
    "ViT of width 192, six heads of 32, MLP 384": {
        "vit_dim": 192,
        "vit_heads": 6,
        "vit_head_dim": 32,
        "vit_mlp_dim": 384,
    },
    "`vit_depth` 8 to 4": {"vit_depth": 4},
    "`width` 128 to 48: `lite`": {"width": 48},
}
"""Changes that lead from preset ``paper`` to preset ``lite``, each on top of those before it."""


@dataclass(frozen=True)
class Part:
    """Parameters, and GFLOPs at batch 1 (1 MAC = 2 FLOPs; norms and activations uncounted)."""

    parameters: int
    gflops: float


def measure_parts(task: Task, options: Options) -> dict[str, Part]:
    """Measures the parts of a network with the native leading branch; together they are the whole network.

    Args:
        task: Segmentation task.
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


def total(parts: Mapping[str, Part]) -> Part:
    """Sums parts up."""
    return Part(sum(part.parameters for part in parts.values()), sum(part.gflops for part in parts.values()))


def main() -> None:
    """Prints, of the official task, the parts of presets ``paper`` and ``lite``, and the way from one to the other."""
    task = SEGMENTER.official_task
    assert task is not None
    options: dict[str, Any] = {}
    steps = []
    for values in TO_LITE.values():
        options |= values
        parts = measure_parts(task, SEGMENTER.parse_options(options))
        steps.append({**parts, "Whole network": total(parts)})
    tables = steps[0], steps[-1]
    print("| part | `paper`: parameters (M) | GFLOPs | `lite`: parameters (M) | GFLOPs |\n|---|---:|---:|---:|---:|")
    for name in tables[0]:
        print(f"| {name} | {' | '.join(_cells(table[name]) for table in tables)} |")

    print("\n| change, on top of those above it | parameters (M) | GFLOPs |\n|---|---:|---:|")
    for change, parts in zip(TO_LITE, steps, strict=True):
        print(f"| {change} | {_cells(parts['Whole network'])} |")


def _cells(part: Part) -> str:
    return f"{part.parameters / 1e6:.2f} | {part.gflops:.2f}"


if __name__ == "__main__":
    main()
