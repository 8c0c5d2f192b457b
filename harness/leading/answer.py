"""The answer of a race: a ranking, its uncertainty, and its cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.leading.race import Rung
from harness.leading.runs import Trainings
from harness.report.analysis.modalities.lead_words import lead_sentence, to_tell_words, too_few_words
from harness.statistics.bootstrap import Interval, few_patients
from harness.statistics.chances import chances_of_best, not_told_from, patients_to_tell

#: Which patients the scores are of.
_KIND = "validation"

#: Below this mean Dice the networks learned nothing yet, and a ranking shows noise.
_LEARNED = 0.1


@dataclass(frozen=True)
class Place:
    """One line of the ranking.

    Attributes:
        candidate: Leading modality, or ``none``.
        epoch: Epoch of its last rung.
        dice: Mean validation Dice at that epoch.
        regions: The same by region.
        chance: Share of resamples in which it is the best.
        behind: Dice that it lies behind the first one, at the last rung that both reached; 0 for the first.
        interval: 95 % interval of ``behind``; None for the first.
    """

    candidate: str
    epoch: int
    dice: float
    regions: dict[str, float]
    chance: float
    behind: float
    interval: Interval | None


@dataclass(frozen=True)
class Cost:
    """Cost of a race, summed over seeds.

    Attributes:
        epochs: Epochs trained.
        of_all: Epochs of training every candidate to the last rung.
        of_study: Epochs of training every candidate as long as the protocol says.
        seconds: Training time, without validation.
        seconds_of_all: Training time of every candidate to the last rung.
        measured: Whether ``seconds_of_all`` was measured; otherwise it is estimated from the seconds per epoch.
    """

    epochs: int
    of_all: int
    of_study: int
    seconds: float
    seconds_of_all: float
    measured: bool


@dataclass(frozen=True)
class Answer:
    """Result of a race.

    Attributes:
        places: Ranking, the best first; candidates that stopped earlier stand below.
        equals: Candidates that the data cannot tell from the first, the likeliest first; all others where patients are
            too few; empty where the first one should lead.
        patients: Validation patients that the scores are of; parts of one, where all cases are of one patient.
        sentence: The answer in one sentence.
        needed: How many patients it takes, in a sentence; empty where the first one should lead, and for parts of one.
        cautions: Limits of the answer, in sentences.
        cost: Cost of the race.
    """

    places: tuple[Place, ...]
    equals: tuple[str, ...]
    patients: int
    sentence: str
    needed: str
    cautions: tuple[str, ...]
    cost: Cost

    @property
    def first(self) -> Place:
        """The best one."""
        return self.places[0]

    @property
    def line(self) -> str:
        """What a study says under `matrix`."""
        return f"leading: [{self.first.candidate}]"


def find_answer(trainings: Trainings, rungs: Sequence[Rung]) -> Answer:
    """Returns the answer of a race that is over.

    Args:
        trainings: Trainings of the race.
        rungs: All rungs, decided.
    """
    plan, draws = trainings.plan, trainings.draws
    stages = [
        {name: trainings.scores(name, rung.epoch) for name in plan.candidates if name in rung.candidates}
        for rung in rungs
    ]
    chances = chances_of_best(stages, draws)
    reached = {candidate: number for number, rung in enumerate(rungs) for candidate in rung.candidates}
    ordered = [candidate for number in reversed(range(len(rungs))) for candidate in rungs[number].candidates]
    ordered = list(dict.fromkeys(ordered))
    first = ordered[0]
    places = []
    for candidate in ordered:
        shared = reached[candidate]
        gap = stages[shared][first] - stages[shared][candidate]
        epoch = rungs[shared].epoch
        places.append(
            Place(
                candidate,
                epoch,
                float(stages[shared][candidate].mean()),
                trainings.regions(candidate, epoch),
                chances[candidate],
                float(gap.mean()),
                draws.interval(gap) if candidate != first else None,
            )
        )
    gaps = {name: stages[reached[name]][first] - stages[reached[name]][name] for name in ordered}
    return _worded(trainings, places, gaps, _cost(trainings, rungs))


def find_exhaustive(trainings: Trainings) -> Answer:
    """Returns the answer where every candidate was trained to the last rung."""
    plan = trainings.plan
    last = plan.rungs[-1]
    ordered = sorted(plan.candidates, key=lambda candidate: -(trainings.score(candidate, last) or 0.0))
    return find_answer(trainings, [Rung(last, tuple(ordered), (ordered[0],))])


def _cost(trainings: Trainings, rungs: Sequence[Rung]) -> Cost:
    plan = trainings.plan
    seeds, count, last = len(plan.seeds), len(plan.candidates), plan.rungs[-1]
    reached = {candidate: rung.epoch for rung in rungs for candidate in rung.candidates}
    epochs = seeds * sum(reached.values())
    seconds = sum(trainings.seconds(candidate, epoch) for candidate, epoch in reached.items())
    of_all = seeds * count * last
    measured = not trainings.missing(plan.candidates, last)
    whole = (
        sum(trainings.seconds(candidate, last) for candidate in plan.candidates)
        if measured
        else seconds / epochs * of_all
    )
    return Cost(epochs, of_all, seeds * count * plan.full_epochs, seconds, whole, measured)


def _worded(
    trainings: Trainings, places: Sequence[Place], gaps: Mapping[str, NDArray[np.float64]], cost: Cost
) -> Answer:
    first, patients = places[0].candidate, trainings.units()
    chances = {place.candidate: place.chance for place in places}
    behind = {place.candidate: (place.behind, place.interval) for place in places if place.interval is not None}
    parts = trainings.plan.dataset.split_within_patient
    equals, needed = not_told_from(first, chances), ""
    refusal = "" if parts else too_few_words(patients, _KIND)
    if refusal:
        equals = tuple(place.candidate for place in places[1:])
    elif equals and not parts:
        needed = to_tell_words(first, equals[0], patients_to_tell(gaps[equals[0]]), patients, _KIND)
    sentence = refusal or lead_sentence(first, chances, behind)
    cautions = []
    if places[0].dice < _LEARNED:
        cautions.append(
            f"The networks learned hardly anything in {places[0].epoch} epochs (best Dice {places[0].dice:.2f}): train "
            "longer, --epochs."
        )
    return Answer(tuple(places), equals, patients, sentence, needed, (*cautions, *_cautions(trainings)), cost)


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
        found.append("One seed: variation between trainings is not in these numbers. Use --seeds 3.")
    if plan.rungs[-1] < plan.full_epochs:
        found.append(
            f"Trained for {plan.rungs[-1]} epochs; protocol {plan.request.protocol} trains for {plan.full_epochs}. "
            "The order may change with longer training."
        )
    return found
