"""What a person sees while a study runs.

Bars with loss, validation Dice and the time to go; lines instead where there is no terminal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from harness.cli.shared.console import styled
from harness.cli.shared.formatting import constant_axes, duration
from harness.cli.shared.status_table import AXES, progress_note, status_table
from harness.results.store import CellFolder, CellStatus, Store, StudyFolder
from harness.text import printable

_LINE_EVERY = 30.0  # seconds between lines where there is no terminal
_LOOKING = 0.05  # share of the time that is spent on looking at the cells


def counting_bar(console: Console, *, disable: bool = False) -> Progress:
    """Returns a bar that counts what is done, with the time to go.

    Args:
        console: Console to draw on.
        disable: Draw nothing.
    """
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, TextColumn("to go"), console=console, disable=disable)


@contextmanager
def task_bars(console: Console, *first: str) -> Iterator[Callable[[str, int, int], None]]:
    """Yields a function of a task, how much of it is done, and the total; shows a bar for each task.

    Args:
        console: Console to draw on.
        first: Tasks whose bars are shown from the start.
    """
    with counting_bar(console) as bars:
        tasks = {task: bars.add_task(printable(task), total=None) for task in first}

        def show(task: str, done: int, total: int) -> None:
            if task not in tasks:
                tasks[task] = bars.add_task(printable(task))
            bars.update(tasks[task], completed=done, total=total)

        yield show


class ProgressDisplay:
    """Follows the cells of a study through the files their workers write.

    Args:
        console: Where to show.
        study: The study.
        store: Its store.
        parallel: Number of cells that run at a time, for the time to go.
    """

    def __init__(self, console: Console, study: StudyFolder, store: Store, parallel: int) -> None:
        self._console = console
        self._study = study
        self._store = store
        self._parallel = parallel
        self._cells = _named(study, store)
        self._states: dict[str, CellStatus] = {}
        self._bars: dict[str, TaskID] = {}
        self._spoke = time.monotonic()
        self._due = 0.0
        self._rates: dict[str, float] = {}
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._overall = self._progress.add_task(study.study, total=len(self._cells), note="")

    def __enter__(self) -> ProgressDisplay:
        self._progress.start()
        self._states = {cell: folder.status() for cell, (folder, _) in self._cells.items()}
        skipped = sum(state == "done" for state in self._states.values())
        if skipped:
            self._console.print(f"{skipped} of {len(self._cells)} cells are done already and are skipped.")
        for cell, (folder, name) in self._cells.items():
            if self._states[cell] == "damaged":
                self._announce(cell, folder, name, "damaged")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def update(self) -> None:
        """Shows what is new, as often as that costs little: hundreds of cells may lie on a slow file system."""
        began = time.monotonic()
        if began < self._due:
            return
        for cell, (folder, name) in self._cells.items():
            if self._states.get(cell) == "done":
                continue
            state = folder.status()
            if state == "running":
                self._follow(cell, folder, name)
            if state != self._states.get(cell):
                self._announce(cell, folder, name, state)
                self._states[cell] = state
        done = sum(state == "done" for state in self._states.values())
        self._progress.update(
            self._overall, completed=done, note=f"{done}/{len(self._cells)} cells{self._time_to_go()}"
        )
        if not self._console.is_terminal and time.monotonic() - self._spoke > _LINE_EVERY:
            self._spoke = time.monotonic()
            running = [self._note(cell) for cell, state in self._states.items() if state == "running"]
            self._console.print(f"{done}/{len(self._cells)} cells done{self._time_to_go()} | " + " | ".join(running))
        ended = time.monotonic()
        self._due = ended + (ended - began) / _LOOKING

    def finish(self) -> None:
        """Shows the last state."""
        self._due = 0.0
        self.update()

    def print_summary(self) -> None:
        """Prints one row per cell, and every failure with its reason."""
        self._console.print(status_table(self._study, self._store))

    def _follow(self, cell: str, folder: CellFolder, name: str) -> None:
        seen = folder.progress()
        if seen.seconds_per_step is not None:
            self._rates[cell] = seen.seconds_per_step
        if cell not in self._bars:
            self._bars[cell] = self._progress.add_task(printable(name), total=seen.total, note="")
        note = progress_note(seen)
        self._progress.update(self._bars[cell], total=seen.total, completed=seen.step, note=note, visible=True)

    def _note(self, cell: str) -> str:
        folder, name = self._cells[cell]
        return f"{name}: {progress_note(folder.progress())}"

    def _announce(self, cell: str, folder: CellFolder, name: str, state: CellStatus) -> None:
        if state == "done":
            self._console.print(
                styled("green", "done", f"    {name} in {duration(folder.summary().train_seconds)} of training")
            )
        elif state == "failed" and (failure := folder.failure()):
            self._console.print(styled("red", "failed", f"  {name}: {failure.reason}"))
        elif state == "damaged":
            damage = folder.damages()[0]
            self._console.print(styled("red", "damaged", f" {name}: {damage.message} {damage.hint}"))
        elif state == "running" and not self._console.is_terminal:
            self._console.print(f"started {name}")
        if state != "running" and cell in self._bars:
            self._progress.update(self._bars[cell], visible=False)

    def _time_to_go(self) -> str:
        """Steps left at the mean pace seen so far, shared by the cells that run at a time."""
        if not self._rates:
            return ""
        mean = sum(self._rates.values()) / len(self._rates)
        left = 0.0
        total = max((folder.progress().total or 0 for folder, _ in self._cells.values()), default=0)
        for cell, state in self._states.items():
            if state in {"done", "failed", "damaged"}:
                continue
            step = self._cells[cell][0].progress().step if state == "running" else 0
            left += (total - step) * self._rates.get(cell, mean)
        return f", about {duration(left / self._parallel)} to go"


def _named(study: StudyFolder, store: Store) -> dict[str, tuple[CellFolder, str]]:
    """Returns each cell and what a person calls it: the label, and fold and seed where there are several."""
    manifest = study.manifest()
    cells = [(entry.label, store.cell(entry.cell)) for entry in manifest.cells]
    records = {cell.id: cell.known(manifest.datasets) for _, cell in cells}
    _, varying = constant_axes([{axis: getattr(record, axis) for axis in AXES} for record in records.values()])
    return {
        cell.id: (cell, ", ".join([label, *(f"{key} {getattr(records[cell.id], key)}" for key in varying)]))
        for label, cell in cells
    }
