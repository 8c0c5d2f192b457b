"""Files of a published folder that follow from its results folder alone; ``harness verify`` makes them again."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from harness.publication.cards import model_card
from harness.publication.record import ENVIRONMENT, RECORD, REQUIREMENTS, SUMS, Publication
from harness.results.manifest import Manifest
from harness.results.records import CellRecord
from harness.results.store import CellFolder, Store
from harness.study.cell import path_word


def derived_files(folder: Path, publication: Publication) -> Iterator[tuple[str, bytes]]:
    """Yields path and content of each file that follows from the others.

    Args:
        folder: The published folder.
        publication: What it says of itself.
    """
    store = Store(folder)
    study = store.study(publication.study, publication.profile)
    manifest = study.manifest()
    cells = list({cell.id: cell for _, cell in store.study_cells(study)}.values())
    records = [cell.record() for cell in cells if (cell.path / "cell.json").is_file()]
    done = [cell for cell in cells if cell.status() == "done"]
    yield "README.md", _readme(publication, manifest, len(done), len(cells)).encode()
    environments = _environments(done)
    yield ENVIRONMENT, (json.dumps(environments, indent=2) + "\n").encode()
    yield REQUIREMENTS, _requirements(environments).encode()
    for name, protocol in _protocols(records):
        yield f"protocols/{name}.yaml", yaml.safe_dump(protocol, sort_keys=False, allow_unicode=True).encode()
    labels = {entry.cell: entry.label for entry in reversed(manifest.cells)}
    for cell in done:
        if publication.weights and (cell.result / "weights.safetensors").is_file():
            licence = publication.licences.get(cell.record().dataset, "")
            card = model_card(manifest, labels[cell.id], cell, licence)
            yield f"cells/{cell.id}/result/README.md", card.encode()


def _environments(cells: Sequence[CellFolder]) -> list[dict[str, Any]]:
    """Returns what cells were computed with, that of most cells first."""
    found: dict[str, dict[str, Any]] = {}
    for cell in cells:
        summary = cell.summary()
        facts = {"commit": summary.commit, "device": summary.device, "packages": dict(sorted(summary.packages.items()))}
        found.setdefault(json.dumps(facts), {**facts, "cells": []})["cells"].append(cell.id)
    return sorted(found.values(), key=lambda one: -len(one["cells"]))


def _requirements(environments: Sequence[dict[str, Any]]) -> str:
    """Returns the versions of most cells, as pip reads them."""
    packages = environments[0]["packages"] if environments else {}
    head = f"# Python {packages.get('python', 'of unknown version')}; {ENVIRONMENT} has the versions of every cell.\n"
    ours = f"# aahn-harness {packages.get('aahn-harness', 'of unknown version')}\n"
    others = {name: version for name, version in packages.items() if name not in ("python", "aahn-harness")}
    return head + ours + "".join(f"{name}=={version}\n" for name, version in others.items() if version != "absent")


def _protocols(records: Sequence[CellRecord]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the protocols by name; a second one of the same name is numbered."""
    seen: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        protocol = dict(record.protocol)
        versions = seen.setdefault(path_word(str(protocol["name"])), [])
        if protocol not in versions:
            versions.append(protocol)
    for name, versions in sorted(seen.items()):
        yield from ((name if n == 1 else f"{name}-{n}", protocol) for n, protocol in enumerate(versions, start=1))


def _readme(publication: Publication, manifest: Manifest, done: int, cells: int) -> str:
    kept = publication.kept
    lines = [
        f"# {manifest.name} ({manifest.profile})",
        "",
        manifest.question,
        "",
        f"{done} of {cells} cells, each a training with its test. [report](reports/{manifest.name}/{manifest.profile}/"
        "report.html) holds the tables and figures.",
        "",
        "```sh",
        "harness verify .    # is every file as published, and does every number follow from the rows",
        f"harness report {manifest.name} --results . --out elsewhere    # other tables and figures from the same rows",
        "```",
        "",
        *(f"- {_STATES[what][what in kept]}" for what in _STATES),
        f"- Weights: {'`weights.safetensors` with a model card per cell' if publication.weights else 'left out'}.",
        *([] if publication.margin is None else [f"- {_asked(publication)}"]),
        *(f"- Lacking: {what}" for what in publication.missing),
        "",
        "## Data",
        "",
        "The images are not part of this folder. Whoever has them can compute the cells again." if "images" not in kept
        else "Slices of the images are part of this folder: the licences below must allow it.",
        "",
        *(f"- {facts.title} ({facts.name}, {facts.kind} data). "
          f"{publication.licences.get(facts.name, 'Its licence is not known.')}" for facts in manifest.datasets),
        "",
        "## Files",
        "",
        "| file | what |",
        "|-|-|",
        *(f"| `{name}` | {what} |" for name, what in _FILES.items()),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _asked(publication: Publication) -> str:
    """Says what sets of modalities are tested by."""
    costs = (publication.costs or {}).items()
    priced = ", ".join(
        f"{name} {one.minutes:g} min{' with contrast agent' if one.contrast else ''}" for name, one in costs
    )
    return (
        f"Sets of modalities are tested to lose less than {publication.margin:g} of the first metric, α = "
        f"{publication.alpha:g}{f'; costs: {priced}' if priced else ''}."
    )


#: What the page says of what may be left out: without it, and with it.
_STATES = {
    "names": (
        "Patients and cases have pseudonyms, the same in every file.",
        "Patients and cases have their own names.",
    ),
    "dates": ("Dates are left out.", "Dates are those of the runs."),
    "paths": ("Paths of machines are left out.", "Paths are those of the machines that ran the cells."),
}

_FILES = {
    "cells/CELL/result/cases.parquet": "one row per case, region and metric: everything follows from these",
    "cells/CELL/result/README.md": "model card of the weights beside it",
    "splits/": "training, validation and test cases of each fold, with the patient of each case",
    "protocols/": "how the cells were trained",
    f"{ENVIRONMENT}, {REQUIREMENTS}": "code, packages and devices",
    "reports/": "tables, figures, and a page for the browser",
    RECORD: "what was kept and left out",
    SUMS: "checksum of every file",
}
