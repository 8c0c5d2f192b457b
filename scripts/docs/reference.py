"""Reference pages made from what the harness itself knows: its commands, its schema, its protocols, its networks."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.segmenters import SEGMENTERS, Segmenter
from harness.segmenters.contract import PAPER_ONLY
from harness.study.json_schema import study_json_schema
from harness.study.protocol import Protocol

_PROTOCOLS = Path(__file__).parents[2] / "harness" / "study" / "protocols"


def commands() -> str:
    """Returns every verb with its options, as ``--help`` gives them."""
    made = subprocess.run(
        [sys.executable, "-m", "typer", "harness.cli.app", "utils", "docs", "--name", "harness", "--title", "Commands"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    made = re.sub(r"(?m)^\* `--(install|show)-completion`.*\n", "", html.unescape(made))
    cut_off = r"(?m)^\*\*Commands\*\*:\n\n(\* .*\n)+"  # lists of verbs with half their sentence; the contents list them
    made = re.sub(cut_off, "", made)
    return re.sub(r"(?m)^Example: (.*)$", r"```sh title='Example'\n\1\n```", made)


def study_file() -> str:
    """Returns every key of a study file, from the schema that checks it."""
    schema = study_json_schema()
    parts = [
        "# Keys of a study file",
        "Made from the JSON Schema that `harness plan` checks a study by (`harness/study/study.schema.json`; editors "
        "complete by it). What the keys are for: [Studies, protocols and cells](../studies.md).",
        "## Top level",
        _table(schema),
    ]
    titles = {
        "Matrix": "`matrix`",
        "DatasetEntry": "An entry of `matrix.dataset`",
        "ModelEntry": "An entry of `matrix.model`",
        "ReportSettings": "`report`",
        "TuningSettings": "`tuning`",
        "Range": "A range in `tuning.space`",
    }
    for name, title in titles.items():  # the settings of a protocol have a page of their own
        part = schema["$defs"][name]
        parts += [f"## {title}", part.get("description", "").replace("``", "`"), _table(part)]
    return "\n\n".join(parts) + "\n"


def protocols() -> str:
    """Returns every setting of a protocol, and the protocols that are shipped."""
    schema = Protocol.model_json_schema()
    parts = [
        "# Settings of a protocol",
        "Made from the classes that check a protocol. How to write one of your own: "
        "[Studies, protocols and cells](../studies.md#protocols).",
    ]
    parts += _groups(schema, schema, "")
    parts.append("## The protocols that are shipped")
    for path in sorted(_PROTOCOLS.glob("*.yaml")):
        text = path.read_text(encoding="utf-8").rstrip()
        parts += [f"### `{path.stem}`", f"```yaml title='harness/study/protocols/{path.name}'\n{text}\n```"]
    return "\n\n".join(parts) + "\n"


def networks() -> str:
    """Returns every registered network with its source, options, presets and notes."""
    parts = [
        "# Networks and their options",
        "Made from the registry; `harness models show NAME` says the same. A study gives an option beside the name: "
        "`{name: aahn, preset: tiny, tcfaf: none}`.",
    ]
    for name in SEGMENTERS.names():
        parts += _network(SEGMENTERS.get(name))
    return "\n\n".join(parts) + "\n"


def _network(one: Segmenter) -> list[str]:
    code = f" Official code: `{one.source.repository}` ({one.source.licence})." if one.source.repository else ""
    presets = [
        f"- preset `{preset}`: "
        + (", ".join(f"`{key}: {_shown(value)}`" for key, value in values.items()) or "the defaults")
        for preset, values in one.presets.items()
    ]
    parts = [
        f"## `{one.name}`",
        f"**{one.title}.** {one.summary}",
        f"Paper: {one.source.paper}.{code}" + (f" **{PAPER_ONLY}.**" if one.source.paper_only else ""),
    ]
    schema = one.options.model_json_schema()
    if schema.get("properties"):
        parts.append(_table(schema))
    return [*parts, "\n".join([*presets, *(f"- {note}" for note in one.notes)])]


def _groups(schema: Mapping[str, Any], part: Mapping[str, Any], path: str) -> list[str]:
    parts = (
        [_table(part, skip_groups=True)]
        if path == ""
        else [f"## `{path}`", part.get("description", ""), _table(part, skip_groups=True)]
    )
    for key, value in part["properties"].items():
        name = _group(value)
        if name:
            parts += _groups(schema, schema["$defs"][name], f"{path}.{key}".lstrip("."))
    return parts


def _group(value: Mapping[str, Any]) -> str:
    return str(value.get("$ref", "")).rpartition("/")[2]


def _table(part: Mapping[str, Any], skip_groups: bool = False) -> str:
    rows = ["| key | value | default | meaning |", "|-|-|-|-|"]
    required = part.get("required", ())
    for key, value in part.get("properties", {}).items():
        if skip_groups and _group(value):
            continue
        default = "required" if key in required else _default(value)
        rows.append(f"| `{key}` | {_kind(value)} | {default} | {_cell(value.get('description', ''))} |")
    return "\n".join(rows)


def _default(value: Mapping[str, Any]) -> str:
    if "default" not in value or isinstance(value["default"], dict) or value["default"] in ("", [], None):
        return ""
    return f"`{_shown(value['default'])}`"


def _shown(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list | tuple):
        return f"[{', '.join(_shown(one) for one in value)}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _kind(value: Mapping[str, Any]) -> str:
    """Returns the kind of a value in words, with its bounds."""
    if "enum" in value:
        return ", ".join(f"`{_shown(one)}`" for one in value["enum"])
    if "const" in value:
        return f"`{_shown(value['const'])}`"
    if "anyOf" in value:
        kinds = [_kind(one) for one in value["anyOf"] if one.get("type") != "null"]
        null = (
            any(one.get("type") == "null" for one in value["anyOf"])
            and "default" in value
            and value["default"] is not None
        )
        return " or ".join([*dict.fromkeys(kinds), *(["`null`"] if null else [])])
    if "$ref" in value:
        return "mapping, below"
    kind = str(value.get("type", "any"))
    if kind == "array":
        inner = value.get("items") or next(iter(value.get("prefixItems", [])), {})
        return f"list of {_plural(_kind(inner))}" if inner else "list"
    words = {
        "object": "mapping",
        "boolean": "`true`, `false`",
        "string": "path" if value.get("format") == "path" else "text",
    }
    return words.get(kind, kind) + _bounds(value)


def _plural(kind: str) -> str:
    words = {"integer": "integers", "number": "numbers", "text": "texts", "mapping, below": "mappings, below"}
    head, *rest = kind.split(" ")
    return " ".join([words.get(head, head), *rest]) if head in words else words.get(kind, kind)


def _bounds(value: Mapping[str, Any]) -> str:
    said = [
        f"{sign} {_shown(value[key])}"
        for key, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
        if key in value
    ]
    return f" {', '.join(said)}" if said else ""


def _cell(text: str) -> str:
    return text.replace("``", "`").replace("|", "\\|").replace("\n", " ")


#: Place in the site's sources to what makes the page.
PAGES: dict[str, Callable[[], str]] = {
    "reference/commands.md": commands,
    "reference/study_file.md": study_file,
    "reference/protocols.md": protocols,
    "reference/networks.md": networks,
}
