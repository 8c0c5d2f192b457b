"""The answer: a ranking, how sure it is, and what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.leading.plan import NONE, Plan
from harness.leading.race import Rung
from harness.leading.runs import Trainings
from harness.statistics.bootstrap import Interval, few_patients
from harness.statistics.chances import chances_of_best

__all__ = ["SURE", "Answer", "Cost", "Place", "find_answer", "find_exhaustive"]

#: A runner leads where it is the best in this share of resamples.
SURE = 0.9

#: Below this mean Dice nothing was learnt yet, and a ranking ranks noise.
_LEARNT = 0.1


@dataclass(frozen=True)
class Place:
    """One line of the ranking.

    Attributes:
        runner: Leading modality, or ``none``.
        epoch: Of its last rung.
        dice: Mean validation Dice there.
        regions: The same by region.
        chance: Share of resamples in which it is the best.
        behind: Dice that it lies behind the first one, at the last rung that both reached; 0 for the first.
        interval: 95 % interval of that; None for the first.
    """

    runner: str
    epoch: int
    dice: float
    regions: dict[str, float]
    chance: float
    behind: float
    interval: Interval | None


@dataclass(frozen=True)
class Cost:
    """What was spent, summed over seeds.

    Attributes:
        epochs: Epochs trained.
        of_all: Epochs of training every runner to the last rung.
        of_study: Epochs of training every runner as long as the protocol says.
        seconds: Training time, without validation.
        seconds_of_all: Of training every runner to the last rung.
        measured: Whether that was measured; otherwise it is the same time an epoch.
    """

    epochs: int
    of_all: int
    of_study: int
    seconds: float
    seconds_of_all: float
    measured: bool


@dataclass(frozen=True)
class Answer:
    """What the race says.

    Attributes:
        places: The ranking, the first one first; who stopped earlier stands below.
        equals: Runners that the data cannot tell from the first, by chance; empty where the first one leads.
        sentence: The answer.
        cautions: What to keep in mind.
        cost: What was spent.
    """

    places: tuple[Place, ...]
    equals: tuple[str, ...]
    sentence: str
    cautions: tuple[str, ...]
    cost: Cost

    @property
    def first(self) -> Place:
        """The best one."""
        return self.places[0]

    @property
    def line(self) -> str:
        """What a study says under `matrix`."""
        return f"leading: [{self.first.runner}]"


def find_answer(trainings: Trainings, rungs: Sequence[Rung]) -> Answer:
    """Returns the answer of a race that is over.

    Args:
        trainings: Its trainings.
        rungs: All rungs.
    """
    plan, draws = trainings.plan, trainings.draws
    stages = [{runner: trainings.scores(runner, rung.epoch) for runner in _start_order(plan, rung)} for rung in rungs]
    chances = chances_of_best(stages, draws)
    reached = {runner: number for number, rung in enumerate(rungs) for runner in rung.runners}
    ordered = [runner for number in reversed(range(len(rungs))) for runner in rungs[number].runners]
    ordered = list(dict.fromkeys(ordered))
    first = ordered[0]
    places = []
    for runner in ordered:
        shared = reached[runner]
        gap = stages[shared][first] - stages[shared][runner]
        epoch = rungs[shared].epoch
        places.append(
            Place(
                runner,
                epoch,
                float(stages[shared][runner].mean()),
                trainings.regions(runner, epoch),
                chances[runner],
                float(gap.mean()),
                draws.interval(gap) if runner != first else None,
            )
        )
    return _worded(trainings, places, _cost(trainings, rungs))


def find_exhaustive(trainings: Trainings) -> Answer:
    """Returns the answer where every runner was trained to the last rung."""
    plan = trainings.plan
    last = plan.rungs[-1]
    ordered = sorted(plan.runners, key=lambda runner: -(trainings.score(runner, last) or 0.0))
    return find_answer(trainings, [Rung(last, tuple(ordered), (ordered[0],))])


def _start_order(plan: Plan, rung: Rung) -> list[str]:
    return [runner for runner in plan.runners if runner in rung.runners]


def _cost(trainings: Trainings, rungs: Sequence[Rung]) -> Cost:
    plan = trainings.plan
    seeds, count, last = len(plan.seeds), len(plan.runners), plan.rungs[-1]
    reached = {runner: rung.epoch for rung in rungs for runner in rung.runners}
    epochs = seeds * sum(reached.values())
    seconds = sum(trainings.seconds(runner, epoch) for runner, epoch in reached.items())
    of_all = seeds * count * last
    measured = not trainings.missing(plan.runners, last)
    whole = sum(trainings.seconds(runner, last) for runner in plan.runners) if measured else seconds / epochs * of_all
    return Cost(epochs, of_all, seeds * count * plan.full_epochs, seconds, whole, measured)


def _worded(trainings: Trainings, places: Sequence[Place], cost: Cost) -> Answer:
    equals = _equals(places)
    cautions = []
    if places[0].dice < _LEARNT:
        cautions.append(
            f"Hardly anything was learnt in {places[0].epoch} epochs (best Dice {places[0].dice:.2f}): train longer, "
            "--epochs."
        )
    return Answer(tuple(places), equals, _sentence(places, equals), (*cautions, *_cautions(trainings)), cost)


def _equals(places: Sequence[Place]) -> tuple[str, ...]:
    """Returns the likeliest others that make up, with the first one, the share that is sure enough."""
    total, found = places[0].chance, []
    for place in sorted(places[1:], key=lambda place: -place.chance):
        if total >= SURE:
            break
        found.append(place.runner)
        total += place.chance
    return tuple(found)


def _sentence(places: Sequence[Place], equals: Sequence[str]) -> str:
    first, chance = places[0], {place.runner: place.chance for place in places}
    if equals:
        others = [f"{_called(name)} ({chance[name]:.2f})" for name in equals]
        listed = " and ".join(filter(None, [", ".join(others[:-1]), others[-1]]))
        return f"The data cannot tell {_called(first.runner)} (P(best) {first.chance:.2f}) from {listed}."
    second = max(places[1:], key=lambda place: place.chance)
    nearest = min(places[1:], key=lambda place: place.behind) if second.chance == 0 else second
    assert nearest.interval is not None
    words = "No modality should lead" if first.runner == NONE else f"{first.runner} should lead"
    low, high = nearest.interval
    return (
        f"{words}: P(best) {first.chance:.2f}. Next is {_called(nearest.runner)}, {nearest.behind:.3f} Dice behind "
        f"(95 %: {low:.3f} to {high:.3f})."
    )


def _called(runner: str) -> str:
    return "no leading modality" if runner == NONE else runner


def _cautions(trainings: Trainings) -> list[str]:
    plan, units = trainings.plan, trainings.units()
    found = []
    if plan.kind == "generated":
        found.append("Generated data: it says nothing about patients.")
    if plan.dataset.split_within_patient:
        found.append(f"{units} validation parts of one patient: uncertainty between patients is not in these numbers.")
    elif units == 1:
        found.append("One validation patient: uncertainty between patients is not in these numbers.")
    elif few := few_patients(units):
        found.append(f"{few.partition(':')[0]} validate: so few make chances rough.")
    if len(plan.seeds) == 1:
        found.append("One seed: the chance of a training is not in these numbers. Use --seeds 3.")
    if plan.rungs[-1] < plan.full_epochs:
        found.append(
            f"Trained for {plan.rungs[-1]} epochs; protocol {plan.request.protocol} trains for {plan.full_epochs}. "
            "The order may change with longer training."
        )
    return found
