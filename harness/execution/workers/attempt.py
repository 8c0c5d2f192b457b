"""One attempt at what has to be computed, and how it ended."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.results.attempt_folder import AttemptFolder, CellStatus
from harness.results.store import CellFolder
from harness.results.subsets import CellSubsets, Subset

#: What is computed of a cell.
#:
#: - ``train``: everything, test included (``harness run``);
#: - ``trial``: training and validation; test cases stay closed (``harness tune``);
#: - ``rung``: as a trial, until an epoch; a later attempt goes on from there (``harness lead``);
#: - ``subsets``: a finished cell's test cases with fewer modalities; nothing is trained (``harness missing``).
Kind = Literal["train", "trial", "rung", "subsets"]


@dataclass(frozen=True)
class Attempt:
    """One try at a cell.

    Attributes:
        cell: Folder of the cell, on a file system that all machines see.
        cache: Folder of prepared data.
        timeout: Time limit in seconds; None for no limit.
        accumulate: Parts each training batch is cut into, where the whole did not fit in GPU memory.
        kind: What is computed.
        until: Epoch after which a rung ends.
        subsets: Modalities that are present, and what fills the others; the same for all of them.
        eager: Whether training steps are done as written, since an earlier attempt found that they cannot be recorded.
    """

    cell: CellFolder
    cache: Path
    timeout: float | None = None
    accumulate: int = 1
    kind: Kind = "train"
    until: int | None = None
    subsets: tuple[Subset, ...] = ()
    eager: bool = False

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Reads also what release 0.2.0 left in a queue of Slurm, which had ``trial`` and ``until`` for the kind."""
        values = dict(state)
        trial = values.pop("trial", False)
        if "kind" not in values:
            values["kind"] = "rung" if values.get("until") is not None else "trial" if trial else "train"
        self.__dict__.update(values)

    @property
    def folder(self) -> AttemptFolder:
        """Where it takes its lease and leaves log, progress and failures; never the cell's own for its subsets."""
        return CellSubsets(self.cell) if self.kind == "subsets" else self.cell

    def is_done(self) -> bool:
        """Returns whether its result is there, whoever computed it."""
        if self.kind == "subsets":
            store = CellSubsets(self.cell)
            return all(store.has(subset) for subset in self.subsets)
        if self.until is not None:
            return self.cell.has_rung(self.until)
        return self.cell.status() == "done"

    def status(self) -> CellStatus:
        """Returns what has become of it so far."""
        return "done" if self.is_done() else self.folder.status()


@dataclass(frozen=True)
class Ending:
    """How an attempt ended.

    Attributes:
        state: ``done``; ``failed`` (the folder says why); ``stopped`` (asked to, a checkpoint is kept); ``busy``
            (somebody else computes the cell); ``lost`` (nobody knows: the machine is gone).
        detail: What is known of a loss, or of a failure that could not be written down.
    """

    state: Literal["done", "failed", "stopped", "busy", "lost"]
    detail: str = ""
