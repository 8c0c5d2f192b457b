"""Patients whose files lack a modality: what a reader says of them, and what can be done with them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from harness.alike import name_some
from harness.data.contract import Dataset, Reader, Split
from harness.errors import DataError

#: What to do where a fold tests patterns of modalities on which it does not train.
UNTRAINED_REMEDY = (
    "Choose another fold or a file of `splits` that trains on some, or drop modalities in training: `sampling: "
    "{modality_dropout: {p: 0.3}}`."
)


def missing_modalities(reader: Reader, case: str) -> tuple[str, ...]:
    """Returns the modalities that a case lacks, also of a reader that does not inherit from Reader."""
    lacking: Sequence[str] = getattr(reader, "missing_modalities", lambda _: ())(case)
    return tuple(lacking)


def absent_channels(dataset: Dataset, reader: Reader, case: str) -> tuple[int, ...]:
    """Returns the channels of the modalities that a case lacks.

    Raises:
        DataError: The reader names a modality that the dataset does not have, or all of them.
    """
    lacking = missing_modalities(reader, case)
    if unknown := [name for name in lacking if name not in dataset.modalities]:
        raise DataError(
            f"Case {case} of {dataset.name} is said to lack '{unknown[0]}', which is no modality of the dataset.",
            hint=f"Its modalities are {', '.join(dataset.modalities)}.",
        )
    if len(set(lacking)) == len(dataset.modalities):
        raise DataError(f"Case {case} of {dataset.name} has no modality at all.", hint="Leave the case out.")
    return tuple(channel for channel, name in enumerate(dataset.modalities) if name in lacking)


def pattern(modalities: Sequence[str], absent: Iterable[int]) -> str:
    """Returns the modalities that are present, joined by ``+``, e.g. ``T1+T2``.

    Args:
        modalities: Names in channel order.
        absent: Channels that are absent.
    """
    missing = set(absent)
    return "+".join(name for channel, name in enumerate(modalities) if channel not in missing)


def count_patterns(modalities: Sequence[str], absent: Iterable[Iterable[int]]) -> dict[str, int]:
    """Returns each :func:`pattern` to the number of cases that have it, the most frequent first.

    Args:
        modalities: Names in channel order.
        absent: Absent channels of each case.
    """
    return dict(Counter(pattern(modalities, one) for one in absent).most_common())


def refuse_without_leading(reader: Reader, cases: Iterable[str], leading: str, what: str) -> None:
    """Refuses cases that lack the modality that leads: nothing is put in its place unless the user says what.

    Args:
        reader: Reader of the dataset's folder.
        cases: Cases to train on, to test or to predict.
        leading: Modality that leads.
        what: The network, for the message.

    Raises:
        DataError: Some cases lack it; they are named.
    """
    lacking = [case for case in cases if leading in missing_modalities(reader, case)]
    if lacking:
        raise DataError(
            f"{what} is led by {leading}, which some cases lack: {name_some(lacking)}.",
            hint="Let a modality lead that all of them have, leave these cases out by a file of `splits`, or say what "
            "stands for an absent modality: `sampling: {missing: {fill: zeros}}` in the protocol.",
        )


def patterns_of(reader: Reader, cases: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
    """Returns the modalities that each case lacks, of the cases that lack any."""
    found = {case: missing_modalities(reader, case) for case in cases}
    return {case: lacking for case, lacking in found.items() if lacking}


def untrained_words(dataset: Dataset, reader: Reader, split: Split) -> str:
    """Returns a sentence that names the patterns of test cases that no training case has; empty where there is none.

    Args:
        dataset: Facts of the dataset.
        reader: Reader of its folder.
        split: The fold.
    """

    def patterns(cases: Iterable[str]) -> dict[str, int]:
        return count_patterns(dataset.modalities, (absent_channels(dataset, reader, case) for case in cases))

    trained = patterns(split.train)
    named = [f"{one} ({count} of {len(split.test)} test cases)" for one, count in patterns(split.test).items()
             if one not in trained]  # fmt: skip
    if not named:
        return ""
    return f"no training case has exactly the modalities {'; '.join(named)}."
