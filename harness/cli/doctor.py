"""``harness doctor``: what the machine has, what will be used, what is missing and how to get it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from harness.cli.shared.console import PlainConsole, styled
from harness.cli.shared.json_output import print_json
from harness.cli.shared.options import JsonOption, ResultsOption, study_arguments

if TYPE_CHECKING:
    from harness.diagnostics.doctor import Gpu, Machine, Report


def doctor(
    as_json: JsonOption = False,
    results: ResultsOption = Path("results"),
) -> None:
    """Show what this machine has, what a run would use, what is missing, and the command to type next.

    Ends with status 1 if something required is missing.
    """
    from harness.diagnostics.doctor import examine

    report = examine(results, study_arguments)
    if as_json:
        found = asdict(report)
        print_json("doctor", found["missing"], **found)
    else:
        _show(PlainConsole(highlight=False), report)
    if any(item.required for item in report.missing):
        raise typer.Exit(1)


def _show(console: Console, report: Report) -> None:
    use = report.use
    places = f"{use.slots} cell{'s' * (use.slots > 1)} at a time, {use.threads_a_slot} CPU threads each"
    sections = {
        "This machine": _machine_facts(report.machine),
        "harness run would use": [
            ("device", f"{use.device}, {use.backend}"),
            ("precision", f"{use.precision} where a protocol says auto"),
            ("places", places),
        ],
        "Packages": [
            ("harness", report.harness),
            *report.packages.items(),
            *((f"{name} (extra)", version or "not installed") for name, version in report.extras.items()),
        ],
        "Programs": [(name, path or "not found") for name, path in report.programs.items()],
        "Data": [(name, place) for name, place in report.datasets.items() if place],
    }
    for title, facts in sections.items():
        console.print(styled("bold", title))
        for name, value in facts:
            console.print(f"  {name:<30} {value}", soft_wrap=True)
    console.print(styled("bold", "Missing") if report.missing else styled("bold green", "Nothing is missing."))
    for colour, what, how in _missing(report):
        console.print(styled(colour, f"  {what}"), soft_wrap=True)
        console.print(f"      {how}", soft_wrap=True)
    console.print(styled("bold", "Next", f": {report.next.why}"), soft_wrap=True)
    console.print(f"  {report.next.command}", soft_wrap=True)


def _missing(report: Report) -> Iterator[tuple[str, str, str]]:
    """Yields colour, what is missing and how to get it; all datasets that are not here are one thing."""
    for item in report.missing:
        if not item.is_data:
            yield "red" if item.required else "yellow", f"{item.what}, for {item.needed_for}", item.how
    absent = [item.what.removeprefix("data of ") for item in report.missing if item.is_data]
    if absent:
        how = "`harness data show NAME` says where to get it, `harness data generate NAME` makes invented patients"
        yield "yellow", f"data of {', '.join(absent)}", how


def _launch(gpu: Gpu) -> str:
    """Returns what training steps wait for where they are not recorded."""
    return "not measured: the GPU refuses to compute" if gpu.launch_us is None else f"{gpu.launch_us:.1f} us"


def _machine_facts(machine: Machine) -> list[tuple[str, str]]:
    shared = machine.shared_memory_gb
    gpus = [
        f"{gpu.name}, {gpu.memory_gb:.0f} GB, compute capability {gpu.capability}, {'bf16' if gpu.bf16 else 'fp16'}"
        for gpu in machine.gpus
    ]
    return [
        ("system", f"{machine.system}, Python {machine.python}"),
        ("cores", str(machine.cores)),
        ("memory", f"{machine.memory_gb:.1f} GB"),
        ("disk", f"{machine.disk_free_gb:.1f} GB free where results go"),
        *([] if shared is None else [("shared memory", f"{shared:.1f} GB")]),
        *(("GPU", gpu) for gpu in gpus or ["none that torch can use"]),
        ("launch of a kernel", ", ".join(map(_launch, machine.gpus)) or "not measured: that takes a CUDA GPU"),
        *([] if machine.driver is None else [("driver", machine.driver)]),
        ("torch built for", f"CUDA {machine.cuda}" if machine.cuda else "CPU only"),
    ]
