"""``harness plan``: what a study would run, without running it."""

from __future__ import annotations

from pathlib import Path

from harness.cli.options import ProfileOption, ResultsOption, StudyFile

__all__ = ["plan"]


def plan(study: StudyFile, profile: ProfileOption = None, results: ResultsOption = Path("results")) -> None:
    """Check a study and list its cells: done, failed or new, their size and the time they would take."""
    from rich.console import Console

    from harness.cli.words import constant_axes, duration, table
    from harness.execution.estimate import estimate
    from harness.execution.local import detect_gpus, plan_slots
    from harness.execution.run import measure_variants
    from harness.results.store import Store
    from harness.study.expansion import load_study

    console = Console()
    loaded = load_study(study, profile)
    store = Store(results)
    sizes = measure_variants(loaded)
    slots = plan_slots(detect_gpus(), None, None)
    times = estimate(loaded, sizes, store, slots[0])

    specs = [cell.spec for cell in loaded.cells]
    fixed, varying = constant_axes([{axis: getattr(spec, axis) for axis in _AXES} for spec in specs])
    listing = table("variant", *varying, "state", "parameters", "GFLOPs", "time", "identity")
    remaining = 0.0
    for cell in loaded.cells:
        spec, state = cell.spec, store.cell(cell.spec.id).status()
        size, time = sizes[cell.label, spec.dataset], times[spec.id]
        if state != "done":
            remaining += time.seconds
        needed = f"{'~' if time.estimated else ''}{duration(time.seconds)}"
        axes = [str(getattr(spec, axis)) for axis in varying]
        listing.add_row(cell.label, *axes, state, f"{size.parameters:,}", f"{size.gflops:.2f}", needed, spec.hash)
    training = loaded.protocol.training
    patch = " x ".join(map(str, loaded.protocol.patch_size))
    kind = slots[0].device.split(":")[0].upper()
    console.print(f"[bold]{loaded.study.name}[/] ({loaded.profile}): {loaded.study.question}")
    console.print(fixed)
    console.print(
        f"protocol {loaded.protocol.name}: {training.epochs} epochs x {training.steps_per_epoch} steps, "
        f"batch {loaded.protocol.sampling.batch_size}, patch {patch}"
    )
    console.print(listing)
    if loaded.collapsed:
        console.print(f"{loaded.collapsed} combinations coincide with others (models without a leading modality).")
    console.print(
        f"About {duration(remaining / len(slots))} to go with {len(slots)} {kind} worker{'s' * (len(slots) > 1)} here."
    )
    console.print("GFLOPs: one forward pass, batch 1, 1 MAC = 2 FLOPs. ~: estimated from this machine's speed.")


_AXES = ("dataset", "leading", "fold", "seed")
