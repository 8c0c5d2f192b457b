"""The trainings of a race and their scores so far; everything is read from their folders."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.leading.plan import Plan
from harness.leading.race import Rung, epochs_to_run, planned_epochs, run_so_far
from harness.results.json_record import DamagedRecordError
from harness.results.records import RungScores
from harness.results.store import CellFolder
from harness.statistics.chances import Resamples, chances_of_best


class Trainings:
    """One cell for each candidate and seed.

    Args:
        plan: Plan of the race.
        folder: Folder of the cells; races that share a training share its folder.
    """

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self._cells = {key: CellFolder(folder.resolve() / spec.id) for key, spec in plan.specs.items()}
        self._read: dict[tuple[str, int], RungScores] = {}
        self._means: dict[tuple[str, int], NDArray[np.float64]] = {}

    def write_specs(self) -> None:
        """Writes what each cell is."""
        for key, cell in self._cells.items():
            cell.write_spec(self.plan.specs[key].to_json())

    def repair(self) -> list[DamagedRecordError]:
        """Removes scores that are damaged, so that their cells are trained to that epoch anew; returns what was wrong.

        Raises:
            LeaseHeldError: Another race trains the cell now.
        """
        found: list[DamagedRecordError] = []
        for cell in self._cells.values():
            if damages := cell.rung_damages():
                with cell.lease():
                    cell.clear_work()  # its checkpoint may be of a later epoch
                    for damage in damages:
                        damage.path.unlink(missing_ok=True)
                found += damages
        return found

    def race(self) -> list[Rung]:
        """Returns the rungs up to the first one that lacks a score, or all of them."""
        plan = self.plan
        return run_so_far(plan.candidates, plan.rungs, plan.request.rule, self.score, self.chances)

    def epochs_to_run(self) -> int:
        """Returns the epochs of all seeds that the race has cost, and at least those that are left."""
        plan, rule = self.plan, self.plan.request.rule
        decided = [rung for rung in self.race() if rung.survivors]
        if decided:
            return len(plan.seeds) * epochs_to_run(decided, plan.rungs, rule)
        return len(plan.seeds) * planned_epochs(len(plan.candidates), plan.rungs, rule)

    def chances(self, candidates: Sequence[str], epoch: int) -> dict[str, float]:
        """Returns the probability of each candidate to be the best of these at an epoch."""
        return chances_of_best([{candidate: self.scores(candidate, epoch) for candidate in candidates}], self.draws)

    @cached_property
    def draws(self) -> Resamples:
        """Resamples of the race's seeds and validation patients, the same for every probability."""
        return Resamples(len(self.plan.seeds), self.units())

    def missing(self, candidates: Sequence[str], epoch: int) -> list[CellFolder]:
        """Returns the cells of candidates that have no scores of an epoch, the first seed of each candidate first."""
        wanted = [self._cells[candidate, seed] for seed in self.plan.seeds for candidate in candidates]
        return [cell for cell in wanted if self._rung(cell, epoch) is None]

    def score(self, candidate: str, epoch: int) -> float | None:
        """Returns mean validation Dice over seeds, patients and regions; None where a seed is missing."""
        if self.missing([candidate], epoch):
            return None
        return float(self.scores(candidate, epoch).mean())

    def scores(self, candidate: str, epoch: int) -> NDArray[np.float64]:
        """Returns Dice (seeds x units), each the mean over a unit's cases and regions.

        A unit is a patient; where all cases are parts of one patient, it is a case.
        """
        key = candidate, epoch
        if key not in self._means:  # a race asks for them at each of its steps
            rows = self.rows([candidate], epoch)
            table = rows.groupby(["seed", "unit"], sort=True)["dice"].mean().unstack("unit")
            self._means[key] = table.to_numpy(dtype=float)
        return self._means[key]

    def regions(self, candidate: str, epoch: int) -> dict[str, float]:
        """Returns mean Dice of each region, in the dataset's order."""
        means = (
            self.rows([candidate], epoch).groupby(["region", "seed", "unit"])["dice"].mean().groupby("region").mean()
        )
        return {region: float(means[region]) for region in self.plan.dataset.regions}

    def rows(self, candidates: Sequence[str], epoch: int) -> pd.DataFrame:
        """Returns one row per candidate, seed, case and region."""
        rows = []
        for candidate in candidates:
            for seed in self.plan.seeds:
                found = self._rung(self._cells[candidate, seed], epoch)
                assert found is not None  # only asked once it is there
                for one in found.scores:
                    unit = one.case if self.plan.dataset.split_within_patient else one.patient
                    rows.append((candidate, seed, epoch, one.patient, one.case, unit, one.region, one.dice))
        return pd.DataFrame(rows, columns=["leading", "seed", "epoch", "patient", "case", "unit", "region", "dice"])

    def units(self) -> int:
        """Returns over how many patients, or parts of one patient, scores are averaged."""
        dataset = self.plan.dataset
        reader = dataset.open(next(iter(self.plan.specs.values())).root)
        cases = self.plan.validation
        return len(set(cases) if dataset.split_within_patient else {reader.patient(case) for case in cases})

    def seconds(self, candidate: str, epoch: int) -> float:
        """Returns the training time of a candidate's seeds until an epoch, without validation."""
        found = [self._rung(self._cells[candidate, seed], epoch) for seed in self.plan.seeds]
        return sum(row.seconds or 0.0 for rung in found if rung is not None for row in rung.history)

    def epochs_done(self) -> float:
        """Returns the epochs trained so far, of all cells."""
        return sum(self._epochs_of(cell) for cell in self._cells.values())

    def failures(self, cells: Sequence[CellFolder]) -> list[tuple[CellFolder, str]]:
        """Returns those of the cells that failed, and why."""
        found = [(cell, cell.failure()) for cell in cells]
        return [(cell, f"{failure.reason} {failure.hint}".strip()) for cell, failure in found if failure]

    def drop_checkpoints(self) -> None:
        """Removes checkpoints: no training continues from them."""
        for cell in self._cells.values():
            for checkpoint in cell.work.glob("*.pt"):
                checkpoint.unlink()

    def _epochs_of(self, cell: CellFolder) -> float:
        reached = [epoch for epoch in self.plan.rungs if self._rung(cell, epoch) is not None]
        seen = cell.progress()
        under_way = seen.step * seen.epochs / seen.total if seen.total else 0.0
        return max([under_way, *reached])

    def _rung(self, cell: CellFolder, epoch: int) -> RungScores | None:
        key = (cell.id, epoch)
        if key not in self._read and (found := cell.rung(epoch)) is not None:
            self._read[key] = found
        return self._read.get(key)
