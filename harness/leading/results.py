"""Result files of a race: the ranking as table, Markdown and JSON, all scores, and a figure."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from harness.files import atomic_path, write_json
from harness.leading.answer import Answer
from harness.leading.plan import Plan
from harness.leading.race import Rung
from harness.leading.runs import Trainings
from harness.results.provenance import code_version, utc_now

#: Columns of the ranking before and after those of the regions.
COLUMNS = (("leads", "P(best)", "epochs", "Dice"), ("behind", "95 %"))


def ranking_rows(plan: Plan, answer: Answer) -> list[list[str]]:
    """Returns the ranking in words, one list per candidate: :data:`COLUMNS`, with the regions in between."""
    rows = []
    for place in answer.places:
        behind, interval = "", ""
        if place.interval is not None:
            behind = f"{place.behind:.3f}"
            interval = f"{place.interval.low:.3f} to {place.interval.high:.3f}"
        regions = [f"{place.regions[region]:.3f}" for region in plan.dataset.regions]
        facts = [place.candidate, f"{place.chance:.2f}", str(place.epoch), f"{place.dice:.3f}"]
        rows.append([*facts, *regions, behind, interval])
    return rows


def cost_words(plan: Plan, answer: Answer) -> str:
    """Returns what the race cost beside training everything, in a sentence."""
    cost = answer.cost
    about = "" if cost.measured else "about "
    return (
        f"{cost.epochs} epochs instead of {cost.of_all} for every modality to epoch {plan.rungs[-1]} "
        f"({cost.epochs / cost.of_all:.0%}); training time {cost.seconds / 60:.1f} min instead of {about}"
        f"{cost.seconds_of_all / 60:.1f} min. The exhaustive study under protocol {plan.request.protocol}: "
        f"{cost.of_study} epochs ({cost.epochs / cost.of_study:.0%})."
    )


def agreement(answer: Answer, exhaustive: Answer) -> str:
    """Returns whether the race found what training everything finds, in a sentence."""
    mine, best = answer.first.candidate, exhaustive.first
    if mine == best.candidate:
        return f"Trained to the end, all of them: {mine} is first as well. {exhaustive.sentence}"
    loss = next(place.behind for place in exhaustive.places if place.candidate == mine)
    return (
        f"Trained to the end, all of them: {best.candidate} is first, not {mine}, which lies {loss:.3f} Dice behind. "
        f"{exhaustive.sentence}"
    )


def write_results(
    folder: Path, trainings: Trainings, rungs: Sequence[Rung], answer: Answer, exhaustive: Answer | None
) -> list[Path]:
    """Writes everything and returns the files.

    Args:
        folder: Folder of the race.
        trainings: Trainings of the race.
        rungs: All rungs.
        answer: Answer of the race.
        exhaustive: Answer of training all candidates to the end, where that was done.
    """
    folder.mkdir(parents=True, exist_ok=True)
    plan = trainings.plan
    table, scores, words, facts = (folder / name for name in ("ranking.csv", "scores.csv", "answer.md", "answer.json"))
    _write_ranking(table, answer)
    _write_scores(scores, trainings)
    with atomic_path(words) as temporary:
        temporary.write_text(_markdown(plan, answer, exhaustive), encoding="utf-8")
    write_json(facts, _facts(plan, rungs, answer, exhaustive))
    from harness.leading.figure import draw_race
    from harness.report.figures.figure import render

    figures = []
    for suffix, content in render(draw_race(trainings, rungs, exhaustive is not None)).items():
        figures.append(folder / f"race.{suffix}")
        with atomic_path(figures[-1]) as temporary:
            temporary.write_bytes(content)
    return [words, table, scores, facts, *figures]


def _write_ranking(path: Path, answer: Answer) -> None:
    rows = [
        {
            "leading": place.candidate,
            "p_best": place.chance,
            "epochs": place.epoch,
            "val_dice": place.dice,
            **{f"val_dice.{region}": value for region, value in place.regions.items()},
            "behind": place.behind,
            "behind_low": place.interval.low if place.interval else None,
            "behind_high": place.interval.high if place.interval else None,
        }
        for place in answer.places
    ]
    with atomic_path(path) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)


def _write_scores(path: Path, trainings: Trainings) -> None:
    plan = trainings.plan
    frames = [
        trainings.rows([candidate], epoch)
        for epoch in plan.rungs
        for candidate in plan.candidates
        if not trainings.missing([candidate], epoch)
    ]
    with atomic_path(path) as temporary:
        pd.concat(frames, ignore_index=True).to_csv(temporary, index=False)


def _markdown(plan: Plan, answer: Answer, exhaustive: Answer | None) -> str:
    heads = [*COLUMNS[0], *plan.dataset.regions, *COLUMNS[1]]
    lines = [f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *ranking_rows(plan, answer))]
    parts = [
        f"# Which modality should lead on {plan.data}?",
        f"{answer.sentence} {answer.needed}".rstrip(),
        f"```yaml\n{answer.line}\n```",
        "\n".join(lines),
        "`Dice`: mean validation Dice over patients and regions at the modality's last epoch. `behind`: Dice behind "
        "the first one, both trained equally long. `P(best)`: share of bootstrap resamples of patients and seeds in "
        "which it is the best.",
        f"Cost: {cost_words(plan, answer)}",
        *filter(None, [plan.split_words]),
    ]
    if exhaustive is not None:
        parts.append(agreement(answer, exhaustive))
    if answer.cautions:
        parts.append("\n".join(f"- {caution}" for caution in (*answer.cautions, *plan.dataset.notes)))
    return "\n\n".join(parts) + "\n"


def _facts(plan: Plan, rungs: Sequence[Rung], answer: Answer, exhaustive: Answer | None) -> dict[str, Any]:
    asked = plan.request
    return {
        "dataset": plan.dataset.name,
        "kind": plan.kind,
        "model": {"name": asked.model, **asked.options},
        "protocol": asked.protocol,
        "fold": asked.fold,
        "split": None if asked.by is None else {"by": asked.by.column, "kind": asked.by.kind},
        "validation": {"cases": list(plan.validation), "own_split": plan.own_split},
        "seeds": list(plan.seeds),
        "rungs": [{"epoch": rung.epoch, "runners": rung.candidates, "onward": rung.survivors} for rung in rungs],
        "leading": None if answer.equals else answer.first.candidate,
        "first": answer.first.candidate,
        "cannot_tell_from": list(answer.equals),
        "answer": answer.sentence,
        "patients": answer.patients,
        "needed": answer.needed,
        "cautions": list(answer.cautions),
        "ranking": [_place(place) for place in answer.places],
        "cost": asdict(answer.cost),
        "exhaustive": None
        if exhaustive is None
        else {
            "agrees": exhaustive.first.candidate == answer.first.candidate,
            "answer": exhaustive.sentence,
            "ranking": [_place(place) for place in exhaustive.places],
        },
        "cells": sorted(spec.id for spec in plan.specs.values()),
        "written": utc_now(),
        "commit": code_version(),
    }


def _place(place: Any) -> dict[str, Any]:
    facts = asdict(place)
    interval = list(place.interval) if place.interval is not None else None
    return {"runner": facts.pop("candidate"), **facts, "interval": interval}
