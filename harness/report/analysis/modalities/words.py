"""How sets of modalities are named in sentences and tables, and what is said where some were not tested."""

from collections.abc import Sequence

from harness.report.analysis.analysis import StudyAnalysis
from harness.report.analysis.modalities.value import ModalityValue
from harness.study.profiles import split_profiles

#: More sets than this are counted, not listed.
_LISTED = 4


def lacking_sentence(study: StudyAnalysis, value: ModalityValue, modalities: Sequence[str], label: str) -> str:
    """Says which sets lack scores, and the command that tests them, where one can."""
    lack = "lacks" if len(value.lacking) == 1 else "lack"
    why = (
        f"No value is given, because {len(value.lacking)} of {2 ** len(modalities) - 1} sets {lack} a score of every "
        f"patient ({_listed(value.lacking)}), and nothing is guessed: "
    )
    if value.impossible:
        return why + impossible_words(value.impossible)
    return f"{why}{missing_command(study, label)} tests them."


def impossible_words(sets: Sequence[tuple[str, ...]]) -> str:
    """Says of sets of which some test patients have no modality that no command tests them, and what would help.

    Args:
        sets: The sets, at least one.
    """
    return (
        f"some test patients have no modality of {_listed(sets)}, so no command can test every patient with each set. "
        "It takes a study whose test patients have all modalities (a file of `splits`)."
    )


def _listed(sets: Sequence[tuple[str, ...]]) -> str:
    names = [in_set(one) for one in sets]
    return "; ".join(names if len(names) <= _LISTED else [*names[:_LISTED], "..."])


def missing_command(study: StudyAnalysis, label: str) -> str:
    """Returns the command that tests all sets of modalities of one network."""
    profiles = () if study.results.profile == "default" else split_profiles(study.results.profile)
    chosen = "".join(f" --profile {name}" for name in profiles)
    return f"`harness missing {study.results.study}{chosen} --label '{label}'`"


def in_set(present: Sequence[str]) -> str:
    """The set in words."""
    return " + ".join(present)


def all_of(modalities: Sequence[str]) -> str:
    """All of them in words."""
    return "both" if len(modalities) == 2 else f"all {len(modalities)}"
