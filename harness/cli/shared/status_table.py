"""The table of ``harness status``, which also closes ``harness run``: one row per cell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from zipfile import is_zipfile

from rich.text import Text

from harness.cli.shared.console import styled
from harness.cli.shared.formatting import constant_axes, duration, table
from harness.results.scores import read_scores
from harness.results.subsets import CellSubsets
from harness.statistics.means import cell_means
from harness.statistics.patients import MEAN_REGION

if TYPE_CHECKING:
    from rich.table import Table

    from harness.results.records import Progress, Summary
    from harness.results.store import CellFolder, CellStatus, Store, StudyFolder

#: What tells the cells of a study apart, beside the variant.
AXES = ("dataset", "leading", "fold", "seed")

_MIXED = (
    "The cells ran on several kinds of device: times and memory are not comparable, and scores may differ by rounding."
)

_COLOURED: dict[CellStatus, str | Text] = {
    "done": styled("green", "done"),
    "failed": styled("red", "failed"),
    "running": styled("cyan", "running"),
    "interrupted": styled("yellow", "interrupted"),
    "new": "new",
    "damaged": styled("red", "damaged"),
}


def status_table(study: StudyFolder, store: Store) -> Table:
    """Returns a table with one row per cell of a study: state, score, progress or failure."""
    manifest = study.manifest()
    cells = [(entry.label, store.cell(entry.cell)) for entry in manifest.cells]
    records = [cell.known(manifest.datasets) for _, cell in cells]
    fixed, varying = constant_axes([{axis: getattr(record, axis) for axis in AXES} for record in records])
    listing = table("variant", *varying, "state", "Dice", "HD95 mm", "note")
    listing.title, listing.title_justify = f"{study.study} ({study.profile}): {fixed}", "left"
    devices = {cell.id: cell.summary().device for _, cell in cells if cell.status() == "done"}
    mixed = len(set(devices.values())) > 1
    if mixed:
        listing.caption, listing.caption_justify = _MIXED, "left"
    for (label, cell), record in zip(cells, records, strict=True):
        state, dice, distance = cell.status(), "", ""
        if state == "done":
            means = cell_means(read_scores(cell))
            dice, distance = _number(means, "dice", 3), _number(means, "hd95", 2)
        note = _note(cell, state) + (f", on {devices[cell.id]}" if mixed and cell.id in devices else "")
        axes = [str(getattr(record, axis)) for axis in varying]
        listing.add_row(label, *axes, _COLOURED[state], dice, distance, note)
    return listing


def _note(cell: CellFolder, state: CellStatus) -> str:
    """Returns what a person must know of a cell in a state."""
    if state == "done":
        others = [damage.message for damage in (*cell.damages(), *CellSubsets(cell).result_damages())]
        return " ".join([_done_note(cell.summary()), *others])
    if state == "damaged":
        return " ".join(f"{damage.message} {damage.hint}" for damage in cell.damages())
    if state == "running":
        owner = cell.owner()
        return progress_note(cell.progress()) + (f", on {owner.host}" if owner else "")
    if state == "interrupted":
        return _continuation(cell)
    if failure := cell.failure():
        tried = f" ({failure.attempt} attempts failed)" if failure.attempt > 1 else ""
        return f"{failure.reason} {failure.hint}{tried}".strip()
    return ""


def _continuation(cell: CellFolder) -> str:
    """Returns from where an interrupted cell goes on; checkpoints that cannot be read are named."""
    found = [cell.work / name for name in ("last.pt", "previous.pt") if (cell.work / name).is_file()]
    damaged = [path for path in found if not is_zipfile(path)]
    if found and damaged == found:
        return f"starts again from step 1: {' and '.join(map(str, damaged))}: empty or damaged"
    if damaged:
        return f"continues from previous.pt: {damaged[0]} is empty or damaged"
    return f"continues from step {cell.progress().step or '?'}"


def _done_note(summary: Summary) -> str:
    """Returns how long the training took, and why its steps were not recorded where they should have been."""
    reason = next((f", eager. {one.reason}" for one in summary.failures if one.kind == "not_recorded"), "")
    return f"{duration(summary.train_seconds)} of training{reason}"


def _number(means: Mapping[tuple[str, str], float], metric: str, digits: int) -> str:
    """Returns the mean over regions and patients; a dash where the policy for empty regions left out every test."""
    mean = means.get((metric, MEAN_REGION))
    return "–" if mean is None else f"{mean:.{digits}f}"


def progress_note(seen: Progress) -> str:
    """Returns how far a running cell is, in words."""
    if seen.phase != "training" or not seen.total:
        return seen.phase or "starting"
    parts = [f"epoch {seen.step * seen.epochs // seen.total}/{seen.epochs}"]
    if seen.history and (loss := seen.history[-1].loss) is not None:
        parts.append(f"loss {loss:.3f}")
    scores = [row.val_dice for row in seen.history if row.val_dice is not None]
    if scores:
        parts.append(f"val Dice {scores[-1]:.3f}")
    if seen.seconds_per_step is not None:
        parts.append(f"{duration((seen.total - seen.step) * seen.seconds_per_step)} to go")
    return ", ".join(parts)
