"""The results store: one folder a cell, its result written once and atomically. It is the only truth.

::

    results/
      store.json                     format of the store
      cells/CELL/cell.json           what the cell is
      cells/CELL/metrics.json        what studies want it to be scored by, beside what every cell of its dataset is
      cells/CELL/work/               progress, log, checkpoints, reserved space; disposable once there is a result
      cells/CELL/leases/             who computes it now
      cells/CELL/failure.json        why the last attempt failed
      cells/CELL/attempts.json       every attempt that failed
      cells/CELL/rungs/              validation scores at some epochs, of cells trained by `harness lead`
      cells/CELL/result/             appears whole: summary.json, testing.json, cases.parquet, masks.parquet,
                                     history.parquet, floors.parquet, checksums.json of these tables, overlay.npz,
                                     slices.npz, weights.safetensors, predictions/;
                                     scores/ holds what `harness evaluate STUDY` adds
      cells/CELL/subsets/            results with fewer modalities; see :mod:`harness.results.subsets`
      studies/STUDY/PROFILE/study.json   which cells a study consists of, and what it calls them
      reports/STUDY/PROFILE/         what `harness report` wrote
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError, did_you_mean
from harness.files import read_json, write_json
from harness.results.attempt_folder import CellStatus
from harness.results.cell_folder import CellFolder
from harness.results.json_record import DamagedRecordError, find_damage
from harness.results.lease import Lease
from harness.results.manifest import Manifest
from harness.study.profiles import Profiles, profile_name
from harness.system_errors import meaning_of, remedy_of

__all__ = ["CellFolder", "CellStatus", "Store", "StudyFolder"]

#: Version of the layout above; a store of another version is refused, never guessed at.
FORMAT = 1

#: Names of cells, studies and profiles: none leads elsewhere, on any file system.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+-]*")


def _inside(folder: Path, name: str) -> Path:
    """Returns a direct child of ``folder``; a name that is anything else is refused."""
    if _NAME.fullmatch(name) is None:
        raise HarnessError(
            f"{name!r} cannot be the name of a folder in {folder}.",
            hint="Names in a results folder have letters, digits, '_', '-' and '+'. Whoever wrote this file meant "
            "another place: do not trust it.",
        )
    return folder / name


@dataclass(frozen=True)
class StudyFolder:
    """One study under one profile."""

    path: Path

    @property
    def study(self) -> str:
        """Study name."""
        return self.path.parent.name

    @property
    def profile(self) -> str:
        """Profile name."""
        return self.path.name

    def manifest(self) -> Manifest:
        """Returns the study as resolved.

        Raises:
            DamagedRecordError: It cannot be read.
        """
        return Manifest.read(self.path / "study.json")

    def damage(self) -> DamagedRecordError | None:
        """Returns what is wrong with the study's record; None where nothing is."""
        return find_damage(Manifest, self.path / "study.json")

    def write_manifest(self, manifest: Manifest) -> None:
        """Writes the study as resolved."""
        manifest.write(self.path / "study.json")

    def lease(self) -> Lease:
        """Returns the lease of the run that shows the study in MLflow; cells are shared by any number of runs."""
        return Lease(self.path / "leases")


