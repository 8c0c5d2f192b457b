"""A protocol: how every network of a study is trained, whatever the network.

Protocols are YAML files: those shipped in ``harness/study/protocols`` and a user's own, beside the study file in a
folder ``protocols/``. One may build on another by ``base: NAME`` and give only what differs. One that ``harness tune``
wrote says under ``per_model`` what differs for each network on each dataset, and under ``tuning`` how that was found.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from harness.bounds import refuse
from harness.data.settings import AugmentationSettings, PreparationSettings, SamplingSettings
from harness.errors import StudyError, did_you_mean
from harness.inference.settings import InferenceSettings
from harness.settings import CHANGES_NO_NUMBER, Settings
from harness.study.document import Document, read_document, validate
from harness.training.settings import TrainingSettings

#: The protocol under which every network is trained by its authors' own recipe.
NATIVE = "native"

#: Key under which a study names protocols whose changes are laid over the one it builds on.
WITH = "with"

_PER_MODEL, _TUNING = "per_model", "tuning"
_SHIPPED = Path(__file__).parent / "protocols"


class Protocol(Settings):
    """How every network of a study is trained, tested and compared."""

    name: Annotated[str, CHANGES_NO_NUMBER]
    description: Annotated[str, CHANGES_NO_NUMBER] = ""
    source: Annotated[str, CHANGES_NO_NUMBER] = Field("", description="Where the settings come from.")
    purpose: Annotated[Literal["result", "instrument"], CHANGES_NO_NUMBER] = Field(
        "result", description="`instrument`: too short for a result; every table, figure and page says so."
    )
    patch_size: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = Field(
        (128, 128), min_length=2, max_length=3, description="Two numbers: slices."
    )
    preparation: PreparationSettings = PreparationSettings()
    sampling: SamplingSettings = SamplingSettings()
    augmentation: AugmentationSettings = AugmentationSettings()
    training: TrainingSettings = TrainingSettings()
    inference: InferenceSettings = InferenceSettings()

    @property
    def caveat(self) -> str:
        """What to say of its trainings where they are too short for a result; empty where they are not."""
        return caveat_of([self.model_dump()])

    @model_validator(mode="after")
    def _fits_the_patch(self) -> Self:
        """Refuses what does not fit the patch: axes it does not have, blur and zoom that leave nothing of it."""
        dimensions, side, augmentation = len(self.patch_size), min(self.patch_size), self.augmentation
        for group, axes in (("augmentation", augmentation.mirror_axes), ("inference", self.inference.mirror_axes)):
            if any(axis >= dimensions for axis in axes):
                message = f"a patch of {dimensions} dimensions has the axes 0 to {dimensions - 1}"
                raise refuse(type(self), (group, "mirror_axes"), message, list(axes))
        if augmentation.p_blur and (reach := 3 * augmentation.blur_sigma[1] + 1) >= side:
            message = f"the blur reaches {reach:g} voxels, and the patch has {side} along its shortest side"
            raise refuse(type(self), ("augmentation", "blur_sigma"), message, list(augmentation.blur_sigma))
        if augmentation.p_low_resolution and augmentation.low_resolution[0] * side < 1:
            message = f"a zoom of {augmentation.low_resolution[0]:g} leaves no voxel of {side}"
            raise refuse(type(self), ("augmentation", "low_resolution"), message, list(augmentation.low_resolution))
        return self

    @model_validator(mode="after")
    def _validates_what_it_chooses_by(self) -> Self:
        training = self.training
        chooses = training.checkpoint.select != "final" or training.restart_if_dead_at is not None
        if self.sampling.cases == "training_and_validation" and chooses:
            message = (
                "nothing is left to validate on: write `training: {checkpoint: {select: final}, restart_if_dead_at: "
                "null}` beside it"
            )
            raise refuse(type(self), ("sampling", "cases"), message, self.sampling.cases)
        return self


def caveat_of(protocols: Iterable[Mapping[str, Any]]) -> str:
    """Returns what to say of trainings that are too short for a result; empty where none is.

    Args:
        protocols: As JSON values, perhaps of an earlier version.
    """
    steps = sorted(
        {
            one["training"]["epochs"] * one["training"]["steps_per_epoch"]
            for one in protocols
            if one.get("purpose") == "instrument"
        }
    )
    if not steps:
        return ""
    counted = str(steps[0]) if len(steps) == 1 else f"{steps[0]} to {steps[-1]}"
    return f"{counted} steps: shows the instrument, no result"


@dataclass(frozen=True)
class ProtocolRequest:
    """What a study says under ``protocol``, with every file it builds on read.

    Attributes:
        base: Name of the protocol it builds on; empty for none.
        file: What that protocol's file and those it builds on say.
        changes: What the study changes.
        common: The protocol of every network that has none of its own.
        beside: Folder of the study file; its ``protocols/`` is searched first.
    """

    base: str
    file: Document
    changes: Document
    common: Protocol
    beside: Path | None

    def for_network(self, model: str, recipe: Mapping[str, Any]) -> dict[str, Protocol]:
        """Returns the protocols of one network by dataset; ``""`` holds the one for every other dataset.

        Under ``native`` that is ``paper``, then its authors' recipe, then the study's changes. Under a tuned protocol
        it is the common protocol, then what was found for the network on a dataset, then the study's changes; the
        protocol's name says by how many trials it was tuned, or that it was not, so that reports show it and rank no
        tuned network together with an untuned one.

        Args:
            model: Registered name of the network.
            recipe: What its segmenter declares as ``native_recipe``.

        Raises:
            StudyError: A value is refused, or ``per_model`` is no mapping of models to datasets to values.
        """
        if self.base == NATIVE:
            words = Document({"name": NATIVE, "description": "", "source": ""}, {}, "")
            own = Document(dict(recipe), {}, f"native recipe of {model}")
            paper = _read_resolved("paper", self.beside)
            return {"": validate(Protocol, self.changes.over(own.over(words.over(paper))))}
        if (tuned := self.file.values.get(_PER_MODEL)) is None:
            return {"": self.common}
        found = tuned.get(model, {}) if isinstance(tuned, dict) else None
        if not isinstance(found, dict) or not all(isinstance(one, dict) for one in found.values()):
            raise StudyError(
                f"Protocol '{self.base}': '{_PER_MODEL}' must say which values each dataset has for each model.",
                hint="Write the file with `harness tune`.",
            )
        changes = self.changes.without("name")
        title = f"{self.changes.values.get('name', self.base)}{' (modified)' if changes.values else ''}"
        facts = self.file.values.get(_TUNING, {})
        trials = facts.get("trials", "?") if isinstance(facts, dict) else "?"
        names = dict.fromkeys(found, f"{title}, tuned by {trials} trials") | {"": f"{title}, not tuned"}
        shared = _common(self.file)
        return {
            dataset: _named(name, changes.over(self.file.section((_PER_MODEL, model, dataset)).over(shared)))
            for dataset, name in names.items()
        }


def protocol_names(beside: Path | None = None) -> list[str]:
    """Returns the names of all protocols to be found."""
    return sorted({path.stem for folder in _folders(beside) for path in folder.glob("*.yaml")})


def resolve_protocol(
    request: str | dict[str, Any], beside: Path | None = None, written: Document | None = None
) -> ProtocolRequest:
    """Reads and validates what a study says under ``protocol``.

    Args:
        request: A name, or a mapping with ``base``, ``with`` and what differs. ``with`` names protocols whose changes
            are laid over ``base`` in order: all that they and those they build on say, but for the first of these.
        beside: Folder of the study file; its ``protocols/`` is searched first.
        written: The mapping with the places of its keys, for messages.

    Raises:
        StudyError: A name is unknown, a base refers to itself, ``with`` names a protocol that is no set of changes, or
            a value is refused.
    """
    given = dict(request) if isinstance(request, dict) else {"base": request}
    base, laid = given.pop("base", None), names_in(given.pop(WITH, None))
    places, source = (written.places, written.source) if written is not None else ({}, "protocol")
    changes = Document(given, places, source)
    file = Document({}, {}, "") if base is None else _read_resolved(str(base), beside)
    for name in reversed(laid):
        changes = changes.over(_changes_of(name, beside))
    if laid:
        given.setdefault("name", f"{base or 'custom'} with {', '.join(laid)}{' (modified)' if given else ''}")
        changes = Document({"name": given["name"]}, {}, "").over(changes)
    changed = _common(changes.over(file))
    if given or base is None:
        common = validate(Protocol, changed.over(Document({"name": f"{base or 'custom'} (modified)"}, {}, "")))
    else:
        common = _named(str(base), changed)
    return ProtocolRequest(str(base or ""), file, changes, common, beside)


def load_protocol(request: str | dict[str, Any], beside: Path | None = None) -> Protocol:
    """Returns the protocol that a study names, for networks that have none of their own.

    Args:
        request: A name, or a mapping with ``base`` and what differs.
        beside: Folder of the study file; its ``protocols/`` is searched first.

    Raises:
        StudyError: The name is unknown, a base refers to itself, or a value is refused.
    """
    return resolve_protocol(request, beside).common


def names_in(value: object) -> list[str]:
    """Returns the protocols that are named under ``with``: one, or a list.

    Raises:
        StudyError: It is something else.
    """
    names = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise StudyError(f"'{WITH}' must name protocols.", hint=f"Write {WITH}: [paper_released], for instance.")
    return names


def chain_of_protocols(name: str, beside: Path | None = None) -> tuple[str, ...]:
    """Returns a protocol, what it builds on, and so on.

    Raises:
        StudyError: A name is unknown, or a base refers to itself.
    """
    return tuple(one for one, _ in _chain(name, beside))


def can_be_laid_over(name: str, beside: Path | None = None) -> bool:
    """Returns whether a protocol is a set of changes to another, the same for every network.

    Raises:
        StudyError: A name is unknown, or a base refers to itself.
    """
    chain = _chain(name, beside)
    return len(chain) > 1 and all(one != NATIVE and _PER_MODEL not in document.values for one, document in chain)


def is_native(request: str | dict[str, Any]) -> bool:
    """Returns whether a study asks for every network's own recipe."""
    return (request.get("base") if isinstance(request, dict) else request) == NATIVE


