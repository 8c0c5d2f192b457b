"""What finished cells score when modalities are missing.

::

    results/cells/CELL/subsets/
      HASH/subset.json       which modalities were present, what stood for the others, how it was computed
      HASH/cases.parquet     rows as the cell's own
      failure.json           why the last attempt failed
      progress.json, log.txt how far the evaluation is, and what it printed
      leases/                who evaluates the cell now

The cell's own result, with every modality present, is not repeated here.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from harness.errors import HarnessError, did_you_mean
from harness.files import atomic_folder, read_json, write_json
from harness.redaction import without_secrets
from harness.results.lease import Claim, Lease, holder
from harness.results.provenance import utc_now
from harness.results.store import CellFolder

__all__ = ["CellSubsets", "Choice", "Subset", "choose_subsets", "in_words"]

#: Which subsets of the modalities are evaluated.
Choice = Literal["all", "leave-one-out", "single"]

_ROWS, _FACTS = "cases.parquet", "subset.json"


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
    fill: str

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


@dataclass(frozen=True)
class CellSubsets:
    """The subsets of one cell.

    Attributes:
        cell: Its folder.
    """

    cell: CellFolder

    @property
    def path(self) -> Path:
        """The folder of all of them."""
        return self.cell.path / "subsets"

    @property
    def log(self) -> Path:
        """What the process printed."""
        return self.path / "log.txt"

    def has(self, subset: Subset) -> bool:
        """Whether a subset has its result; it is there whole or not at all."""
        return (self.path / subset.name / _FACTS).is_file()

    @contextmanager
    def writing(self, facts: Mapping[str, Any], subset: Subset) -> Iterator[Path]:
        """Yields where the rows are to be written; when the block ends without error the result is there."""
        with atomic_folder(self.path / subset.name) as temporary:
            yield temporary / _ROWS
            about = {"present": list(subset.present), "fill": subset.fill, "finished": utc_now(), **facts}
            write_json(temporary / _FACTS, about)

    def results(self) -> list[tuple[dict[str, Any], Path]]:
        """Returns facts and the file of rows of each subset that has a result."""
        return [
            (dict(read_json(path)), path.with_name(_ROWS))
            for path in sorted(self.path.glob(f"*/{_FACTS}"))
            if not path.parent.name.startswith(".")
        ]

    def owner(self) -> Claim | None:
        """Returns who evaluates the cell now."""
        return holder(self.path / "leases")

    def lease(self, wait: float = 0.0) -> Lease:
        """Returns the lease of whoever evaluates the cell."""
        return Lease(self.path / "leases", wait)

    def failure(self) -> dict[str, Any] | None:
        """Returns why the last attempt failed, or None."""
        try:
            return dict(read_json(self.path / "failure.json"))
        except FileNotFoundError:
            return None

    def fail(self, reason: str, hint: str = "") -> None:
        """Records why an attempt failed."""
        said = {"reason": without_secrets(reason), "hint": without_secrets(hint), "time": utc_now()}
        write_json(self.path / "failure.json", said)

    def clear_failure(self) -> None:
        """Takes an earlier failure for history; a new attempt begins."""
        (self.path / "failure.json").unlink(missing_ok=True)

    def progress(self) -> dict[str, Any]:
        """Returns the last progress that was written; empty before the first, and where it cannot be read just now."""
        try:
            return dict(read_json(self.path / "progress.json"))
        except (OSError, ValueError):
            return {}

    def clear_progress(self) -> None:
        """Forgets how far an earlier evaluation was."""
        (self.path / "progress.json").unlink(missing_ok=True)

    def write_progress(self, values: Mapping[str, Any]) -> None:
        """Tells whoever watches how far the evaluation is."""
        write_json(self.path / "progress.json", values)
