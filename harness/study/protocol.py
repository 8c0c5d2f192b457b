"""A protocol: how every network of a study is trained, whatever the network.

Protocols are YAML files: those shipped in ``harness/study/protocols`` and a user's own, beside the study file in a
folder ``protocols/``. One may build on another by ``base: NAME`` and give only what differs. One that ``harness tune``
wrote says under ``per_model`` what differs for each network on each dataset, and under ``tuning`` how that was found.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from harness.data.settings import AugmentationSettings, PreparationSettings, SamplingSettings
from harness.errors import StudyError, did_you_mean
from harness.inference.settings import InferenceSettings
from harness.settings import Settings
from harness.study.document import Document, merge, read_document, validate
from harness.training.settings import TrainingSettings

__all__ = [
    "NATIVE",
    "Protocol",
    "is_native",
    "load_protocol",
    "model_protocols",
    "native_protocol",
    "protocol_names",
]

#: The protocol under which every network is trained by its authors' own recipe.
NATIVE = "native"

_PER_MODEL, _TUNING = "per_model", "tuning"
_SHIPPED = Path(__file__).parent / "protocols"


class Protocol(Settings):
    """How every network of a study is trained, tested and compared."""

    name: str
    description: str = ""
    source: str = Field("", description="Where the settings come from.")
    patch_size: tuple[int, ...] = Field((128, 128), min_length=2, max_length=3, description="Two numbers: slices.")
    preparation: PreparationSettings = PreparationSettings()
    sampling: SamplingSettings = SamplingSettings()
    augmentation: AugmentationSettings = AugmentationSettings()
    training: TrainingSettings = TrainingSettings()
    inference: InferenceSettings = InferenceSettings()

    def identity(self) -> dict[str, Any]:
        """Returns all that affects numbers: everything but words and the number of loader processes."""
        values = self.model_dump(mode="json", exclude={"name", "description", "source"})
        del values["sampling"]["workers"]
        return values


def protocol_names(beside: Path | None = None) -> list[str]:
    """Returns the names of all protocols to be found."""
    return sorted({path.stem for folder in _folders(beside) for path in folder.glob("*.yaml")})


def load_protocol(request: str | dict[str, Any], beside: Path | None = None) -> Protocol:
    """Resolves what a study says under ``protocol``.

    Args:
        request: A name, or a mapping with ``base`` and overrides.
        beside: Folder of the study file; its ``protocols/`` is searched first.

    Raises:
        StudyError: The name is unknown, a base refers to itself, or a value is refused.
    """
    if isinstance(request, str):
        return _from_name(request, beside)
    values = _common(_resolve(dict(request), beside, seen=()))
    values.setdefault("name", f"{request.get('base', 'custom')} (modified)")
    return validate(Protocol, Document(values, {}, "protocol"))


def model_protocols(request: str | dict[str, Any], model: str, beside: Path | None = None) -> dict[str, Protocol]:
    """Returns the protocols a tuned protocol holds for one network, by dataset; empty where it is not tuned.

    A network is laid over in this order: the common protocol, its own values, the study's words. Its protocol's name
    says by how many trials it was tuned, or that it was not, so that reports show it and rank no tuned network
    together with an untuned one.

    Args:
        request: What the study says under ``protocol``.
        model: Registered name of the network.
        beside: Folder of the study file.

    Returns:
        Protocols by dataset; ``""`` holds the one for datasets the network was not tuned on.

    Raises:
        StudyError: A value is refused, or ``per_model`` is no mapping of models to datasets to values.
    """
    name = request if isinstance(request, str) else str(request.get("base", ""))
    if not name:
        return {}
    over = {key: value for key, value in request.items() if key != "base"} if isinstance(request, dict) else {}
    values = _resolve(_read(name, beside).values, beside, seen=(name,))
    tuned, facts = values.get(_PER_MODEL), values.get(_TUNING, {})
    if tuned is None:
        return {}
    own = tuned.get(model, {}) if isinstance(tuned, dict) else None
    if not isinstance(own, dict) or not all(isinstance(one, dict) for one in own.values()):
        raise StudyError(
            f"Protocol '{name}': '{_PER_MODEL}' must say which values each dataset has for each model.",
            hint="Write the file with `harness tune`.",
        )
    title = f"{over.pop('name', name)}{' (modified)' if over else ''}"
    trials = facts.get("trials", "?") if isinstance(facts, dict) else "?"
    named = dict.fromkeys(own, f"{title}, tuned by {trials} trials") | {"": f"{title}, not tuned"}
    return {
        dataset: validate(
            Protocol,
            Document({**merge(merge(_common(values), own.get(dataset, {})), over), "name": called}, {}, name),
        )
        for dataset, called in named.items()
    }


def native_protocol(request: str | dict[str, Any], recipe: Mapping[str, Any], beside: Path | None = None) -> Protocol:
    """Returns one network's protocol under ``native``: ``paper``, then its authors' recipe, then the study's words.

    Args:
        request: What the study says under ``protocol``.
        recipe: What the segmenter declares as ``native_recipe``.
        beside: Folder of the study file.

    Raises:
        StudyError: A value is refused.
    """
    over = {key: value for key, value in request.items() if key != "base"} if isinstance(request, dict) else {}
    base = _resolve(_read("paper", beside).values, beside, seen=("paper",))
    words = {"name": NATIVE, "description": "", "source": ""}
    return validate(Protocol, Document(merge(merge({**base, **words}, recipe), over), {}, "protocol"))


def is_native(request: str | dict[str, Any]) -> bool:
    """Returns whether a study asks for every network's own recipe."""
    return (request.get("base") if isinstance(request, dict) else request) == NATIVE


def _from_name(name: str, beside: Path | None) -> Protocol:
    document = _read(name, beside)
    values = _common(_resolve(document.values, beside, seen=(name,)))
    values["name"] = name
    return validate(Protocol, Document(values, document.lines, document.source))


def _resolve(values: dict[str, Any], beside: Path | None, seen: tuple[str, ...]) -> dict[str, Any]:
    base = values.pop("base", None)
    if base is None:
        return values
    if base in seen:
        raise StudyError(f"Protocol '{seen[0]}' builds on itself through {' -> '.join([*seen, base])}.")
    parent = _resolve(_read(str(base), beside).values, beside, (*seen, base))
    return merge(parent, values)


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
