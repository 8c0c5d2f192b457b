"""``harness models``: which segmenters are registered, and what is known of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from harness.cli.shared.console import PlainConsole, styled
from harness.cli.shared.formatting import say_left_out, table
from harness.cli.shared.json_output import print_json
from harness.cli.shared.options import JsonOption

if TYPE_CHECKING:
    from harness.segmenters import Segmenter

models = typer.Typer(help="List the registered models; `show` describes one.", invoke_without_command=True)


@models.callback(epilog="Example: harness models show aahn")
def list_models(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the registered models."""
    if context.invoked_subcommand is not None:
        return

    from harness.segmenters import SEGMENTERS
    from harness.segmenters.contract import PAPER_ONLY, PAPER_ONLY_MARK

    listing = table("model", "title", "dimensions", "modalities", "leading", "parameters")
    loaded, broken = SEGMENTERS.load_all()
    facts = []
    for name, one in loaded.items():
        try:
            listing.add_row(*_row(one))
            facts.append(_facts(one))
        except Exception as error:  # a fact that is not what the contract says hides no other network
            broken[name] = f"The facts of '{name}' are not what a segmenter declares: {error}"
    if as_json:
        print_json("models", facts, left_out=broken)
        return
    console = PlainConsole()
    console.print(listing)
    console.print("parameters: in the authors' configuration. *: our adaptation. More: harness models show NAME")
    if any(one.source.paper_only for one in loaded.values()):
        console.print(f"{PAPER_ONLY_MARK}: {PAPER_ONLY}; reports do not rank it with the others unless asked.")
    say_left_out(console, broken)


def _row(one: Segmenter) -> tuple[str, ...]:
    dims = ", ".join(f"{d}D{'*' if d in one.adapted_dims else ''}" for d in sorted(one.spatial_dims))
    low, high = one.modality_counts
    count = f"{one.official_parameters:,}" if one.official_parameters else "-"
    return one.name, one.marked_title, dims, f"{low}-{high}", "yes" if one.uses_leading else "no", count


def _facts(one: Segmenter) -> dict[str, Any]:
    return {
        "model": one.name,
        "title": one.title,
        "summary": one.summary,
        "paper": one.source.paper,
        "repository": one.source.repository,
        "licence": one.source.licence,
        "paper_only": one.source.paper_only,
        "dimensions": sorted(one.spatial_dims),
        "adapted_dimensions": sorted(one.adapted_dims),
        "modalities": list(one.modality_counts),
        "uses_leading": one.uses_leading,
        "parameters": one.official_parameters,
        "presets": list(one.presets),
    }


@models.command(epilog="Example: harness models show aahn")
def show(name: Annotated[str, typer.Argument(help="Registered network.")], as_json: JsonOption = False) -> None:
    """Show one model: source, options, presets, decisions."""
    from harness.segmenters import SEGMENTERS
    from harness.segmenters.contract import PAPER_ONLY

    one = SEGMENTERS.get(name)
    if as_json:
        options = one.options.model_fields.items()
        rows = [{"option": key, "default": field.default, "what": field.description or ""} for key, field in options]
        print_json("models show", rows, **{**_facts(one), "presets": one.presets, "notes": one.notes})
        return
    console = PlainConsole()
    console.print(styled("bold", one.title, f" ({one.name}): {one.summary}"))
    console.print(f"Paper: {one.source.paper}")
    if one.source.paper_only:
        console.print(styled("yellow", f"{PAPER_ONLY[0].upper()}{PAPER_ONLY[1:]}."))
    if one.source.repository:
        console.print(f"Official code: {one.source.repository} ({one.source.licence})")
    if one.official_task is not None:
        task = one.official_task
        size = " x ".join(map(str, task.patch_size))
        console.print(
            f"Authors' configuration: {task.in_channels} modalities, {task.out_channels} classes, {size}: "
            f"{one.official_parameters:,} trainable parameters"
        )
    listing = table("option", "default", "what it does")
    for key, field in one.options.model_fields.items():
        listing.add_row(key, str(field.default), field.description or "")
    console.print(listing)
    for preset, values in one.presets.items():
        said = ", ".join(f"{key}={value}" for key, value in values.items()) or "the defaults"
        console.print(Text.assemble("preset ", (preset, "bold"), f": {said}"))
    for note in one.notes:
        console.print(f"- {note}")
