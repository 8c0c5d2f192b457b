"""A protocol: how every network of a study is trained, whatever the network.

Protocols are YAML files: those shipped in ``harness/study/protocols`` and a user's own, beside the study file in a
folder ``protocols/``. One may build on another by ``base: NAME`` and give only what differs. One that ``harness tune``
wrote says under ``per_model`` what differs for each network on each dataset, and under ``tuning`` how that was found.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from harness.data.settings import AugmentationSettings, PreparationSettings, SamplingSettings
from harness.errors import StudyError, did_you_mean
from harness.inference.settings import InferenceSettings
from harness.settings import CHANGES_NO_NUMBER, Settings
from harness.study.document import Document, merge, read_document, validate
from harness.training.settings import TrainingSettings

#: The protocol under which every network is trained by its authors' own recipe.
NATIVE = "native"

_PER_MODEL, _TUNING = "per_model", "tuning"
_SHIPPED = Path(__file__).parent / "protocols"


class Protocol(Settings):
    """How every network of a study is trained, tested and compared."""

    name: Annotated[str, CHANGES_NO_NUMBER]
    description: Annotated[str, CHANGES_NO_NUMBER] = ""
    source: Annotated[str, CHANGES_NO_NUMBER] = Field("", description="Where the settings come from.")
    patch_size: tuple[int, ...] = Field((128, 128), min_length=2, max_length=3, description="Two numbers: slices.")
    preparation: PreparationSettings = PreparationSettings()
    sampling: SamplingSettings = SamplingSettings()
    augmentation: AugmentationSettings = AugmentationSettings()
    training: TrainingSettings = TrainingSettings()
    inference: InferenceSettings = InferenceSettings()


@dataclass(frozen=True)
class ProtocolRequest:
    """What a study says under ``protocol``, with every file it builds on read.

    Attributes:
        base: Name of the protocol it builds on; empty for none.
        values: What that protocol's file and those it builds on say.
        changes: What the study changes.
        common: The protocol of every network that has none of its own.
        beside: Folder of the study file; its ``protocols/`` is searched first.
    """

    base: str
    values: Mapping[str, Any]
    changes: Mapping[str, Any]
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
            paper = _read_resolved("paper", self.beside).values
            words = {"name": NATIVE, "description": "", "source": ""}
            return {"": _validate(merge(merge({**paper, **words}, recipe), self.changes))}
        if (tuned := self.values.get(_PER_MODEL)) is None:
            return {"": self.common}
        own = tuned.get(model, {}) if isinstance(tuned, dict) else None
        if not isinstance(own, dict) or not all(isinstance(one, dict) for one in own.values()):
            raise StudyError(
                f"Protocol '{self.base}': '{_PER_MODEL}' must say which values each dataset has for each model.",
                hint="Write the file with `harness tune`.",
            )
        changes = dict(self.changes)
        title = f"{changes.pop('name', self.base)}{' (modified)' if changes else ''}"
        facts = self.values.get(_TUNING, {})
        trials = facts.get("trials", "?") if isinstance(facts, dict) else "?"
        names = dict.fromkeys(own, f"{title}, tuned by {trials} trials") | {"": f"{title}, not tuned"}
        shared = _common(self.values)
        return {
            dataset: _validate({**merge(merge(shared, own.get(dataset, {})), changes), "name": name}, self.base)
            for dataset, name in names.items()
        }


def protocol_names(beside: Path | None = None) -> list[str]:
    """Returns the names of all protocols to be found."""
    return sorted({path.stem for folder in _folders(beside) for path in folder.glob("*.yaml")})


def resolve_protocol(request: str | dict[str, Any], beside: Path | None = None) -> ProtocolRequest:
    """Reads and validates what a study says under ``protocol``.

    Args:
        request: A name, or a mapping with ``base`` and what differs.
        beside: Folder of the study file; its ``protocols/`` is searched first.

    Raises:
        StudyError: The name is unknown, a base refers to itself, or a value is refused.
    """
    changes = dict(request) if isinstance(request, dict) else {"base": request}
    base = changes.pop("base", None)
    file = Document({}, {}, "") if base is None else _read_resolved(str(base), beside)
    values = _common(merge(file.values, changes))
    if changes or base is None:
        common = _validate({"name": f"{base or 'custom'} (modified)", **values})
    else:
        common = validate(Protocol, Document({**values, "name": str(base)}, file.lines, file.source))
    return ProtocolRequest(str(base or ""), file.values, changes, common, beside)


def load_protocol(request: str | dict[str, Any], beside: Path | None = None) -> Protocol:
    """Returns the protocol that a study names, for networks that have none of their own.

    Args:
        request: A name, or a mapping with ``base`` and what differs.
        beside: Folder of the study file; its ``protocols/`` is searched first.

    Raises:
        StudyError: The name is unknown, a base refers to itself, or a value is refused.
    """
    return resolve_protocol(request, beside).common


def is_native(request: str | dict[str, Any]) -> bool:
    """Returns whether a study asks for every network's own recipe."""
    return (request.get("base") if isinstance(request, dict) else request) == NATIVE


def _validate(values: dict[str, Any], source: str = "protocol") -> Protocol:
    return validate(Protocol, Document(values, {}, source))


def _read_resolved(name: str, beside: Path | None, seen: tuple[str, ...] = ()) -> Document:
    """Returns a protocol's file, its values laid on those of the files it builds on."""
    if name in seen:
        raise StudyError(f"Protocol '{seen[0]}' builds on itself through {' -> '.join([*seen, name])}.")
    document = _read(name, beside)
    values = dict(document.values)
    base = values.pop("base", None)
    if base is not None:
        values = merge(_read_resolved(str(base), beside, (*seen, name)).values, values)
    return Document(values, document.lines, document.source)


def _common(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a protocol says for all networks."""
    return {key: value for key, value in values.items() if key not in {_PER_MODEL, _TUNING}}


def _read(name: str, beside: Path | None) -> Document:
    for folder in _folders(beside):
        path = folder / f"{name}.yaml"
        if path.is_file() and path.parent == folder:
            return read_document(path)
    raise StudyError(f"Unknown protocol '{name}'.", hint=did_you_mean(name, protocol_names(beside)))


def _folders(beside: Path | None) -> list[Path]:
    own = [beside / "protocols"] if beside is not None else []
    return [folder for folder in [*own, _SHIPPED] if folder.is_dir()]
