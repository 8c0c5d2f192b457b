"""Model cards: what a hub shows of a cell's weights."""

from typing import Any

import yaml

from harness.results.manifest import DatasetFacts, Manifest
from harness.results.scores import read_scores
from harness.results.store import CellFolder
from harness.segmenters.contract import PAPER_ONLY
from harness.statistics.bootstrap import Interval, few_patients
from harness.statistics.means import cell_intervals, cell_means


def model_card(manifest: Manifest, label: str, cell: CellFolder, licence: str = "") -> str:
    """Returns the card of a finished cell, with the header that hubs read.

    Args:
        manifest: The study.
        label: What the study calls the variant.
        cell: The cell.
        licence: Licence of the data; empty where it is not known.
    """
    record, summary = cell.record(), cell.summary()
    facts = next(one for one in manifest.datasets if one.name == record.dataset)
    rows = read_scores(cell)
    means = {key: value for key, value in cell_means(rows).items() if key[0] in manifest.report.metrics}
    intervals, patients = cell_intervals(rows), int(rows["patient"].nunique())
    header = yaml.safe_dump(_header(facts, label, means), sort_keys=False, allow_unicode=True)
    training = record.protocol.get("training", {})
    steps = summary.steps if summary.steps is not None else "an unknown number of"
    size = "" if summary.parameters is None else f", {summary.parameters:,} parameters"
    options = ", ".join(f"{key}={value}" for key, value in record.options.items()) or "the defaults"
    lines = [
        f"# {label} on {facts.title}",
        "",
        f"Weights of `{record.model}`{size}, from the study *{manifest.name}* ({manifest.profile}).",
        *([f"The network is written {PAPER_ONLY}."] if record.paper_only else []),
        manifest.question,
        "",
        "| | |",
        "|-|-|",
        f"| modalities | {', '.join(facts.modalities)}; leading: {record.leading} |",
        f"| regions | {', '.join(facts.regions)} |",
        f"| options | {options} |",
        f"| trained | {steps} steps, protocol {record.protocol['name']}, seed {record.seed}, from {summary.start} |",
        f"| precision | {summary.precision or training.get('precision', 'unknown')} on {summary.device} |",
        f"| split | fold {record.fold}, {record.split} |",
        f"| data | {facts.kind}, {record.data} |",
        f"| licence of the data | {licence or 'not known'} |",
        f"| cell | {cell.id} |",
        "",
        "## Scores on the test cases of this fold",
        "",
        f"Means over {patients} {'patient' if patients == 1 else 'patients'}, of one training; 95 % intervals by "
        "bootstrap over patients.",
        *(["", few_patients(patients) + "."] if few_patients(patients) else []),
        "",
        "| metric | region | mean | 95 % interval |",
        "|-|-|-:|-:|",
        *(f"| {metric} | {region} | {value:.4f} | {_interval(intervals.get((metric, region)))} |"
          for (metric, region), value in means.items()),
        "",
        "## Limits",
        "",
        "For research. Not a medical device: do not use it to diagnose or treat.",
        *(f"- {note}" for note in facts.notes),
    ]  # fmt: skip
    return f"---\n{header}---\n\n" + "\n".join(lines) + "\n"


def _interval(interval: Interval | None) -> str:
    return "–" if interval is None else f"{interval.low:.4f} to {interval.high:.4f}"


def _header(facts: DatasetFacts, label: str, means: dict[tuple[str, str], float]) -> dict[str, Any]:
    scores = [
        {"type": metric, "name": f"{metric} {region}", "value": round(value, 4)}
        for (metric, region), value in means.items()
    ]
    task = {"type": "image-segmentation", "name": "Medical image segmentation"}
    result = {"task": task, "dataset": {"type": facts.name, "name": facts.title}, "metrics": scores}
    return {
        "library_name": "aahn-harness",
        "pipeline_tag": "image-segmentation",
        "tags": ["medical", "multi-modality", *([] if facts.kind == "real" else [f"{facts.kind}-data"])],
        "model-index": [{"name": label, "results": [result]}],
    }
