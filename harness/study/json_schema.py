"""The JSON Schema of a study file, by which editors complete and check it.

``python -m harness.study.json_schema`` writes it to ``harness/study/study.schema.json``; a test keeps the two equal.
"""

import json
from pathlib import Path
from typing import Any

from harness.evaluation import Metric, builtin_metrics
from harness.study.protocol import Protocol
from harness.study.schema import DatasetEntry, ModelEntry, Study

PATH = Path(__file__).parent / "study.schema.json"


def study_json_schema() -> dict[str, Any]:
    """Returns the schema; a dataset or model may also be written as its bare name.

    It completes the metrics that ship with the harness, and allows those of other packages; and it knows the keys of a
    protocol with their bounds, all of which may be left out where a protocol builds on another.
    """
    schema = Study.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "harness study"
    matrix = schema["$defs"]["Matrix"]["properties"]
    for key, entry in (("dataset", DatasetEntry), ("model", ModelEntry)):
        matrix[key]["items"] = {"anyOf": [{"type": "string"}, {"$ref": f"#/$defs/{entry.__name__}"}]}
    for axis in matrix.values():  # one name or number may stand for itself
        if axis["type"] == "array":
            several = {key: axis.pop(key) for key in ("type", "items", "minItems")}
            axis["anyOf"] = [one for one in several["items"].get("anyOf", [several["items"]]) if "$ref" not in one]
            axis["anyOf"].append(several)
    ours = [metric.name for metric in vars(builtin_metrics).values() if isinstance(metric, Metric)]
    names = {"anyOf": [{"enum": ours}, {"type": "string"}]}
    schema["$defs"]["ReportSettings"]["properties"]["metrics"]["items"] = names
    keys = Protocol.model_json_schema(ref_template="#/$defs/{model}")
    schema["$defs"] |= keys.pop("$defs")
    base = {"description": "Name of the protocol it builds on.", "type": "string"}
    name = {"type": "string"}
    laid = {
        "description": "Protocols whose changes are laid over that of `base`, in order.",
        "anyOf": [name, {"type": "array", "items": name}],
    }
    own = {"base": base, "with": laid, **keys["properties"]}
    schema["$defs"]["Protocol"] = {**keys, "properties": own, "required": []}
    reference = {"$ref": "#/$defs/Protocol"}
    schema["properties"]["protocol"]["anyOf"] = [{"type": "string"}, reference]
    schema["$defs"]["Matrix"]["properties"]["protocol"]["additionalProperties"] = reference
    return schema


if __name__ == "__main__":
    PATH.write_text(json.dumps(study_json_schema(), indent=2) + "\n", encoding="utf-8")
