"""Trains a race to its end, rung by rung, over the places of an engine."""

from collections.abc import Callable, Sequence
from pathlib import Path

from harness.errors import HarnessError
from harness.execution.engines.engine import Engine
from harness.execution.schedule import Policy, initial_attempt, run_attempts
from harness.leading.race import Rung
from harness.leading.runs import Trainings


def run_race(
    engine: Engine,
    trainings: Trainings,
    cache: Path,
    policy: Policy,
    watch: Callable[[], None],
    over: Callable[[Rung], None],
) -> list[Rung]:
    """Trains whatever the race still needs; what was trained before counts.

    Args:
        engine: Engine that trains the cells; it stays open.
        trainings: The cells, their specs written.
        cache: Folder of prepared data.
        policy: Retries, time limit, and pace.
        watch: Called about twice a second.
        over: Called for each rung that is decided now.

    Returns:
        All rungs.

    Raises:
        HarnessError: A training failed, so that there is no comparison of equals.
        KeyboardInterrupt: The user stopped; running trainings have left checkpoints.
    """
    known = len([rung for rung in trainings.race() if rung.survivors])
    while True:
        rungs = trainings.race()
        for rung in rungs[known:]:
            if rung.survivors:
                over(rung)
                known += 1
        if rungs[-1].survivors:
            return rungs
        _train(engine, trainings, rungs[-1].candidates, rungs[-1].epoch, cache, policy, watch)


def finish_all(engine: Engine, trainings: Trainings, cache: Path, policy: Policy, watch: Callable[[], None]) -> None:
    """Also trains those that stopped to the last rung, each from its checkpoint, scored at every rung on the way.

    Raises:
        HarnessError: A training failed.
        KeyboardInterrupt: The user stopped; running trainings have left checkpoints.
    """
    for epoch in trainings.plan.rungs:
        _train(engine, trainings, trainings.plan.candidates, epoch, cache, policy, watch)


def _train(
    engine: Engine,
    trainings: Trainings,
    candidates: Sequence[str],
    epoch: int,
    cache: Path,
    policy: Policy,
    watch: Callable[[], None],
) -> None:
    cells = trainings.missing(candidates, epoch)
    attempts = [initial_attempt(cell, cache, policy, "rung", epoch) for cell in cells]
    unwritten = run_attempts(engine, attempts, policy, watch) if attempts else {}
    left = trainings.missing(candidates, epoch)
    if not left:
        return
    reasons = dict(trainings.failures(left))
    first = left[0]
    why = unwritten.get(first.id) or reasons.get(first) or "Its process left no word."
    raise HarnessError(
        f"{len(left)} of {len(cells)} trainings of the rung at epoch {epoch} failed, so the candidates cannot be "
        f"compared. {first.id}: {why}",
        hint=f"Its log: {first.log}. The same command goes on from the last checkpoints; the others are not repeated.",
    )