class Store:
    """A results folder.

    Args:
        root: Where it is; created when first written to.

    Raises:
        HarnessError: The folder belongs to another version of the store, or cannot be read.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        marker = root / "store.json"
        if not marker.is_file():
            return
        try:
            found = read_json(marker).get("format")
        except (ValueError, AttributeError, OSError) as error:
            raise HarnessError(
                f"{marker} cannot be read: {error}", hint="Restore the file or choose another --results."
            ) from error
        if found != FORMAT:
            raise HarnessError(
                f"The results in {root} have format {found}; this version of the harness reads format {FORMAT}.",
                hint="Use the version that wrote them, or choose another folder with --results.",
            )

    def create(self) -> None:
        """Makes the folder, if need be.

        Raises:
            HarnessError: It cannot be written.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            if not (self.root / "store.json").is_file():
                write_json(self.root / "store.json", {"format": FORMAT})
            else:  # an old store may be on a disk that is read-only now
                probe = self.root / ".write-probe"
                probe.touch()
                probe.unlink(missing_ok=True)  # two runs may begin at once
        except OSError as error:
            raise HarnessError(
                f"The results folder {self.root} cannot be written: {meaning_of(error)}.",
                hint=remedy_of(error, self.root),
            ) from error

    def cell(self, identity: str) -> CellFolder:
        """Returns the folder of a cell; its path is absolute, as a worker's working directory may be another one.

        Raises:
            HarnessError: The name, which may come from somebody else's manifest, leads out of the results folder.
        """
        cell = CellFolder(_inside(self.root.resolve() / "cells", identity))
        for path in (cell.path, cell.work, cell.result):
            if path.is_symlink():
                raise HarnessError(
                    f"{path} is a link; what is written there would land elsewhere.",
                    hint="Remove it. To keep results on another disk, link or choose the whole folder: --results.",
                )
        return cell

    def cells(self) -> Iterator[CellFolder]:
        """Yields the cells that lie here; what a link leads to elsewhere is not ours."""
        for path in sorted((self.root / "cells").glob("*")):
            if path.is_dir():
                with suppress(HarnessError):
                    yield self.cell(path.name)

    def study_cells(self, study: StudyFolder) -> list[tuple[str, CellFolder]]:
        """Returns label and folder of each cell of a study, in the study's order; a cell may have several labels.

        Raises:
            DamagedRecordError: The study's manifest cannot be read.
            HarnessError: A name leads out of the results folder.
        """
        return [(entry.label, self.cell(entry.cell)) for entry in study.manifest().cells]

    def find_cell(self, part: str) -> CellFolder:
        """Returns the one cell whose identity contains ``part``.

        Raises:
            HarnessError: None does, or several do.
        """
        known = [path.name for path in sorted((self.root / "cells").glob("*")) if path.is_dir()]
        found = [name for name in known if name == part] or [name for name in known if part in name]
        if len(found) == 1:
            return self.cell(found[0])
        if not found:
            raise HarnessError(f"No cell '{part}' in {self.root}.", hint=did_you_mean(part, known))
        shown = ", ".join(found[:6]) + (", ..." if len(found) > 6 else "")
        raise HarnessError(f"{len(found)} cells are called like '{part}'.", hint=f"Say more: {shown}")

    def study_of(self, cell: CellFolder) -> tuple[StudyFolder, str] | None:
        """Returns the study run last that holds a cell, and what it calls the cell; None where no study does."""
        for study in self.studies():
            if study.damage() is None:
                labels = {one.cell: one.label for one in study.manifest().cells}
                if cell.id in labels:
                    return study, labels[cell.id]
        return None

    def study(self, name: str, profile: str) -> StudyFolder:
        """Returns the folder of a study under a profile.

        Raises:
            HarnessError: A name leads out of the results folder.
        """
        return StudyFolder(_inside(_inside(self.root / "studies", name), profile))

    def studies(self) -> list[StudyFolder]:
        """Returns all studies, the one run last first."""
        found = (self.root / "studies").glob("*/*/study.json")
        newest_first = sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)
        return [StudyFolder(path.parent) for path in newest_first]

    def find_study(self, name: str | None = None, profile: Profiles = None) -> StudyFolder:
        """Returns the study run last among those that match.

        Raises:
            HarnessError: None matches.
        """
        profile = profile_name(profile)
        studies = self.studies()
        if not studies:
            raise HarnessError(
                f"There are no studies in {self.root}.",
                hint="Run one: harness run studies/ablation_tcfaf.yaml --profile demo",
            )
        named = [study for study in studies if name is None or study.study == name]
        if not named:
            raise HarnessError(
                f"No study '{name}' in {self.root}.", hint=did_you_mean(str(name), {study.study for study in studies})
            )
        matching = [study for study in named if profile is None or study.profile == profile]
        if not matching:
            known = {study.profile for study in named}
            raise HarnessError(
                f"Study '{name}' was not run with profile '{profile}'.", hint=did_you_mean(str(profile), known)
            )
        return matching[0]
