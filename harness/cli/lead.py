"""``harness lead``: which modality should lead on a dataset?"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from harness.cli.shared.console import PlainConsole, styled
from harness.cli.shared.engines import (
    EngineChoice,
    MlflowOption,
    RetriesOption,
    TimeoutOption,
    engine_options,
    make_policy,
)
from harness.cli.shared.formatting import table
from harness.cli.shared.graceful_shutdown import graceful_shutdown
from harness.cli.shared.options import CacheOption, ResultsOption
from harness.cli.shared.untracked import saying_untracked
from harness.errors import HarnessError, did_you_mean
from harness.settings import parse_yaml

if TYPE_CHECKING:
    from harness.execution.engines.engine import Engine
    from harness.execution.schedule import Policy
    from harness.leading.answer import Answer
    from harness.leading.plan import Plan
    from harness.leading.race import Rung
    from harness.leading.runs import Trainings


#: The other half of the question; the report of such a study answers both on one page.
_SETS = "Which modalities are needed:  run such a study, then `harness missing STUDY --margin 0.02`"

_ANEW = "Its cell is trained to this epoch anew."


@engine_options(without=("cells_per_gpu", "gpus_per_cell"))
def lead(
    dataset: Annotated[
        str, typer.Argument(help="Registered dataset; with --nnunet-raw, a name for it.", show_default=False)
    ],
    root: Annotated[
        Path | None,
        typer.Option(help="Folder of the dataset; default: where studies look for it.", show_default=False),
    ] = None,
    nnunet_raw: Annotated[
        Path | None, typer.Option(help="Your own folder in nnU-Net v2's raw format.", show_default=False)
    ] = None,
    splits: Annotated[
        Path | None, typer.Option(help="File of folds, instead of the dataset's own.", show_default=False)
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            help="Column of the patients that the folds go by, e.g. site, instead of the dataset's own folds: `split: "
            "{by: site}` of a study. --fold says which; `harness data splits --by` lists them.",
            show_default=False,
        ),
    ] = None,
    kind: Annotated[
        str, typer.Option(help="With --by: leave-one-out, or pairs (train at one, test at every one).")
    ] = "leave-one-out",
    fold: Annotated[int, typer.Option(min=0, max=1_000, help="Fold whose training and validation cases are used.")] = 0,
    model: Annotated[str, typer.Option(help="Network with a leading modality.")] = "aahn",
    preset: Annotated[
        str | None, typer.Option(help="Preset of the network, e.g. tiny or paper.", show_default=False)
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Option of the network; may be repeated.")
    ] = None,
    protocol: Annotated[str, typer.Option(help="Protocol of the trainings.")] = "paper",
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1_000_000,
            help="Epochs of the last comparison; default: the protocol's, at most 40.",
            show_default=False,
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=1_000, help="Trainings per modality, each with its own seed.")] = 3,
    none: Annotated[bool, typer.Option("--none", help="Also train without a leading modality.")] = False,
    rungs: Annotated[
        int, typer.Option(min=1, max=20, help="Number of comparisons; each has twice the epochs of the one before.")
    ] = 3,
    finalists: Annotated[
        int, typer.Option(min=1, max=1_000, help="At least this many are trained to the last comparison.")
    ] = 2,
    keep_probability: Annotated[
        float,
        typer.Option(
            "--keep-probability",
            "--spare",
            min=0,
            max=1,
            help="Keep every modality that is the best with at least this probability; 1: the worse half always stops.",
        ),
    ] = 0.05,
    exhaustive: Annotated[
        bool, typer.Option("--exhaustive", help="In the end, train the stopped modalities to the last epoch as well.")
    ] = False,
    *,
    engine: EngineChoice,
    retries: RetriesOption = 1,
    timeout: TimeoutOption = None,
    mlflow: MlflowOption = True,
    results: ResultsOption = Path("results"),
    cache: CacheOption = Path("cache"),
) -> None:
    """Find the modality that should lead on a dataset, by short trainings of equal length (successive halving).

    Every modality is trained for a few epochs with each seed. Then the worse half stops, except modalities that may
    still be the best. The others continue from their checkpoints, until the last comparison. Only training and
    validation cases are read. Run the same command again after an interruption: it continues where it stopped.
    """
    from harness.data.patients.by_column import KINDS, SplitBy
    from harness.execution.study import measure_variants
    from harness.leading.plan import Request, make_plan
    from harness.leading.race import Rule
    from harness.leading.runs import Trainings
    from harness.results.lease import Lease, LeaseHeldError
    from harness.results.store import Store

    if root is not None and nnunet_raw is not None:
        raise HarnessError("--root and --nnunet-raw name two folders.", hint="Give one of them.")
    if splits is not None and by is not None:
        raise HarnessError("--splits and --by choose the folds in two ways.", hint="Give one of them.")
    if kind not in KINDS:
        raise HarnessError(f"--kind {kind} is not known.", hint=did_you_mean(kind, KINDS))
    console = PlainConsole()
    options = parse_yaml(option or (), "--option", "auxiliary=others")
    if preset is not None:
        options["preset"] = preset
    rule = Rule(finalists, keep_probability)
    request = Request(
        dataset=dataset,
        root=root,
        nnunet_raw=nnunet_raw,
        splits=splits,
        by=SplitBy(by, KINDS[kind]) if by is not None else None,
        fold=fold,
        model=model,
        options=options,
        protocol=protocol,
        epochs=epochs,
        seeds=seeds,
        with_none=none,
        rungs=rungs,
        rule=rule,
    )
    Store(results).create()
    home = results.resolve() / "lead" / dataset
    plan = make_plan(request, home)
    measure_variants(plan.loaded)
    folder = home / plan.name
    try:
        with Lease(folder / "leases"):
            trainings = Trainings(plan, home / "cells")
            trainings.write_specs()
            for damage in trainings.repair():
                console.print(styled("yellow", "damaged:", f" {damage.message} {_ANEW}"), highlight=False)
            opened = engine.open(console, results, cache, f"lead_{dataset}")
            policy = make_policy(retries, timeout, fail_fast=True)
            found, whole = _train(console, trainings, opened, cache.resolve(), policy, exhaustive)
            _tell(console, trainings, found, whole, folder, mlflow)
    except LeaseHeldError as error:
        raise HarnessError(f"This race is being run already: {error.message}", hint="Wait for that run.") from error


def _train(
    console: Console, trainings: Trainings, engine: Engine, cache: Path, policy: Policy, exhaustive: bool
) -> tuple[list[Rung], bool]:
    """Trains with a bar and the time to go; returns the rungs, and whether all were trained to the end."""
    from harness.cli.shared.progress import counting_bar
    from harness.leading.run import finish_all, run_race
    from harness.report.analysis.modalities.lead_words import too_few_words

    plan = trainings.plan
    rule = plan.request.rule
    race = trainings.epochs_to_run()
    everything = plan.request.seeds * len(plan.candidates) * plan.rungs[-1]
    total = everything if exhaustive else race
    few = "" if plan.dataset.split_within_patient else too_few_words(trainings.units(), "validation")
    _describe(console, plan, few, engine, race, everything)
    if done := trainings.epochs_done():
        console.print(f"{done:.0f} epochs of an earlier run count.")
    with graceful_shutdown(console), closing(engine), counting_bar(console) as bar:
        task = bar.add_task("epochs", total=total, completed=min(total, round(done)))

        def watch() -> None:
            bar.update(task, total=total, completed=min(total, round(trainings.epochs_done())))

        def over(rung: Rung) -> None:
            scores = ", ".join(f"{name} {trainings.score(name, rung.epoch):.3f}" for name in rung.candidates)
            kept = rung.survivors[rule.least(len(rung.candidates)) :]
            words = f"; not stopped, for it may be the best: {', '.join(kept)}" if kept else ""
            words += f"; stopped: {', '.join(rung.stopped)}" if rung.stopped else ""
            console.print(f"Epoch {rung.epoch}: validation Dice {scores}{words}", highlight=False, soft_wrap=True)
            nonlocal total
            if not exhaustive:  # each candidate that is kept makes the race longer
                total = trainings.epochs_to_run()

        rungs = run_race(engine, trainings, cache, policy, watch, over)
        if exhaustive:
            finish_all(engine, trainings, cache, policy, watch)
        watch()
    return rungs, not trainings.missing(plan.candidates, plan.rungs[-1])


def _describe(console: Console, plan: Plan, few: str, engine: Engine, race: int, everything: int) -> None:
    seeds = plan.request.seeds
    more = " or more" if plan.request.rule.keep_probability < 1 else ""
    marks = f"epoch{'s' * (len(plan.rungs) > 1)} {', '.join(map(str, plan.rungs))}"
    console.print(
        styled("bold", plan.data, f": which of {', '.join(plan.candidates)} should lead {plan.request.model}?")
    )
    console.print(
        f"{len(plan.candidates)} x {seeds} seed{'s' * (seeds > 1)}, compared at {marks}: {race} epochs{more}; "
        f"training all of them to the end would take {everything}. {engine.describe()}. "
        "Test cases stay closed.",
        highlight=False,
        soft_wrap=True,
    )
    if plan.split_words:
        console.print(plan.split_words, highlight=False, markup=False, soft_wrap=True)
    if few:
        console.print(styled("yellow", few, " So this race ends without an answer."), highlight=False, soft_wrap=True)
    if plan.own_split:
        console.print(
            f"Fold {plan.request.fold} validates on too few patients for a ranking: {len(plan.validation)} cases of a "
            "third of its training and validation patients validate here. Its test patients are left out as ever.",
            highlight=False,
            soft_wrap=True,
        )


def _tell(
    console: Console, trainings: Trainings, rungs: Sequence[Rung], whole: bool, folder: Path, mlflow: bool
) -> None:
    """Shows and writes the answer."""
    from harness.leading.answer import find_answer, find_exhaustive
    from harness.leading.results import COLUMNS, agreement, cost_words, ranking_rows, write_results

    plan = trainings.plan
    answer = find_answer(trainings, rungs)
    exhaustive = find_exhaustive(trainings) if whole else None
    files = write_results(folder, trainings, rungs, answer, exhaustive)
    listing = table(*COLUMNS[0], *plan.dataset.regions, *COLUMNS[1], wrap=COLUMNS[1][1:])
    for row in ranking_rows(plan, answer):
        listing.add_row(*row)
    console.print(listing)
    console.print(styled("bold", answer.sentence), highlight=False, soft_wrap=True)
    if answer.needed:
        console.print(answer.needed, highlight=False, soft_wrap=True)
    for caution in answer.cautions:
        console.print(styled("yellow", caution), highlight=False, soft_wrap=True)
    console.print(f"Cost: {cost_words(plan, answer)}", highlight=False, soft_wrap=True)
    if exhaustive is not None:
        console.print(agreement(answer, exhaustive), highlight=False, soft_wrap=True)
    # Where the data cannot tell, the line is no advice, and says so.
    sure = "" if not answer.equals else "  (the likeliest; to decide: more --epochs, --exhaustive, or `leading: [all]`)"
    console.print(f"In a study, under `matrix`:  {answer.line}{sure}", highlight=False, markup=False, soft_wrap=True)
    console.print(_SETS, highlight=False, markup=False, soft_wrap=True)
    console.print(f"Written:  {folder}", highlight=False, soft_wrap=True)
    trainings.drop_checkpoints()
    if mlflow:
        with saying_untracked(console):
            _log(trainings, answer, folder.name, files)


def _log(trainings: Trainings, answer: Answer, name: str, files: Sequence[Path]) -> None:
    from harness.tracking.tuning_run import log_race

    plan, asked = trainings.plan, trainings.plan.request
    params = {
        "model": asked.model,
        **{f"model.{key}": str(value) for key, value in asked.options.items()},
        "protocol": asked.protocol,
        "rungs": ", ".join(map(str, plan.rungs)),
        "seeds": str(asked.seeds),
        "answer": answer.sentence,
    }
    metrics = [(f"p_best.{place.candidate}", place.chance, 0) for place in answer.places]
    metrics += [
        (f"val_dice.{candidate}", score, epoch)
        for candidate in plan.candidates
        for epoch in plan.rungs
        if (score := trainings.score(candidate, epoch)) is not None
    ]
    metrics += [("epochs", answer.cost.epochs, 0), ("epochs_of_all", answer.cost.of_all, 0)]
    log_race(plan.dataset.name, name, params, metrics, files)
