"""The folder of one cell: what it is, how far it is, its result, and whether its files are what was written."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.files import atomic_folder
from harness.results.attempt_folder import AttemptFolder, CellStatus
from harness.results.cell_name import record_by_name
from harness.results.json_record import DamagedRecordError, find_damage, write_sealed
from harness.results.manifest import DatasetFacts
from harness.results.records import CellRecord, MetricRequest, RungScores, Summary, Timing, TrialSummary
from harness.results.tables import damaged_scores, damaged_tables, has_seal, score_folders, seal_tables
from harness.study.cell import CellSpec

#: Tables that every result has.
_TABLES = ("cases.parquet", "history.parquet", "floors.parquet")


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


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
        """Returns what has become of the cell so far; a result that is not what was written is damaged."""
        has_result = _is_there(self.result)
        state = "done" if has_result else super().status()
        if state == "running":  # whatever is wrong with its files, it writes them anew
            return state
        return "damaged" if self.spec_damages() or (has_result and self.result_damages()) else state

    def damages(self) -> tuple[DamagedRecordError, ...]:
        """Returns what is wrong with the cell's files, the result's first."""
        others = (*super().damages(), *self.rung_damages(), *self.score_damages(), *self.request_damages())
        return (*self.result_damages(), *self.spec_damages(), *others)

    def request_damages(self) -> tuple[DamagedRecordError, ...]:
        """Returns what is wrong with the record of what the cell is to be scored by."""
        damage = find_damage(MetricRequest, self.path / "metrics.json")
        return () if damage is None else (damage,)

    def rung_damages(self) -> tuple[DamagedRecordError, ...]:
        """Returns what is wrong with the validation scores at some epochs."""
        found = (find_damage(RungScores, path) for path in sorted((self.path / "rungs").glob("*.json")))
        return tuple(damage for damage in found if damage is not None)

    def score_damages(self) -> tuple[DamagedRecordError, ...]:
        """Returns what is wrong with scores that were added to the result."""
        return tuple(damage for folder in score_folders(self.result) for damage in damaged_scores(folder))

    def result_damages(self) -> tuple[DamagedRecordError, ...]:
        """Returns what is wrong with the result; nothing where there is none."""
        if not _is_there(self.result):
            return ()
        path = self.result / "summary.json"
        if not _is_there(path):
            return (DamagedRecordError(path, "it is missing", Summary.remedy),)
        if find_damage(TrialSummary, path) is None:  # of `harness tune`, which tests nothing
            return ()
        records = find_damage(Summary, path), find_damage(Timing, self.result / "testing.json")
        found = [damage for damage in records if damage is not None]
        return (*found, *damaged_tables(self.result, _TABLES, Summary.remedy))

    def has_checksums(self) -> bool:
        """Whether the result carries checksums; those of versions before 0.3.0 do not."""
        return has_seal(self.result)

    def spec_damages(self) -> tuple[DamagedRecordError, ...]:
        """Returns what is wrong with the record of what the cell is."""
        path = self.path / "cell.json"
        if (damage := find_damage(CellRecord, path)) is not None:
            return (damage,)
        missing = _is_there(self.result) and not _is_there(path)
        return (DamagedRecordError(path, "it is missing", CellRecord.remedy),) if missing else ()

    def known(self, datasets: Sequence[DatasetFacts] = ()) -> CellRecord:
        """Returns what the cell is; where that cannot be read, what its name says.

        Args:
            datasets: Facts of the study's datasets: in names of cells, signs other than letters are dashes.
        """
        try:
            return self.record()
        except (DamagedRecordError, FileNotFoundError):
            return record_by_name(self.id, datasets)

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
        """Writes what the cell is: once, and where the file is damaged."""
        path = self.path / "cell.json"
        if not path.is_file() or find_damage(CellRecord, path) is not None:
            write_sealed(path, values)

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
        """Adds to what the cell is scored by when it is tested; to one that is done, `harness evaluate` adds them.

        A damaged request is written anew.
        """
        damaged = self.request_damages()
        known = () if damaged else self.wanted_metrics()
        if damaged or not set(metrics) <= set(known):
            MetricRequest(metrics=tuple(dict.fromkeys((*known, *metrics)))).write(self.path / "metrics.json")

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

    def has_rung(self, epoch: int) -> bool:
        """Whether there are validation scores after an epoch, whole."""
        return self._rung(epoch).is_file() and find_damage(RungScores, self._rung(epoch)) is None

    def write_rung(self, scores: RungScores) -> None:
        """Writes the validation scores after an epoch; checkpoints stay, so that training can go on."""
        scores.write(self._rung(scores.epoch))

    def _rung(self, epoch: int) -> Path:
        return self.path / "rungs" / f"{epoch:05d}.json"

    @contextmanager
    def writing_result(self) -> Iterator[Path]:
        """Yields a folder that becomes the result when the block ends without error; checkpoints are dropped then.

        It takes the place of a result that is damaged.
        """
        with atomic_folder(self.result, replaces=lambda: bool(self.result_damages())) as temporary:
            yield temporary
            seal_tables(temporary)
        self.clear_failure()
        self.release_disk_space()
        for checkpoint in self.work.glob("*.pt"):
            checkpoint.unlink(missing_ok=True)
        shutil.rmtree(self.work / "external", ignore_errors=True)  # a framework's own copies of the data

    def clear_work(self) -> None:
        """Drops checkpoints and progress: the next attempt starts from nothing."""
        shutil.rmtree(self.work, ignore_errors=True)
