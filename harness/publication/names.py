"""Names that stand for patients and cases, and texts without what belongs to a machine or a person."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from secrets import SystemRandom
from typing import Any

from harness.errors import HarnessError

#: What stands for a path of a machine.
PATH = "(path)"

#: An absolute path; what follows a scheme or a word is none.
_PATH = re.compile(r"(?<![\w/.:~])(?:/|~/|[A-Za-z]:\\)[^\s'\",;:()\[\]{}<>]+[/\\][^\s'\",;:()\[\]{}<>]+")

#: Shorter names, and shorter numbers, are words that stand in any text.
_SHORTEST_NAME, _SHORTEST_NUMBER = 4, 6


#: By the system's random numbers, which nobody can repeat.
_shuffle: Callable[[list[str]], None] = SystemRandom().shuffle


@dataclass(frozen=True)
class Names:
    """What patients and cases of one dataset are called in a published folder.

    Attributes:
        patients: By their own name.
        cases: By their own name.
    """

    patients: Mapping[str, str]
    cases: Mapping[str, str]

    def patient(self, name: object) -> str:
        """Returns what stands for a patient.

        Raises:
            HarnessError: The patient is not known.
        """
        return _find(self.patients, name, "patient")

    def case(self, name: object) -> str:
        """Returns what stands for a case.

        Raises:
            HarnessError: The case is not known.
        """
        return _find(self.cases, name, "case")


def own_names(patient_of: Mapping[str, str]) -> Names:
    """Returns the names as they are.

    Args:
        patient_of: Patient by case.
    """
    return Names({name: name for name in patient_of.values()}, {name: name for name in patient_of})


def pseudonyms(patient_of: Mapping[str, str], shuffle: Callable[[list[str]], None] = _shuffle) -> Names:
    """Returns pseudonyms; which patient has which follows from nothing that is published.

    Args:
        patient_of: Patient by case.
        shuffle: Brings the patients into the order in which they are numbered.
    """
    order = sorted(set(patient_of.values()))
    shuffle(order)
    digits = max(3, len(str(len(order))))
    patients, cases = {}, {}
    for number, patient in enumerate(order, start=1):
        patients[patient] = f"patient-{number:0{digits}}"
        own = sorted(case for case, owner in patient_of.items() if owner == patient)
        shuffle(own)
        for part, case in enumerate(own, start=1):
            cases[case] = f"case-{number:0{digits}}" + (f"-{part}" if len(own) > 1 else "")
    return Names(patients, cases)


def _find(known: Mapping[str, str], name: object, what: str) -> str:
    if str(name) not in known:
        raise HarnessError(
            f"A file of the study names a {what} that its scores do not: '{name}'.",
            hint="`harness status` shows whether the files of its cells are sound.",
        )
    return known[str(name)]


def distinctive(names: Collection[str]) -> set[str]:
    """Returns the names that name somebody wherever they stand; ``7`` does not."""
    return {name for name in names if len(name) >= (_SHORTEST_NUMBER if name.isdecimal() else _SHORTEST_NAME)}


@dataclass(frozen=True)
class Words:
    """Words to find in texts, whole: ``P-001`` is in ``P-001.nii.gz`` and not in ``P-0012``.

    Attributes:
        words: What to find.
    """

    words: Collection[str]

    def found(self, text: str) -> Iterator[str]:
        """Yields the words that a text holds."""
        parts = {part[0] for part in _PARTS.finditer(text)}
        for word in self.words:
            if parts.issuperset(_PARTS.findall(word)) and self._pattern(word).search(text):
                yield word

    def replaced(self, text: str, by: Mapping[str, str]) -> str:
        """Returns a text with other words in place of these."""
        for word in sorted(self.found(text), key=len, reverse=True):
            text = self._pattern(word).sub(_literal(by[word]), text)
        return text

    @staticmethod
    def _pattern(word: str) -> re.Pattern[str]:
        return re.compile(rf"(?<![^\W_])(?<!\d\.){re.escape(word)}(?![^\W_])")


def _literal(text: str) -> str:
    """Returns a text as `re.sub` takes it for itself."""
    return text.replace("\\", r"\\")


_PARTS = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Cleaner:
    """Takes names of patients and paths of machines out of texts.

    Attributes:
        names: What stands for each name.
        paths: Whether paths are kept.
    """

    names: Mapping[str, str]
    paths: bool = False

    def text(self, text: str) -> str:
        """Returns a text without them."""
        text = text if self.paths else _PATH.sub(PATH, text)
        return Words(self.names).replaced(text, self.names)

    def value(self, value: Any) -> Any:
        """Returns a JSON value without them, its keys as they are."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {key: self.value(one) for key, one in value.items()}
        return [self.value(one) for one in value] if isinstance(value, list | tuple) else value
