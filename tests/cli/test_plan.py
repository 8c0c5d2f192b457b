"""``harness plan``: every cell of a small study, and a large one summed up."""

from __future__ import annotations

import pytest

import harness.cli.plan
from harness.cli import main

pytestmark = pytest.mark.usefixtures("toys")


def shown(capsys, study) -> list[str]:
    assert main(["plan", str(study)]) == 0
    return capsys.readouterr().out.splitlines()


def test_a_large_study_is_summed_up_by_variant_and_dataset(write_study, capsys, monkeypatch):
    models = [{"name": "toy", "label": "Narrow"}, {"name": "toy", "label": "Wide", "width": 8}]
    study = write_study(matrix={"dataset": ["cortex"], "model": models, "seed": [0, 1, 2]})
    listed = shown(capsys, study)
    assert sum(line.split()[:1] == ["Wide"] for line in listed) == 3
    monkeypatch.setattr(harness.cli.plan, "_MOST_ROWS", 5)
    summed = shown(capsys, study)
    (row,) = [line.split() for line in summed if line.split()[:1] == ["Wide"]]
    assert row[1:4] == ["cortex", "3", "0"]
    assert [line for line in summed if line.startswith("About ")], "the time to go is that of all cells"
