"""The tables of the results store: their columns and what each one means.

``cases`` is the one long table everything else is computed from: one row per cell, case, region and metric. It is
written by a cell when it finishes and never changed. Study-level words (study, profile, label) are joined on loading,
because a cell belongs to every study that asks for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from harness.evaluation.status import STATUSES
from harness.results.manifest import DatasetFacts, Design

__all__ = [
    "CASE_COLUMNS",
    "CELL_COLUMNS",
    "FLOOR_COLUMNS",
    "HISTORY_COLUMNS",
    "STATED_COLUMNS",
    "STATUSES",
    "SUBSET_COLUMNS",
    "DatasetFacts",
    "StudyResults",
]


#: Per-case results. ``study``, ``profile`` and ``label`` are joined on loading.
CASE_COLUMNS: Mapping[str, str] = {
    "study": "study name",
    "profile": "profile of the study, 'default' for none",
    "cell": "identity of the cell (its folder's name)",
    "dataset": "registered dataset name",
    "model": "registered segmenter name",
    "label": "what the study calls this variant",
    "leading": "leading modality, '-' where the model has none",
    "fold": "fold index",
    "seed": "training seed",
    "patient": "patient the case belongs to: the unit of statistics",
    "case": "case identifier",
    "modalities": "modalities the case has, joined by '+'; '' where no case of the cell lacks one",
    "region": "what is scored, e.g. WT",
    "metric": "e.g. dice (0..1) or hd95 (mm); docs/metrics.md lists all",
    "value": "float; never absent",
    "status": f"one of {', '.join(STATUSES)}",
    "implementation": "function and version that computed the value",
}

#: Per-case results with fewer modalities, as `harness missing` computes them; those with all of them are in ``cases``.
SUBSET_COLUMNS: Mapping[str, str] = {
    **CASE_COLUMNS,
    "present": "modalities the network was given, in channel order, joined by '+'",
    "fill": "what stood for the others: zeros, mean or token",
    "dropout": "'never dropped', or how modalities were absent in training, e.g. 'dropped with p 0.3'",
    "default_leading": "the dataset's own leading modality",
}

#: One row per cell of the study, whatever became of it.
CELL_COLUMNS: Mapping[str, str] = {
    "study": "study name",
    "profile": "profile of the study",
    "cell": "identity of the cell",
    "dataset": "registered dataset name",
    "model": "registered segmenter name",
    "label": "what the study calls this variant",
    "leading": "leading modality, '-' where the model has none",
    "fold": "fold index",
    "seed": "training seed",
    "status": "done, failed, running, interrupted, new or damaged",
    "reason": "why it failed, or what is damaged, else ''",
    "log": "the end of a failed cell's log, else ''",
    "attempts": "how often it was tried, attempts that failed included",
    "accumulate": "parts each training batch was cut into to fit in GPU memory; 1 for whole batches",
    "step": "how training steps were done: eager, or recorded as a CUDA graph; '' where the cell is not done",
    "not_recorded": "why a step could not be recorded, else ''",
    "augmentation": "where training batches were augmented: cpu (by patch) or gpu (whole); '' where it is not done",
    "not_on_gpu": "why batches were not augmented on the GPU although the protocol allows it, else ''",
    "parameters": "trainable parameters",
    "gflops": "GFLOPs of one forward pass, batch 1 (1 MAC = 2 FLOPs)",
    "train_seconds": "wall time of training, over all attempts",
    "peak_memory_mb": "most memory in MB: of the GPU where there is one, else of the process",
    "ranks": "processes that trained the cell together, each on a GPU of its own",
    "latency_seconds": "median wall time of predicting one test case, preparation included",
    "energy_wh": "energy the GPU drew while the cell was trained and tested; NaN where it does not say",
    "steps": "training steps done",
    "device": "e.g. 'cpu (1 thread)' or the GPU's name",
    "commit": "git commit of the code, '+dirty' appended where the tree had changes; else the version installed",
    "split": "hash of the split",
    "data": "hash of the dataset's files",
    "protocol": "name of the protocol",
    "budget": "training steps and batch size that the protocol allows, e.g. '1500 steps of 8'",
    "start": "what training started from: scratch, pretrained:HASH of the file, or imported:HASH (tested as it is)",
    "options": "JSON of the segmenter's resolved options",
    "paper_only": "whether the network is written from its paper alone: no code to compare with",
    "packages": "JSON of package versions",
    "started": "UTC time, ISO 8601",
    "finished": "UTC time, ISO 8601",
}

#: One row per epoch of a cell; ``val_dice`` is NaN where the epoch was not validated.
HISTORY_COLUMNS: Mapping[str, str] = {
    "cell": "identity of the cell",
    "epoch": "1-based",
    "step": "optimiser steps done",
    "loss": "mean training loss of the epoch",
    "val_dice": "mean Dice over regions on the validation cases",
    "lr": "learning rate of the epoch's last step",
    "seconds": "wall time of the epoch",
    "waiting": "share of that time (0 to 1) in which training waited for its next batch; absent where it is not known",
}

#: What a trivial method scores on the same test cases (e.g. copying the mirrored labels of the other hemisphere).
FLOOR_COLUMNS: Mapping[str, str] = {
    "dataset": "registered dataset name",
    "fold": "fold index",
    "floor": "name of the trivial method",
    "patient": "patient the case belongs to",
    "case": "case identifier",
    "region": "what is scored",
    "metric": "as in cases",
    "value": "float",
    "status": f"one of {', '.join(STATUSES)}",
}

#: A mean that a file of others states, by its own rule for empty regions, and the same mean of its cases.
STATED_COLUMNS: Mapping[str, str] = {
    "label": "what the report calls the method",
    "dataset": "name of the dataset",
    "file": "the file, relative to what was named",
    "fold": "fold index, 0 where the file names none",
    "region": "what is scored",
    "metric": "as in cases",
    "stated": "mean that the file states; NaN where it states none",
    "computed": "mean of the file's cases, a region that is in neither mask left out",
}


@dataclass(frozen=True)
class StudyResults:
    """All a report needs to know of one study: no model, no image volume.

    Attributes:
        study: Study name.
        profile: Profile, ``default`` for none.
        question: What the study asks, in one sentence.
        reference: Label of the variant the others are compared with; ``None`` for none.
        metrics: Metrics to report, in order.
        labels: Variant labels in table order.
        cases: Per-case rows, columns of :data:`CASE_COLUMNS`.
        cells: One row per cell, columns of :data:`CELL_COLUMNS`.
        history: One row per epoch, columns of :data:`HISTORY_COLUMNS`.
        floors: Rows of :data:`FLOOR_COLUMNS`.
        datasets: Facts by dataset name.
        overlays: Cell to the file of its :class:`harness.results.overlay.Overlay`.
        subsets: Rows of :data:`SUBSET_COLUMNS`; empty where no cell was tested with fewer modalities.
        subset_failures: Cell to the reason why its test with fewer modalities failed.
        answers: What of a publication the study answers, e.g. Table I of the paper; empty for nothing.
        empty: Policy for empty regions that the study's report asks for; empty for each dataset's own.
        by: Columns of the patients that the study's report shows scores by.
        columns: Dataset to column to patient to value, of the columns that were asked for and read. They are personal
            data, which nothing here stores.
        designs: Cell to what its split was chosen by.
        stated: Means that files of others state, beside those of their cases: rows of :data:`STATED_COLUMNS`.
    """

    study: str
    profile: str
    question: str
    reference: str | None
    metrics: tuple[str, ...]
    labels: tuple[str, ...]
    cases: pd.DataFrame
    cells: pd.DataFrame
    history: pd.DataFrame
    floors: pd.DataFrame
    datasets: Mapping[str, DatasetFacts]
    overlays: Mapping[str, Path]
    subsets: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(SUBSET_COLUMNS)))
    subset_failures: Mapping[str, str] = field(default_factory=dict)
    answers: str = ""
    empty: str = ""
    by: tuple[str, ...] = ()
    columns: Mapping[str, Mapping[str, Mapping[str, str]]] = field(default_factory=dict)
    designs: Mapping[str, Design] = field(default_factory=dict)
    stated: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(STATED_COLUMNS)))
