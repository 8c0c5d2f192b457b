"""A protocol: how every network of a study is trained, whatever the network.

Protocols are YAML files: those shipped in ``harness/study/protocols`` and a user's own, beside the study file in a
folder ``protocols/``. One may build on another by ``base: NAME`` and give only what differs.
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

__all__ = ["NATIVE", "Protocol", "is_native", "load_protocol", "native_protocol", "protocol_names"]

#: The protocol under which every network is trained by its authors' own recipe.
NATIVE = "native"

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
    values = _resolve(dict(request), beside, seen=())
    values.setdefault("name", f"{request.get('base', 'custom')} (modified)")
    return validate(Protocol, Document(values, {}, "protocol"))


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
    values = _resolve(document.values, beside, seen=(name,))
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


def _read(name: str, beside: Path | None) -> Document:
    for folder in _folders(beside):
        path = folder / f"{name}.yaml"
        if path.is_file() and path.parent == folder:
            return read_document(path)
    raise StudyError(f"Unknown protocol '{name}'.", hint=did_you_mean(name, protocol_names(beside)))


def _folders(beside: Path | None) -> list[Path]:
    own = [beside / "protocols"] if beside is not None else []
    return [folder for folder in [*own, _SHIPPED] if folder.is_dir()]
