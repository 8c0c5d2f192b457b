"""What a table says of a variant that scored low."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from analysed import analysed

from harness.report.analysis.analysis import analyse_study
from harness.report.analysis.low_score_notes import low_score_notes
from harness.report.tables.means import mean_tables


def notes(results):
    study = analysed(results)
    return low_score_notes(study, study.views["cortex"])


def low(builder, losses=(), steps=10):
    builder.cell("AAHN", [(0.8, 0.9), (0.7, 0.8)])
    cell = builder.cell("slow", [(0.0, 0.6), (0.0, 0.8)])
    for epoch, loss in enumerate(losses, 1):
        row = {"cell": cell, "epoch": epoch, "step": steps * epoch, "loss": loss, "lr": 0.01, "seconds": 1.0}
        builder.history.append(row | {"val_dice": 0.25 if epoch == len(losses) else float("nan")})
    return builder.build()


def test_a_falling_loss_and_a_region_that_was_never_found_are_named(builder):
    losses = [2.0, 2.0, 1.0, 1.0, 0.8, 0.8, 0.6, 0.6]  # the last quarter lies a quarter below the one before
    (note,) = notes(low(builder, losses))
    assert note.startswith("slow ")
    for fact in ("0.350", "Cortex found in no case", "80 steps", "still fell, by 25%", "validation Dice was 0.250"):
        assert fact in note
    assert "White" not in note


def test_a_loss_that_has_settled_is_called_so(builder):
    assert "its loss had settled" in notes(low(builder, [2.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]))[0]


@pytest.mark.parametrize("losses", [[1.0], [1.0, 0.5, 0.4]])
def test_three_epochs_show_no_trend(builder, losses):
    assert "too rarely to tell a trend" in notes(low(builder, losses))[0]


def test_without_a_history_the_regions_alone_speak(builder):
    (note,) = notes(low(builder))
    assert "Cortex found in no case" in note
    assert "training" not in note


def test_who_scored_well_and_who_has_no_mean_needs_no_explanation(builder):
    builder.cell("AAHN", [(0.5, 0.5), (0.7, 0.8)])
    builder.cell("broken", status="failed", reason="CUDA error")
    assert notes(builder.build()) == []


def test_seeds_of_one_variant_are_told_from_those_of_another(builder):
    results = low(builder, [2.0, 2.0, 1.0, 1.0])
    other = results.history.assign(cell=results.cells["cell"].iloc[0], loss=[1e9, 1.0, 1e9, 1.0], val_dice=0.9)
    mixed = replace(results, history=pd.concat([other, results.history], ignore_index=True))
    assert notes(mixed) == notes(results)


def test_the_table_of_means_carries_the_words(builder):
    study = analyse_study(low(builder, [2.0, 1.0, 0.5, 0.25]))
    (table,) = mean_tables(study, study.views["cortex"])
    assert any(note.startswith("slow ") and "0.350" in note for note in table.notes)
