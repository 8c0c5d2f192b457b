"""The variants of a study: networks with their switches set, and how each is trained."""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import StudyError, did_you_mean
from harness.files import hash_of_file, resolve_path
from harness.segmenters import SEGMENTERS, Segmenter
from harness.study.document import Document
from harness.study.protocol import Protocol, ProtocolRequest
from harness.study.schema import ModelEntry, Study

#: Combinations of options that one sweep may have.
MOST_VARIANTS = 10_000


@dataclass(frozen=True)
class Variant:
    """A network with its switches set.

    Attributes:
        label: What tables call it.
        segmenter: The network.
        options: Resolved options.
        identity_options: Those that are part of a cell's identity; None where all are.
        protocols: How it is trained, by dataset; ``""`` for every other dataset.
        weights: Hash of imported weights; empty where it is trained.
        weights_file: Where they are.
        start: Hash of the pretrained weights that training starts from; empty for a start from scratch.
        start_file: Where they are.
    """

    label: str
    segmenter: Segmenter
    options: Mapping[str, Any]
    identity_options: Mapping[str, Any] | None
    protocols: Mapping[str, Protocol]
    weights: str = ""
    weights_file: Path | None = None
    start: str = ""
    start_file: Path | None = None

    def protocol_on(self, dataset: str) -> Protocol:
        """Returns how the network is trained on a dataset; under a tuned protocol that may differ between datasets."""
        return self.protocols.get(dataset, self.protocols[""])


def find_variants(
    study: Study, document: Document, ways: Mapping[str, ProtocolRequest], beside: Path
) -> tuple[Variant, ...]:
    """Returns every network with every combination of its switches, trained in every way.

    Args:
        study: The study.
        document: The same with its lines.
        ways: What labels say of each way of training, to its protocol.
        beside: Folder of the study file.

    Raises:
        StudyError: A network, an option, a protocol or a file is not there, or a label is used twice.
    """
    found: dict[str, Variant] = {}
    _check_ways(study, document)
    for way, request in ways.items():
        for index, entry in enumerate(study.matrix.model):
            if entry.protocol is not None and way not in entry.protocol:
                continue
            with document.naming_line(("matrix", "model", index)):
                for variant in _variants_of(entry, study.options.get(entry.name, {}), way, request, beside):
                    if variant.label in found:
                        message = f"the label '{variant.label}' is used twice."
                        raise StudyError(message, hint="Give each variant a `label` of its own.")
                    found[variant.label] = variant
    models = {entry.name for entry in study.matrix.model}
    for name in (name for name in study.options if name not in models):
        message = f"options are given for '{name}', which is not in the matrix."
        raise document.error(("options", name), message, did_you_mean(name, models))
    reference = study.report.reference
    if reference is not None and reference not in found:
        message = f"the reference '{reference}' is no label of this study."
        raise document.error(("report", "reference"), message, did_you_mean(reference, found))
    return tuple(found.values())


def _check_ways(study: Study, document: Document) -> None:
    """Refuses a model that names a way of training that the study does not have."""
    for index, entry in enumerate(study.matrix.model):
        for way in entry.protocol or ():
            if way not in study.matrix.protocol:
                message = f"there is no way of training '{way}' under 'matrix.protocol'."
                where = ("matrix", "model", index, "protocol")
                raise document.error(where, message, did_you_mean(way, study.matrix.protocol))


def _variants_of(
    entry: ModelEntry, shared: Mapping[str, Any], way: str, request: ProtocolRequest, beside: Path
) -> Iterator[Variant]:
    """Yields one entry's network with every combination of its switches, trained in one way."""
    segmenter = SEGMENTERS.get(entry.name)
    weights = resolve_path(entry.weights, beside) if entry.weights is not None else None
    if weights is not None and not weights.is_file():
        hint = "Write them with `harness import-checkpoint`, or correct the path."
        raise StudyError(f"there are no weights at {weights}.", hint=hint)
    weights_hash = hash_of_file(weights) if weights is not None else ""
    protocols = request.for_network(segmenter.name, segmenter.native_recipe)
    if (count := math.prod(map(len, entry.sweep.values()))) > MOST_VARIANTS:
        raise StudyError(f"the sweep has {count:,} combinations; at most {MOST_VARIANTS:,} are allowed.")
    for values in itertools.product(*entry.sweep.values()):
        chosen = dict(zip(entry.sweep, values, strict=True))
        parsed = segmenter.parse_options({**shared, **entry.options, **chosen})
        start = segmenter.pretrained_file(parsed, beside)
        options, identity = parsed.model_dump(mode="json"), parsed.identity()
        if start is not None:
            options[segmenter.pretrained_option] = identity[segmenter.pretrained_option] = str(start)
        yield Variant(
            label=", ".join(filter(None, [_label(entry, segmenter, chosen), way])),
            segmenter=segmenter,
            options=options,
            identity_options=identity if identity != options else None,
            protocols=protocols,
            weights=weights_hash,
            weights_file=weights,
            start=hash_of_file(start) if start is not None else "",
            start_file=start,
        )


def _label(entry: ModelEntry, segmenter: Segmenter, chosen: Mapping[str, Any]) -> str:
    shown = chosen if entry.label else {**{k: v for k, v in entry.options.items() if k != "preset"}, **chosen}
    return ", ".join([entry.label or segmenter.title, *(f"{key}={value}" for key, value in shown.items())])
