"""``harness plan``: what a study would run, without running it."""

from __future__ import annotations

from pathlib import Path

from harness.cli.options import ProfileOption, ResultsOption, StudyFile

__all__ = ["plan"]


def plan(study: StudyFile, profile: ProfileOption = None, results: ResultsOption = Path("results")) -> None:
    """Check a study and list its cells: done, failed or new, their size and the time they would take."""
    from rich.console import Console
    from rich.table import Table

    from harness.cli.words import duration
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

    table = Table("variant", "dataset", "leading", "fold", "seed", "state", "parameters", "GFLOPs", "time", "cell")
    remaining = 0.0
    for cell in loaded.cells:
        spec, state = cell.spec, store.cell(cell.spec.id).status()
        size, time = sizes[cell.label, spec.dataset], times[spec.id]
        if state != "done":
            remaining += time.seconds
        table.add_row(
            cell.label, spec.dataset, spec.leading, str(spec.fold), str(spec.seed), state,
            f"{size.parameters:,}", f"{size.gflops:.2f}", f"{'~' if time.estimated else ''}{duration(time.seconds)}", spec.hash,
        )  # fmt: skip
    console.print(table)
    if loaded.collapsed:
        console.print(f"{loaded.collapsed} combinations coincide with others (models without a leading modality).")
    training = loaded.protocol.training
    console.print(
        f"Protocol {loaded.protocol.name}: {training.epochs} epochs x {training.steps_per_epoch} steps, "
        f"batch {loaded.protocol.sampling.batch_size}, patch {' x '.join(map(str, loaded.protocol.patch_size))}."
    )
    console.print(
        f"About {duration(remaining / len(slots))} to go with {len(slots)} {slots[0].device.split(':')[0]} "
        f"worker{'s' if len(slots) > 1 else ''} here. "
        "GFLOPs: one forward pass, batch 1, 1 MAC = 2 FLOPs. ~ is an estimate from this machine's speed."
    )
