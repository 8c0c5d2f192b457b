"""How sets of modalities are named in sentences and tables, and what is said where some were not tested."""

from collections.abc import Sequence

from harness.report.analysis.analysis import StudyAnalysis
from harness.report.analysis.modalities.value import ModalityValue
from harness.study.profiles import split_profiles

#: More sets than this are counted, not listed.
_LISTED = 4


def lacking_sentence(study: StudyAnalysis, value: ModalityValue, modalities: Sequence[str], label: str) -> str:
    """Says which sets are to be tested, by which command."""
    names = [in_set(one) for one in value.lacking]
    listed = "; ".join(names if len(names) <= _LISTED else [*names[:_LISTED], "..."])
    lack = "lacks" if len(names) == 1 else "lack"
    return (
        f"No value is given, because {len(names)} of {2 ** len(modalities) - 1} sets {lack} a score of every patient "
        f"({listed}), and nothing is guessed: {missing_command(study, label)} tests them."
    )


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
