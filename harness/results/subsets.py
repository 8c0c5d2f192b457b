"""What finished cells score when modalities are missing.

::

    results/cells/CELL/subsets/
      HASH/subset.json       which modalities were present, what stood for the others, how it was computed
      HASH/cases.parquet     rows as the cell's own
      failure.json           why the last attempt failed
      attempts.json          every attempt that failed
      progress.json, log.txt how far the evaluation is, and what it printed
      leases/                who evaluates the cell now

The cell's own result, with every modality present, is not repeated here.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from harness.errors import HarnessError, did_you_mean
from harness.files import atomic_folder
from harness.results.attempt_folder import AttemptFolder
from harness.results.json_record import DamagedRecordError, find_damage
from harness.results.records import SubsetSummary
from harness.results.store import CellFolder
from harness.results.tables import ROWS, damaged_tables, seal_tables

if TYPE_CHECKING:
    from harness.data.settings import Fill

#: Which subsets of the modalities are evaluated.
Choice = Literal["all", "leave-one-out", "single"]

_FACTS = "subset.json"


def in_words(present: Sequence[str]) -> str:
    """Returns e.g. ``t1+epi``, the value of column ``present``."""
    return "+".join(present)


@dataclass(frozen=True)
class Subset:
    """Some of a cell's modalities, and what stands for the others.

    Attributes:
        present: Modalities the network is given, in channel order.
        fill: ``zeros``, ``mean`` or ``token``.
    """

    present: tuple[str, ...]
    fill: Fill

    @property
    def name(self) -> str:
        """Name of the folder."""
        text = json.dumps([list(self.present), self.fill], separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def choose_subsets(modalities: Sequence[str], choice: str = "all") -> list[tuple[str, ...]]:
    """Returns subsets that lack at least one modality and hold at least one, the largest first.

    Args:
        modalities: In channel order.
        choice: All of them, those that lack one modality, or those that hold one.

    Raises:
        HarnessError: There is no such choice, or a single modality, which cannot be missing.
    """
    sizes = {"all": range(len(modalities) - 1, 0, -1), "leave-one-out": [len(modalities) - 1], "single": [1]}
    if choice not in sizes:
        raise HarnessError(f"There is no choice '{choice}'.", hint=did_you_mean(choice, get_args(Choice)))
    if len(modalities) < 2:
        raise HarnessError(f"{modalities[0]} is the only modality.", hint="There is none to leave out.")
    return [found for size in sizes[choice] for found in itertools.combinations(modalities, size)]


class CellSubsets(AttemptFolder):
    """The subsets of one cell.

    Args:
        cell: Its folder.
    """

    def __init__(self, cell: CellFolder) -> None:
        super().__init__(cell.path / "subsets")

    @property
    def work(self) -> Path:
        """Progress and log; weights and result are the cell's."""
        return self.path

    def has(self, subset: Subset) -> bool:
        """Whether a subset has its result, whole; one that is damaged counts as absent."""
        folder = self.path / subset.name
        return (folder / _FACTS).is_file() and not _damages(folder)

    def result_damages(self) -> tuple[DamagedRecordError, ...]:
        """Returns what is wrong with the results."""
        return tuple(damage for folder in self._folders() for damage in _damages(folder))

    @contextmanager
    def writing(self, summary: SubsetSummary) -> Iterator[Path]:
        """Yields where the rows are to be written; when the block ends without error the result is there."""
        target = self.path / Subset(summary.present, summary.fill).name
        with atomic_folder(target, replaces=lambda: bool(_damages(target))) as temporary:
            yield temporary / ROWS
            summary.write(temporary / _FACTS)
            seal_tables(temporary)

    def results(self) -> list[tuple[SubsetSummary, Path]]:
        """Returns the facts and the file of rows of each subset that has a result; damaged ones are left out."""
        whole = (folder for folder in self._folders() if not _damages(folder))
        return [(SubsetSummary.read(folder / _FACTS), folder / ROWS) for folder in whole]

    def _folders(self) -> list[Path]:
        found = (path.parent for path in self.path.glob(f"*/{_FACTS}"))
        return sorted(folder for folder in found if not folder.name.startswith("."))

    def clear_progress(self) -> None:
        """Forgets how far an earlier evaluation was."""
        (self.path / "progress.json").unlink(missing_ok=True)


def _damages(folder: Path) -> tuple[DamagedRecordError, ...]:
    """Returns what is wrong with the result of one subset."""
    facts = find_damage(SubsetSummary, folder / _FACTS)
    return (*([facts] if facts else []), *damaged_tables(folder, (ROWS,), SubsetSummary.remedy))