def _named(name: str, document: Document) -> Protocol:
    return validate(Protocol, Document({"name": name}, {}, document.source).over(document))


def _read_resolved(name: str, beside: Path | None) -> Document:
    """Returns a protocol's file, its values laid on those of the files it builds on."""
    return _laid([document for _, document in _chain(name, beside)])


def _changes_of(name: str, beside: Path | None) -> Document:
    """Returns what a protocol changes of the one that it builds on in the end."""
    if not can_be_laid_over(name, beside):
        raise StudyError(
            f"Protocol '{name}' is no set of changes to another, so it cannot stand under '{WITH}'.",
            hint="Name one that builds on another and is the same for every network, or put it under 'base'.",
        )
    changes = _laid([document for _, document in _chain(name, beside)[:-1]])
    return changes.without("name", "description", "source")


def _laid(documents: Sequence[Document]) -> Document:
    """Returns documents laid over each other, the first on top."""
    *above, lowest = documents
    for document in reversed(above):
        lowest = document.over(lowest)
    return lowest


def _chain(name: str, beside: Path | None) -> list[tuple[str, Document]]:
    """Returns the name and the own values of a protocol, of the one that it builds on, and so on."""
    chain: dict[str, Document] = {}
    following: str | None = name
    while following is not None:
        if following in chain:
            raise StudyError(f"Protocol '{name}' builds on itself through {' -> '.join([*chain, following])}.")
        document = _read(following, beside)
        chain[following] = document.without("base")
        base = document.values.get("base")
        following = None if base is None else str(base)
    return list(chain.items())


def _common(document: Document) -> Document:
    """Returns what a protocol says for all networks."""
    return document.without(_PER_MODEL, _TUNING)


def _read(name: str, beside: Path | None) -> Document:
    for folder in _folders(beside):
        if (path := {one.stem: one for one in folder.glob("*.yaml")}.get(name)) is not None:
            return read_document(path)
    raise StudyError(f"Unknown protocol '{name}'.", hint=did_you_mean(name, protocol_names(beside)))


def _folders(beside: Path | None) -> list[Path]:
    own = [beside / "protocols"] if beside is not None else []
    return [folder for folder in [*own, _SHIPPED] if folder.is_dir()]
