"""``harness bench``: networks side by side: parameters, compute, time and memory."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer
from rich.table import Table

from harness.cli.shared.console import PlainConsole, styled
from harness.cli.shared.formatting import parse_duration, parse_size, table
from harness.errors import HarnessError, did_you_mean

if TYPE_CHECKING:
    from harness.diagnostics.bench import Measured


#: Memory formats that ``--channels-last`` names.
_FORMATS: dict[str, bool | Literal["auto"]] = {"true": True, "false": False, "auto": "auto"}


def bench(
    names: Annotated[list[str] | None, typer.Argument(help="Registered networks; default: all.")] = None,
    patch: Annotated[str, typer.Option(help="Input size, e.g. 128,128 or 96,96,96.")] = "128,128",
    modalities: Annotated[int, typer.Option(min=1, max=1_000, help="Input channels.")] = 4,
    classes: Annotated[int, typer.Option(min=1, max=1_000, help="Output channels.")] = 4,
    batch: Annotated[int, typer.Option(min=1, max=65_536, help="Patches per forward pass and per training step.")] = 4,
    preset: Annotated[str, typer.Option(help="Preset of the networks: paper, tiny ...")] = "paper",
    rounds: Annotated[
        int, typer.Option(min=1, max=10_000, help="Number of measurements; the table shows medians.")
    ] = 5,
    device: Annotated[str | None, typer.Option(help="Device, e.g. cuda:0 or cpu; default: CUDA if available.")] = None,
    threads: Annotated[int, typer.Option(min=1, max=1_024, help="CPU threads.")] = 1,
    step: Annotated[
        str,
        typer.Option(help="How training steps are done: auto, eager, recorded (a CUDA graph); or several, by commas."),
    ] = "auto",
    compiled: Annotated[
        str, typer.Option("--compile", help="How they are compiled: none, default, cuda-graphs; or several, by commas.")
    ] = "none",
    channels_last: Annotated[
        str, typer.Option(help="Memory format: true, false, auto (by network); or several, by commas.")
    ] = "true",
    timeout: Annotated[
        str, typer.Option(metavar="TIME", help="Longest time of one network in one way, e.g. 20m or 2h.")
    ] = "1h",
    reference: Annotated[str, typer.Option(help="Network whose times the others are divided by.")] = "aahn",
    out: Annotated[Path | None, typer.Option(help="Also write a CSV file.", show_default=False)] = None,
) -> None:
    """Measure networks in one run: parameters, GFLOPs, time of a forward pass and of a training step, peak memory."""
    from harness.diagnostics.bench import Measured, Setup
    from harness.diagnostics.bench import bench as measure
    from harness.files import check_writable
    from harness.segmenters import SEGMENTERS
    from harness.training.settings import CompileMode, StepMode

    console = PlainConsole()
    if out is not None:
        check_writable(out)
    size = parse_size(patch)
    steps = _several(step, get_args(StepMode), "--step")
    compiles = _several(compiled, get_args(CompileMode), "--compile")
    formats = tuple(_FORMATS[text] for text in _several(channels_last, tuple(_FORMATS), "--channels-last"))
    patience = parse_duration(timeout)
    ways = steps, compiles, formats
    setup = Setup(modalities, classes, size, batch, preset, rounds, device, threads, *ways, patience)
    known = {name: one for name, one in SEGMENTERS.load_all()[0].items() if not one.runner}
    able = [name for name, one in known.items() if len(size) in one.spatial_dims]
    chosen = [name for name in names or able if name != reference]
    unable = reference in known and reference not in able and reference not in (names or ())
    if reference in SEGMENTERS.names() and not unable:
        chosen.insert(0, reference)
    failed = []

    def say(name: str, result: Measured | HarnessError) -> None:
        if isinstance(result, Measured):
            how = f" ({_how(result)})" if len(setup.variants) > 1 else ""
            console.print(f"{name}{how}: forward {result.forward_seconds:.3f} s, step {result.step_seconds:.3f} s")
        else:
            failed.append(name)
            console.print(styled("yellow", f"{name} is left out:", f" {result}"))

    found = measure(chosen, setup, say)
    if found:
        console.print(_table(found, reference, several=len(setup.variants) > 1))
        shape = " x ".join(map(str, (modalities, *setup.patch_size)))
        console.print(f"{found[0].device}; batch {batch} of {shape}; preset {preset}; x: relative to {reference}")
    if out is not None:
        _write(out, found)
    if failed:
        raise typer.Exit(1)


def _several(text: str, known: Sequence[str], flag: str) -> Any:
    """Returns the values of a setting that stand in a text, separated by commas.

    Args:
        text: What was given.
        known: The values that there are.
        flag: Name of the option, for the message.

    Raises:
        HarnessError: One is unknown.
    """
    values = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    for value in values:
        if value not in known:
            raise HarnessError(f"{flag} {text}: invalid value '{value}'.", hint=did_you_mean(value, known))
    return values


def _how(one: Measured) -> str:
    compiled = f", compile {one.compile}" * (one.compile != "none")
    return f"{one.step}{compiled}{', contiguous' * (not one.channels_last)}"


def _table(found: list[Measured], reference: str, several: bool) -> Table:
    """Returns the figures beside each other; times are divided by those of the reference's first way."""
    base = next((one for one in found if one.name == reference), None)
    listing = table(
        "model", *(("step",) if several else ()), "M par.", "GFLOP", "fwd s", "step s", "fwd x", "step x", "peak MB"
    )
    for one in found:
        ratios = (
            (f"{one.forward_seconds / base.forward_seconds:.2f}", f"{one.step_seconds / base.step_seconds:.2f}")
            if base is not None
            else ("-", "-")
        )
        figures = f"{one.parameters / 1e6:.2f}", f"{one.gflops:.1f}", f"{one.forward_seconds:.3f}"
        listing.add_row(
            one.title,
            *((_how(one),) if several else ()),
            *figures,
            f"{one.step_seconds:.3f}",
            *ratios,
            f"{one.peak_mb:,.0f}",
        )
    return listing


def _write(out: Path, found: list[Measured]) -> None:

    from harness.diagnostics.bench import Measured
    from harness.files import naming

    with naming(out), out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [one.name for one in fields(Measured)])
        writer.writeheader()
        writer.writerows(asdict(one) for one in found)
