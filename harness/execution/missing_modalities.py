"""Tests the finished cells of a study with fewer modalities: what is left to do, and the processes that do it."""

from __future__ import annotations

import os
import subprocess
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.data.settings import Fill
from harness.errors import HarnessError, did_you_mean
from harness.execution.cell.missing_modalities import trained_fill, why_not
from harness.execution.workers.exit_status import BUSY, DONE, FAILED, signal_name
from harness.execution.workers.interpreter import PYTHON
from harness.execution.workers.process import GRACE, Slot, worker_environment
from harness.results.store import CellFolder, Store, StudyFolder
from harness.results.subsets import CellSubsets, Subset, choose_subsets
from harness.study.cell import CellSpec

__all__ = ["Asked", "Work", "plan_missing", "run_missing"]

_POLL = 0.3  # seconds


@dataclass(frozen=True)
class Asked:
    """What is to be evaluated.

    Attributes:
        choice: Which subsets.
        fill: What stands for absent modalities; None for what each training saw.
    """

    choice: str = "all"
    fill: Fill | None = None


@dataclass(frozen=True)
class Work:
    """One cell of the study.

    Attributes:
        cell: Its folder.
        label: What the study calls it.
        subsets: What it is to be tested with; empty where it cannot be.
        refusal: Why it cannot; empty where it can.
    """

    cell: CellFolder
    label: str
    subsets: tuple[Subset, ...]
    refusal: str = ""

    @property
    def left(self) -> int:
        """Subsets that have no result yet."""
        store = CellSubsets(self.cell)
        return sum(not store.has(subset) for subset in self.subsets)

    @property
    def done(self) -> int:
        """Subsets that have a result."""
        return len(self.subsets) - self.left


def plan_missing(study: StudyFolder, store: Store, asked: Asked, label: str | None = None) -> list[Work]:
    """Returns what each cell of a study is to be tested with, in the study's order.

    Args:
        study: The study, run before.
        store: Its store.
        asked: Which subsets, and what fills them.
        label: Only this variant.

    Raises:
        HarnessError: There is no such variant or choice, or no cell can be evaluated.
    """
    entries = study.manifest()["cells"]
    known = list(dict.fromkeys(entry["label"] for entry in entries))
    if label is not None and label not in known:
        raise HarnessError(f"Study '{study.study}' has no variant '{label}'.", hint=did_you_mean(label, known))
    root = store.root.resolve()  # a worker's working directory may be another one
    works = [
        _work(CellFolder(root / "cells" / store.cell(entry["cell"]).id), entry["label"], asked)
        for entry in entries
        if label in (None, entry["label"])
    ]
    if all(work.refusal for work in works):
        first = works[0]
        raise HarnessError(
            f"No cell of '{study.study}' can be evaluated, e.g. {first.label} on {first.cell.spec()['dataset']}: "
            f"{first.refusal}.",
            hint="Run the study first; fill by a token only what was trained with one.",
        )
    return works


def _work(cell: CellFolder, label: str, asked: Asked) -> Work:
    if refusal := why_not(cell, asked.fill):
        return Work(cell, label, (), refusal)
    modalities = CellSpec.from_json(cell.spec()).facts().modalities
    try:
        kind = asked.fill or trained_fill(cell)
    except HarnessError:
        kind = "zeros"  # the weights cannot be read: the cell's process fails and says so
    return Work(cell, label, tuple(Subset(present, kind) for present in choose_subsets(modalities, asked.choice)))


class _Job:
    """The process of one cell."""

    def __init__(self, work: Work, slot: Slot, asked: Asked, cache: Path) -> None:
        self.work, self.slot = work, slot
        store = CellSubsets(work.cell)
        store.path.mkdir(parents=True, exist_ok=True)
        command = [*PYTHON, "-m", "harness.execution.workers.missing_worker", str(work.cell.path)]
        command += ["--cache", str(cache), "--device", slot.device, "--threads", str(slot.threads)]
        command += ["--parent", str(os.getpid()), "--subsets", asked.choice]
        command += ["--fill", asked.fill] if asked.fill else []
        with store.log.open("wb") as log:
            # A session of its own: Ctrl-C reaches this process only, which then stops its workers in order.
            self.process = subprocess.Popen(  # noqa: S603 - our own module, no shell
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=worker_environment(slot),
                start_new_session=True,
            )

    def settle(self, code: int) -> None:
        """Sees to it that a process that died without a word leaves a failure."""
        if code in (DONE, BUSY, FAILED):
            return
        store = CellSubsets(self.work.cell)
        if code < 0:
            text, hint = f"The process was killed by {signal_name(code)}.", "What was done is kept: run it again."
        else:
            text, hint = f"The process ended with status {code}.", f"The whole log: {store.log}"
        store.fail(text, hint)


def run_missing(
    works: Sequence[Work], slots: Sequence[Slot], asked: Asked, cache: Path, watch: Callable[[], None]
) -> tuple[Work, ...]:
    """Evaluates what has no result, each cell in a process of its own.

    Args:
        works: As planned.
        slots: Places on this machine.
        asked: As planned.
        cache: Folder of prepared data.
        watch: Called about three times a second.

    Returns:
        Cells that lack results in the end; where nobody else computes them, their folders say why.

    Raises:
        KeyboardInterrupt: The user stopped; subsets that are done are kept.
    """
    waiting = deque(work for work in works if work.left)
    for work in waiting:
        CellSubsets(work.cell).clear_progress()
    free, jobs = list(slots), list[_Job]()
    try:
        while waiting or jobs:
            while waiting and free:
                jobs.append(_Job(waiting.popleft(), free.pop(0), asked, cache.resolve()))
            watch()
            time.sleep(_POLL)
            for job in list(jobs):
                if (code := job.process.poll()) is not None:
                    jobs.remove(job)
                    free.append(job.slot)
                    job.settle(code)
        watch()
    finally:
        _stop(jobs)
    return tuple(work for work in works if work.left)


def _stop(jobs: Sequence[_Job]) -> None:
    for job in jobs:
        job.process.terminate()
    deadline = time.monotonic() + GRACE
    for job in jobs:
        try:
            job.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            job.process.kill()
            job.process.wait()
