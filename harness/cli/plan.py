"""``harness plan``: what a study would run, without running it."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from harness.cli.shared.console import PlainConsole, styled
from harness.cli.shared.foretold import foretold
from harness.cli.shared.formatting import constant_axes, duration, table
from harness.cli.shared.json_output import print_json
from harness.cli.shared.options import JsonOption, ProfileOption, ResultsOption, StudyFile
from harness.errors import HarnessError, HarnessWarning
from harness.gpu_driver import find_unusable_gpu

if TYPE_CHECKING:
    from harness.execution.costs.time_estimate import Estimate
    from harness.results.store import Store
    from harness.segmenters.size import Size
    from harness.study.expansion import LoadedStudy

_AXES = ("dataset", "leading", "fold", "seed")

#: A longer list of cells is summed up.
_MOST_ROWS = 200

#: Characters of a terminal that has room for the identities of cells.
_ROOMY = 100


def plan(
    study: StudyFile,
    profile: ProfileOption = None,
    gpu_model: Annotated[
        list[str] | None,
        typer.Option(
            "--gpu-model",
            "--card",
            metavar="NAME",
            help="Estimate GPU hours, memory and disk on this GPU, e.g. a100; it need not be here. May be repeated.",
        ),
    ] = None,
    gpus: Annotated[int, typer.Option(min=1, max=100_000, help="With --gpu-model: number of GPUs.")] = 1,
    grid_factor: Annotated[
        float | None,
        typer.Option(
            min=0, max=10_000, metavar="G_PER_KWH", help="With --gpu-model: g of CO2 per kWh where the GPUs stand."
        ),
    ] = None,
    launch_us: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            max=10_000,
            metavar="US",
            help="With --gpu-model: time the host needs to launch a kernel, as `harness doctor` measures it there.",
        ),
    ] = None,
    as_json: JsonOption = False,
    results: ResultsOption = Path("results"),
) -> None:
    """Check a study and list its cells: their state, their size and the time they would take here.

    More than 200 cells are summed up by variant and dataset. With --gpu-model (rtx3090, a100, h100 ...) the data need
    not be here: the plan assumes the number of cases that the dataset's owners state.
    """
    if gpu_model:
        launch = None if launch_us is None else launch_us * 1e-6
        _on_gpus(study, profile, gpu_model, gpus, results, as_json, grid_factor, launch)
        return
    if grid_factor is not None or launch_us is not None:
        hint = "Add e.g. --gpu-model a100."
        raise HarnessError("--grid-factor and --launch-us need --gpu-model: energy is estimated by GPU.", hint=hint)
    from harness.execution.costs.time_estimate import estimate, figures_here
    from harness.execution.engines.local import detect_gpus, plan_slots
    from harness.execution.study import try_variants
    from harness.results.store import Store
    from harness.study.expansion import load_study

    console = PlainConsole()
    loaded = load_study(study, profile)
    store = Store(results)
    sizes, refused = try_variants(loaded)
    unusable = find_unusable_gpu()
    if unusable is not None:  # `harness run` refuses
        warnings.warn(f"{unusable} This plan is for the CPU.", HarnessWarning, stacklevel=1)
    slots = plan_slots([] if unusable else detect_gpus(), None, None)
    figures = figures_here(slots[0])
    times = estimate(loaded, sizes, store, slots[0], figures)

    if as_json:
        rows = list(_rows(loaded, store, sizes, times))
        to_go = sum(row["seconds"] or 0 for row in rows if row["state"] != "done") / len(slots)
        _print_plan(loaded, rows, workers=len(slots), device=slots[0].device, seconds_to_go=to_go)
        _say_refused(PlainConsole(stderr=True), refused.values())
        return
    states = {cell.spec.id: store.cell(cell.spec.id).status() for cell in loaded.cells}
    specs = [cell.spec for cell in loaded.cells]
    fixed, varying = constant_axes([{axis: getattr(spec, axis) for axis in _AXES} for spec in specs])
    if len(specs) <= _MOST_ROWS:
        listing = _cells(loaded, states, sizes, times, varying, console.width >= _ROOMY)
    else:
        listing = _counts(loaded, states, sizes, times)
    remaining = sum(time.seconds for identity, time in times.items() if states[identity] != "done")
    kind = slots[0].device.split(":")[0].upper()
    _head(console, loaded)
    console.print(fixed)
    console.print(_protocol(loaded))
    console.print(listing)
    for identity in (identity for identity, state in states.items() if state == "damaged"):
        for damage in store.cell(identity).damages():
            console.print(styled("red", "damaged:", f" {damage.message} {damage.hint}"), soft_wrap=True)
    if loaded.collapsed:
        console.print(f"{loaded.collapsed} combinations coincide with others (models without a leading modality).")
    console.print(
        f"About {duration(remaining / len(slots))} to go with {len(slots)} {kind} worker{'s' * (len(slots) > 1)} here."
    )
    _say_foretold(console, loaded)
    console.print("GFLOPs: one forward pass, batch 1, 1 MAC = 2 FLOPs. ~: estimated from this machine's speed.")
    if figures is not None and (benched := sum(time.benched for time in times.values())):
        measured = f"Steps of {benched} cells: as `harness bench` measured them on {figures.device}"
        console.print(f"{measured} ({figures.path}); validation and waiting for data come on top.", highlight=False)
    _say_refused(console, refused.values())


def _on_gpus(
    study: Path,
    profile: ProfileOption,
    names: Sequence[str],
    count: int,
    results: Path,
    as_json: bool,
    grid: float | None,
    launch: float | None,
) -> None:
    from rich.progress import track

    from harness.cli.shared.gpu_plan import plan_rows, show
    from harness.execution.costs.gpus import find_gpu
    from harness.execution.costs.plan import plan_on_gpus
    from harness.results.store import Store
    from harness.study.expansion import load_study

    console = PlainConsole()
    models = list(dict.fromkeys(find_gpu(name) for name in names))
    loaded = load_study(study, profile, assume_absent=True)
    if not as_json:
        _head(console, loaded)
        console.print(_protocol(loaded))
    quiet = as_json or not console.is_terminal
    plan = plan_on_gpus(
        loaded,
        Store(results),
        models,
        lambda groups: track(groups, "Counting", console=console, transient=True, disable=quiet),
        launch,
    )
    if as_json:
        _print_plan(loaded, plan_rows(plan, models, grid), gpus=count)
    else:
        show(console, plan, models, count, grid, launch)
        _say_foretold(console, loaded)
    _say_refused(PlainConsole(stderr=as_json), plan.refused.values())


def _print_plan(loaded: LoadedStudy, rows: Iterable[Mapping[str, Any]], **facts: Any) -> None:
    named = {"study": loaded.study.name, "profile": loaded.profile, "protocol": loaded.protocol.name}
    said = {"caveat": loaded.protocol.caveat, "foretold": list(foretold(loaded))}
    print_json("plan", rows, **named, **said, **facts)


def _rows(
    loaded: LoadedStudy, store: Store, sizes: Mapping[tuple[str, str], Size], times: Mapping[str, Estimate]
) -> Iterator[dict[str, Any]]:
    """Yields one row per cell, as values."""
    for cell in loaded.cells:
        spec = cell.spec
        size, time = sizes.get((cell.label, spec.dataset)), times.get(spec.id)
        yield {
            "variant": cell.label,
            "cell": spec.id,
            "model": spec.model,
            **{axis: getattr(spec, axis) for axis in _AXES},
            "state": store.cell(spec.id).status(),
            "parameters": None if size is None else size.parameters,
            "gflops": None if size is None else size.gflops,
            "seconds": None if time is None else time.seconds,
            "estimated": None if time is None else time.estimated,
        }


def _say_foretold(console: Console, loaded: LoadedStudy) -> None:
    """Says what the study can show, where a published SD lets it be foretold."""
    for line in foretold(loaded):
        console.print(line, soft_wrap=True, highlight=False)


def _say_refused(console: Console, refused: Collection[HarnessError]) -> None:
    """Names the networks that cannot be built, after all others were planned.

    Raises:
        typer.Exit: There is one.
    """
    for error in refused:
        console.print(styled("red", "cannot be run:", f" {error}"), highlight=False)
    if refused:
        raise typer.Exit(2)


def _head(console: Console, loaded: LoadedStudy) -> None:
    console.print(styled("bold", loaded.study.name, f" ({loaded.profile}): {loaded.study.question}"))
    if loaded.study.answers:
        console.print(f"answers: {loaded.study.answers}")


def _protocol(loaded: LoadedStudy) -> str:
    training = loaded.protocol.training
    patch = " x ".join(map(str, loaded.protocol.patch_size))
    steps = f"{training.epochs} epochs x {training.steps_per_epoch} steps"
    facts = f"protocol {loaded.protocol.name}: {steps}, batch {loaded.protocol.sampling.batch_size}, patch {patch}"
    return "\n".join(filter(None, (facts, loaded.protocol.caveat)))


def _cells(
    loaded: LoadedStudy,
    states: Mapping[str, str],
    sizes: Mapping[tuple[str, str], Size],
    times: Mapping[str, Estimate],
    varying: Sequence[str],
    roomy: bool,
) -> Table:
    """Returns one row per cell; identities are left out where the terminal is too narrow."""
    listing = table("variant", *varying, "state", "parameters", "GFLOPs", "time", *(["identity"] if roomy else []))
    for cell in loaded.cells:
        spec = cell.spec
        size, time = sizes.get((cell.label, spec.dataset)), times.get(spec.id)
        needed = f"{'~' if time.estimated else ''}{duration(time.seconds)}" if time is not None else "-"
        axes = [str(getattr(spec, axis)) for axis in varying]
        facts = *_size(size), needed
        listing.add_row(cell.label, *axes, states[spec.id], *facts, *([spec.hash] if roomy else []))
    return listing


def _counts(
    loaded: LoadedStudy,
    states: Mapping[str, str],
    sizes: Mapping[tuple[str, str], Size],
    times: Mapping[str, Estimate],
) -> Table:
    """Returns one row per variant and dataset, for studies with too many cells to list."""
    groups: dict[tuple[str, str], list[str]] = {}
    for cell in loaded.cells:
        groups.setdefault((cell.label, cell.spec.dataset), []).append(cell.spec.id)
    listing = table("variant", "dataset", "cells", "done", "parameters", "GFLOPs", "time of all")
    for (label, dataset), cells in groups.items():
        size, done = sizes.get((label, dataset)), sum(states[identity] == "done" for identity in cells)
        known = [times[identity].seconds for identity in cells if identity in times]
        facts = *_size(size), f"~{duration(sum(known))}" if known else "-"
        listing.add_row(label, dataset, str(len(cells)), str(done), *facts)
    return listing


def _size(size: Size | None) -> tuple[str, str]:
    return ("-", "-") if size is None else (f"{size.parameters:,}", f"{size.gflops:.2f}")
