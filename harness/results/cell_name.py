"""What the name of a cell says of it, for listings of cells whose ``cell.json`` cannot be read."""

import re
from collections.abc import Sequence

from harness.results.manifest import DatasetFacts
from harness.results.records import CellRecord
from harness.study.cell import NO_LEADING, path_word

#: Dataset, model, leading modality, fold and seed in the name of a cell.
_NAME = re.compile(r"([^_]+)_([^_]+)_([^_]+)_f(\d+)_s(\d+)_[0-9a-f]+")


def record_by_name(identity: str, datasets: Sequence[DatasetFacts]) -> CellRecord:
    """Returns what the name of a cell says of it, see :attr:`harness.study.cell.CellSpec.id`."""
    found = _NAME.fullmatch(identity)
    dataset, model, leading, fold, seed = found.groups() if found else ("", "", "lead-", "0", "0")
    facts = next((one for one in datasets if path_word(one.name) == dataset), None)
    leading = NO_LEADING if leading == "noleading" else leading.removeprefix("lead-")
    return CellRecord(
        dataset=facts.name if facts else dataset,
        model=model,
        leading=next((one for one in (facts.modalities if facts else ()) if path_word(one) == leading), leading),
        fold=int(fold),
        seed=int(seed),
        data="",
        split="",
        options={},
        protocol={"name": "unknown"},
        started_from="",
    )
