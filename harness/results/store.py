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
      cells/CELL/result/             appears whole: summary.json, cases.parquet, masks.parquet, history.parquet,
                                     floors.parquet, overlay.npz, overlay.png, weights.safetensors, predictions/;
                                     scores/ holds what `harness evaluate STUDY` adds
      cells/CELL/subsets/            results with fewer modalities; see :mod:`harness.results.subsets`
      studies/STUDY/PROFILE/study.json   which cells a study consists of, and what it calls them
      reports/STUDY/PROFILE/         what `harness report` wrote
"""

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, did_you_mean
from harness.files import atomic_folder, read_json, write_json
from harness.results.attempt_folder import AttemptFolder, CellStatus
from harness.results.lease import Lease
from harness.results.records import CellRecord, Manifest, MetricRequest, RungScores, Summary, Timing, TrialSummary
from harness.study.cell import CellSpec
from harness.study.profiles import Profiles, profile_name

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
class CellFolder(AttemptFolder):
    """The folder of one cell."""

    @property
    def id(self) -> str:
        """Identity of the cell."""
        return self.path.name

    @property
    def result(self) -> Path:
        """The finished result; exists whole or not at all."""
        return self.path / "result"

    def status(self) -> CellStatus:
        """Returns what has become of the cell so far."""
        return "done" if (self.result / "summary.json").is_file() else super().status()

    def record(self) -> CellRecord:
        """Returns what the cell is, as it was written down.

        Raises:
            DamagedRecordError: It cannot be read.
        """
        return CellRecord.read(self.path / "cell.json")

    def spec(self) -> CellSpec:
        """Returns all that is needed to compute the cell.

        Raises:
            DamagedRecordError: It cannot be read.
            ValueError: The file was changed by hand, or by another version.
        """
        return CellSpec.from_json(self.record().to_json())

    def write_spec(self, values: Mapping[str, Any]) -> None:
        """Writes what the cell is; once."""
        if not (self.path / "cell.json").is_file():
            write_json(self.path / "cell.json", values)

    def wanted_metrics(self) -> tuple[str, ...]:
        """Returns what studies want the cell to be scored by, beside what every cell of its dataset is.

        Raises:
            DamagedRecordError: It cannot be read.
        """
        try:
            return MetricRequest.read(self.path / "metrics.json").metrics
        except FileNotFoundError:
            return ()

    def want_metrics(self, metrics: Sequence[str]) -> None:
        """Adds to what the cell is scored by when it is tested; to one that is done, `harness evaluate` adds them."""
        known = self.wanted_metrics()
        if not set(metrics) <= set(known):
            request = MetricRequest(metrics=tuple(dict.fromkeys((*known, *metrics))))
            request.write(self.path / "metrics.json")

    def summary(self) -> Summary:
        """Returns the facts of the finished cell.

        Raises:
            DamagedRecordError: They cannot be read.
        """
        summary, timing = Summary.read(self.result / "summary.json"), self.result / "testing.json"
        return summary.model_copy(update=Timing.read(timing).to_json()) if timing.is_file() else summary

    def trial_summary(self) -> TrialSummary:
        """Returns what the finished trial reached.

        Raises:
            DamagedRecordError: It cannot be read.
        """
        return TrialSummary.read(self.result / "summary.json")

    def rung(self, epoch: int) -> RungScores | None:
        """Returns the validation scores after an epoch, or None where training has not come to it.

        Raises:
            DamagedRecordError: They cannot be read.
        """
        try:
            return RungScores.read(self._rung(epoch))
        except FileNotFoundError:
            return None

    def write_rung(self, scores: RungScores) -> None:
        """Writes the validation scores after an epoch; checkpoints stay, so that training can go on."""
        scores.write(self._rung(scores.epoch))

    def _rung(self, epoch: int) -> Path:
        return self.path / "rungs" / f"{epoch:05d}.json"

    @contextmanager
    def writing_result(self) -> Iterator[Path]:
        """Yields a folder that becomes the result when the block ends without error; checkpoints are dropped then."""
        with atomic_folder(self.result) as temporary:
            yield temporary
        self.clear_failure()
        self.release_disk_space()
        for checkpoint in self.work.glob("*.pt"):
            checkpoint.unlink(missing_ok=True)
        shutil.rmtree(self.work / "external", ignore_errors=True)  # a framework's own copies of the data

    def clear_work(self) -> None:
        """Drops checkpoints and progress: the next attempt starts from nothing."""
        shutil.rmtree(self.work, ignore_errors=True)


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
                f"The results folder {self.root} cannot be written: {error.strerror or error}.",
                hint="Correct its permissions, or choose another folder with --results.",
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
