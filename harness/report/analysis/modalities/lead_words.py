"""How the choice of a leading modality is told, by ``harness lead`` and by the report alike."""

from collections.abc import Callable, Mapping

from harness.report.analysis.verdict_words import needed
from harness.statistics.bootstrap import Interval
from harness.statistics.chances import LEAST_TO_CHOOSE, not_told_from
from harness.statistics.power import POWER

#: The candidate without a leading modality.
NONE = "none"


def lead_sentence(
    first: str,
    chances: Mapping[str, float],
    behind: Mapping[str, tuple[float, Interval]],
    metric: str = "Dice",
    text: Callable[[float], str] = "{:.3f}".format,
) -> str:
    """Returns which modality should lead, or from which others the data cannot tell it.

    Args:
        first: The best candidate.
        chances: Probability of each to be the best.
        behind: Distance of each other one to the first, with its 95 % interval; above 0 where it is worse.
        metric: What the distance is of.
        text: Prints a distance.
    """
    if equals := not_told_from(first, chances):
        others = [f"{called(name)} ({chances[name]:.2f})" for name in equals]
        listed = " and ".join(filter(None, [", ".join(others[:-1]), others[-1]]))
        return f"The data cannot tell {called(first)} (P(best) {chances[first]:.2f}) from {listed}."
    second = max(behind, key=lambda name: chances[name])
    nearest = min(behind, key=lambda name: behind[name][0]) if chances[second] == 0 else second
    words = "No modality should lead" if first == NONE else f"{first} should lead"
    distance, (low, high) = behind[nearest]
    return (
        f"{words}: P(best) {chances[first]:.2f}. Next is {called(nearest)}, {text(distance)} {metric} behind "
        f"(95 %: {text(low)} to {text(high)})."
    )


def too_few_words(patients: int, kind: str = "") -> str:
    """Returns the refusal where patients are too few; empty where they are enough.

    Args:
        patients: Number of patients.
        kind: Which patients, e.g. ``validation``.
    """
    if patients >= LEAST_TO_CHOOSE:
        return ""
    counted = " ".join(filter(None, [str(patients), kind, "patient" if patients == 1 else "patients"]))
    return (
        f"{counted}: too few to say which modality should lead, because luck alone may make all of them agree; at "
        f"least {LEAST_TO_CHOOSE} are needed."
    )


def to_tell_words(first: str, other: str, takes: int | None, patients: int, kind: str = "") -> str:
    """Returns how many patients tell two candidates apart, or that no estimate can be made.

    Args:
        first: The best candidate.
        other: The likeliest other.
        takes: See :func:`harness.statistics.chances.patients_to_tell`.
        patients: Patients at hand.
        kind: Which patients, e.g. ``validation``.
    """
    named = f"{kind} patients".strip()
    if takes is None:
        return f"How many {named} tell {called(first)} from {called(other)} cannot be estimated from these {patients}."
    return (
        f"To tell {called(first)} from {called(other)} in {100 * POWER:.0f} % of studies (signed-rank test) takes "
        f"about {needed(takes)} {named} at the observed difference; these are {patients}."
    )


def called(candidate: str) -> str:
    """The candidate in a sentence."""
    return "no leading modality" if candidate == NONE else candidate
