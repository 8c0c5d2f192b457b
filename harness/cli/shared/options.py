"""Arguments and options that several verbs share."""

from pathlib import Path
from typing import Annotated

import typer

from harness.shipped import find_study_file

StudyFile = Annotated[
    Path,
    typer.Argument(
        help="Study: its file (YAML) or the name of one, in studies/ or shipped.",
        show_default=False,
        callback=lambda context, value: value if context.resilient_parsing else find_study_file(value),
    ),
]
StudyName = Annotated[
    str | None, typer.Argument(help="Name of a study; default: the study run last.", show_default=False)
]
ProfileOption = Annotated[
    list[str] | None,
    typer.Option(
        "--profile",
        "-p",
        help="Profile of the study, e.g. demo. May be repeated: later ones change what earlier ones say.",
        show_default=False,
    ),
]
ResultsOption = Annotated[Path, typer.Option("--results", help="Results folder.", envvar="HARNESS_RESULTS")]
MarginOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1e6,
        help="Loss against all modalities that does not matter, in the unit of the first metric, e.g. 0.02 for Dice: "
        "says which sets of modalities are shown to lose less.",
        show_default=False,
    ),
]
AlphaOption = Annotated[
    float,
    typer.Option(
        min=0, max=0.5, help="With --margin: share of studies that may claim it of a set that loses the margin or more."
    ),
]
CostsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="With --margin: YAML file with the cost of each modality, lines like `t1c: {minutes: 5, contrast: true}`; "
        "names the cheapest such set.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
CacheOption = Annotated[Path, typer.Option("--cache", help="Folder of prepared data.", envvar="HARNESS_CACHE")]


def study_arguments(name: str, profile: str, results: Path) -> str:
    """Returns the arguments by which other verbs find a study, e.g. 'micro --profile demo --profile one_seed'."""
    from harness.study.profiles import split_profiles

    chosen = "" if profile == "default" else "".join(f" --profile {name}" for name in split_profiles(profile))
    return name + chosen + ("" if results == Path("results") else f" --results {results}")
