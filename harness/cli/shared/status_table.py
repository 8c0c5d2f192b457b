"""The table of ``harness status``, which also closes ``harness run``: one row per cell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from zipfile import is_zipfile

from rich.text import Text

from harness.cli.shared.console import styled
from harness.cli.shared.formatting import constant_axes, duration, table
from harness.results.scores import read_scores
from harness.results.subsets import CellSubsets
from harness.statistics.means import cell_means
from harness.statistics.patients import MEAN_REGION
from harness.study.protocol import caveat_of

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


def status_rows(study: StudyFolder, store: Store) -> list[dict[str, Any]]:
    """Returns one row per cell of a study: what it is, its state, score, progress or failure.

    Dice and HD95 in mm are the means over regions and patients; None where there is none.
    """
    manifest = study.manifest()
    rows = []
    for label, cell in ((entry.label, store.cell(entry.cell)) for entry in manifest.cells):
        state, record = cell.status(), cell.known(manifest.datasets)
        means = cell_means(read_scores(cell)) if state == "done" else {}
        rows.append(
            {
                "variant": label,
                "cell": cell.id,
                **{axis: getattr(record, axis) for axis in AXES},
                "state": state,
                **{metric: means.get((metric, MEAN_REGION)) for metric in ("dice", "hd95")},
                "device": cell.summary().device if state == "done" else None,
                "note": _note(cell, state),
            }
        )
    return rows


def status_table(study: StudyFolder, store: Store) -> Table:
    """Returns a table of :func:`status_rows`."""
    rows = status_rows(study, store)
    fixed, varying = constant_axes([{axis: row[axis] for axis in AXES} for row in rows])
    listing = table("variant", *varying, "state", "Dice", "HD95 mm", "note")
    caveat = caveat_of(store.cell(row["cell"]).known().protocol for row in rows)
    listing.title, listing.title_justify = f"{study.study} ({study.profile}): {fixed}", "left"
    listing.title += f"\n{caveat}" if caveat else ""
    mixed = len({row["device"] for row in rows} - {None}) > 1
    if mixed:
        listing.caption, listing.caption_justify = _MIXED, "left"
    for row in rows:
        note = row["note"] + (f", on {row['device']}" if mixed and row["device"] else "")
        scores = (_number(row, "dice", 3), _number(row, "hd95", 2))
        listing.add_row(row["variant"], *(str(row[axis]) for axis in varying), _COLOURED[row["state"]], *scores, note)
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


def _number(row: Mapping[str, Any], metric: str, digits: int) -> str:
    """Returns a score of a finished cell; a dash where the policy for empty regions left out every test."""
    if row["state"] != "done":
        return ""
    return "–" if row[metric] is None else f"{row[metric]:.{digits}f}"


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
