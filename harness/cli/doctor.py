"""``harness doctor``: what the machine has, what will be used, what is missing and how to get it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from harness.cli.shared.options import ResultsOption

if TYPE_CHECKING:
    from harness.diagnostics.doctor import Machine, Report


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    results: ResultsOption = Path("results"),
) -> None:
    """Show what this machine has, what a run would use, and what is missing.

    Ends with status 1 if something required is missing.
    """
    from harness.diagnostics.doctor import examine

    report = examine(results)
    if as_json:
        import json

        typer.echo(json.dumps(report.to_json(), indent=2))
    else:
        _show(Console(highlight=False), report)
    if any(item.required for item in report.missing):
        raise typer.Exit(1)


def _show(console: Console, report: Report) -> None:

    console.print("[bold]This machine[/]")
    _show_machine(console, report.machine)
    console.print("[bold]harness run would use[/]")
    use = report.use
    places = f"{use.slots} cell{'s' * (use.slots > 1)} at a time, {use.threads_a_slot} CPU threads each"
    _line(console, "device", f"{use.device}, {use.backend}")
    _line(console, "precision", f"{use.precision} where a protocol says auto")
    _line(console, "places", places)
    console.print("[bold]Packages[/]")
    _line(console, "harness", report.harness)
    for name, version in report.packages.items():
        _line(console, name, version)
    for name, found in report.extras.items():
        _line(console, f"{name} (extra)", found or "not installed")
    console.print("[bold]Programs[/]")
    for name, path in report.programs.items():
        _line(console, name, path or "not found")
    console.print("[bold]Data[/]")
    for name, place in report.datasets.items():
        _line(console, name, place or "not found")
    console.print("[bold]Missing[/]" if report.missing else "[bold green]Nothing is missing.[/]")
    for item in report.missing:
        colour = "red" if item.required else "yellow"
        console.print(f"  [{colour}]{escape(item.what)}[/], for {escape(item.needed_for)}", soft_wrap=True)
        console.print(f"      {escape(item.how)}", soft_wrap=True)


def _show_machine(console: Console, machine: Machine) -> None:
    _line(console, "system", f"{machine.system}, Python {machine.python}")
    _line(console, "cores", str(machine.cores))
    _line(console, "memory", f"{machine.memory_gb:.1f} GB")
    _line(console, "disk", f"{machine.disk_free_gb:.1f} GB free where results go")
    if machine.shared_memory_gb is not None:
        _line(console, "shared memory", f"{machine.shared_memory_gb:.1f} GB")
    for gpu in machine.gpus:
        kind = "bf16" if gpu.bf16 else "fp16"
        _line(console, "GPU", f"{gpu.name}, {gpu.memory_gb:.0f} GB, compute capability {gpu.capability}, {kind}")
    if not machine.gpus:
        _line(console, "GPU", "none that torch can use")
    if machine.driver is not None:
        _line(console, "driver", machine.driver)
    _line(console, "torch built for", f"CUDA {machine.cuda}" if machine.cuda else "CPU only")


def _line(console: Console, name: str, value: str) -> None:

    console.print(f"  {escape(name):<30} {escape(value)}", soft_wrap=True)
