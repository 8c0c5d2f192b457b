"""Races whose scores are made up."""

from __future__ import annotations

import pytest

from harness.leading.plan import Request, make_plan
from harness.leading.runs import Trainings
from harness.results.records import HistoryRow, RungScore, RungScores


class MadeUp:
    """A race on the small embedded person, or another dataset; a candidate's Dice is what the test says."""

    def __init__(self, project, dataset="cortex", **asked):
        asked = {"with_none": True, **asked}
        request = Request(dataset, model="toy_leading", protocol="demo", epochs=8, **asked)
        self.plan = make_plan(request, project / "lead")
        self.folder = project / "lead" / "cells"
        self.trainings = self.again()
        self.trainings.write_specs()

    def again(self):
        """The same race as another process finds it."""
        return Trainings(self.plan, self.folder)

    def write(self, cell, epoch, dice):
        """Scores every case and region of a cell alike, but for what cases and seeds differ by."""
        spec = cell.spec()
        reader = self.plan.dataset.open(spec.root)
        rows = [
            RungScore(
                case=case, patient=reader.patient(case), region=region, dice=dice + 0.01 * number + 0.005 * spec.seed
            )
            for number, case in enumerate(self.plan.validation)
            for region in self.plan.dataset.regions
        ]
        history = [HistoryRow(epoch=one, loss=1.0, seconds=2.0) for one in range(1, epoch + 1)]
        cell.write_rung(RungScores(cell=cell.id, epoch=epoch, scores=tuple(rows), history=tuple(history)))

    def score(self, epoch, **dice):
        """Writes all seeds of some candidates."""
        for candidate, value in dice.items():
            for cell in self.trainings.missing([candidate], epoch):
                self.write(cell, epoch, value)


@pytest.fixture
def made_up(toys, project):
    """Returns a function that makes a race up; keyword arguments go into the request."""
    return lambda **asked: MadeUp(project, **asked)
