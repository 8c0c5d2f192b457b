"""``harness import-checkpoint``: the authors' released weights become weights of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["import_checkpoint"]


def import_checkpoint(
    model: Annotated[str, typer.Argument(help="Registered name of the model.")],
    checkpoint: Annotated[Path, typer.Argument(help="The authors' file, e.g. model_final_checkpoint.model.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Default: MODEL.safetensors in this folder.", show_default=False)
    ] = None,
    modalities: Annotated[
        str | None, typer.Option(help="Names in channel order, e.g. t1,t1ce,t2,flair; default: the authors'.")
    ] = None,
    leading: Annotated[str | None, typer.Option(help="Leading modality; default: the authors'.")] = None,
    classes: Annotated[
        int | None, typer.Option(min=2, help="Classes, background included; default: the authors'.")
    ] = None,
    patch: Annotated[str | None, typer.Option(help="Patch size, e.g. 128x128; default: the authors'.")] = None,
    option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="An option of the model; may be repeated.")
    ] = None,
    partial: Annotated[bool, typer.Option("--partial", help="Accept missing, surplus or mis-shaped entries.")] = False,
) -> None:
    """Read released weights safely, check them entry by entry, and write them under our names.

    A study tests them without training: `- {name: aahn, weights: aahn.safetensors}`.
    """
    from rich.console import Console
    from rich.markup import escape
    from safetensors.torch import save_model

    from harness.errors import HarnessError
    from harness.files import atomic_path
    from harness.segmenters import SEGMENTERS
    from harness.segmenters.contract import Task
    from harness.segmenters.released import import_weights, read_checkpoint
    from harness.settings import parse_yaml

    segmenter = SEGMENTERS.get(model)
    translator = segmenter.load_translator()
    official = segmenter.official_task
    if official is None:
        raise HarnessError(f"'{model}' declares no official configuration.", hint="Ask its authors to add one.")
    names = tuple(modalities.split(",")) if modalities else official.modalities
    if leading is not None and leading not in names:
        raise HarnessError(f"'{leading}' is not among the modalities {', '.join(names)}.", hint="Correct --leading.")
    lead = names.index(leading) if leading is not None else (official.leading if names == official.modalities else 0)
    task = Task(names, lead, classes or official.out_channels, _size(patch) if patch else official.patch_size)
    options = {**segmenter.official_options, **parse_yaml(option or (), "--option", "width=32")}
    network = segmenter.build(task, options)
    report = import_weights(network, read_checkpoint(checkpoint), translator, strict=not partial)
    target = out or Path(f"{model}.safetensors")
    with atomic_path(target) as temporary:
        save_model(network, str(temporary))
    console = Console(highlight=False)
    console.print(escape(str(report)))
    console.print(f"Written: {target}. Test it in a study: - {{name: {model}, weights: {target.name}}}", soft_wrap=True)


def _size(text: str) -> tuple[int, ...]:
    from harness.errors import HarnessError

    try:
        return tuple(int(part) for part in text.lower().split("x"))
    except ValueError as error:
        raise HarnessError(f"'{text}' is no patch size.", hint="Write it like 128x128 or 128x128x128.") from error
