"""``harness import-checkpoint``: the authors' released weights become weights of ours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.shared.console import PlainConsole
from harness.cli.shared.formatting import parse_size
from harness.errors import HarnessError
from harness.settings import parse_yaml

if TYPE_CHECKING:
    from harness.segmenters import Segmenter

#: Seconds that reading and translating weights may take where the network is of another package.
_PATIENCE = 1800.0


def import_checkpoint(
    model: Annotated[str, typer.Argument(help="Registered network.")],
    checkpoint: Annotated[Path, typer.Argument(help="The authors' file, e.g. model_final_checkpoint.model.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="File to write; default: MODEL.safetensors in this folder.", show_default=False
        ),
    ] = None,
    modalities: Annotated[
        str | None, typer.Option(help="Modalities in channel order, e.g. t1,t1ce,t2,flair; default: the authors'.")
    ] = None,
    leading: Annotated[str | None, typer.Option(help="Leading modality; default: the authors'.")] = None,
    classes: Annotated[
        int | None, typer.Option(min=2, max=1_000, help="Classes, background included; default: the authors'.")
    ] = None,
    patch: Annotated[str | None, typer.Option(help="Patch size, e.g. 128x128; default: the authors'.")] = None,
    option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="An option of the model; may be repeated.")
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Accept entries that are missing, unknown or of another shape.")
    ] = False,
) -> None:
    """Read the authors' released weights safely, check every entry, and write them in the harness's format.

    A study can test them without training: `- {name: aahn, weights: aahn.safetensors}`.
    """
    from safetensors.torch import save_model

    from harness.files import atomic_path, check_writable
    from harness.segmenters import SEGMENTERS
    from harness.segmenters.contract import Task
    from harness.segmenters.isolation import Trials
    from harness.segmenters.released import import_weights, read_checkpoint

    segmenter = SEGMENTERS.get(model)
    translator = segmenter.load_translator()
    official = segmenter.official_task
    if official is None:
        raise HarnessError(f"'{model}' declares no official configuration.", hint="Ask its authors to add one.")
    names = tuple(modalities.split(",")) if modalities else official.modalities
    if leading is not None and leading not in names:
        raise HarnessError(f"'{leading}' is not among the modalities {', '.join(names)}.", hint="Correct --leading.")
    lead = names.index(leading) if leading is not None else (official.leading if names == official.modalities else 0)
    task = Task(names, lead, classes or official.out_channels, parse_size(patch) if patch else official.patch_size)
    options = {**segmenter.official_options, **parse_yaml(option or (), "--option", "width=32")}
    target = out or Path(f"{model}.safetensors")
    check_writable(target)

    def convert(segmenter: Segmenter) -> str:
        network = segmenter.build(task, options)
        report = import_weights(network, read_checkpoint(checkpoint), translator, strict=not partial)
        with atomic_path(target) as temporary:
            save_model(network, str(temporary))
        return str(report)

    report = Trials(SEGMENTERS.is_foreign, _PATIENCE).run(segmenter, convert)
    console = PlainConsole(highlight=False)
    console.print(report)
    console.print(f"Written: {target}. Test it in a study: - {{name: {model}, weights: {target.name}}}", soft_wrap=True)
