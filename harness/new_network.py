"""What ``harness new-network`` writes: a package with a contract, a network, its conformance test and a study."""

import keyword
import re
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from string import Template

from harness.errors import HarnessError, did_you_mean

_PROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "$name"
version = "1.0"
dependencies = ["aahn-harness"]

# How the harness finds the network.
[project.entry-points."harness.segmenters"]
$name = "$name:SEGMENTER"

[tool.setuptools.packages.find]
where = ["src"]
"""

_CONTRACT = '''\
"""$title: facts and options. Imports no torch, so that studies are checked quickly."""

from pydantic import Field

from harness.segmenters import Options, Segmenter, Source


class ${class_name}Options(Options):
    """What a study may change."""

    width: int = Field(32, ge=4, description="Channels of the first level; each deeper one doubles them.")


SEGMENTER = Segmenter(
    name="$name",
    title="$title",
    summary="A U-Net of three levels.",
    source=Source(paper="None yet"),
    factory="$name.network:build",
    options=${class_name}Options,
    presets={"paper": {}, "tiny": {"width": 8}},
    spatial_dims=frozenset({2, 3}),
    notes=("What a reader of a table should know.",),
    revision=1,  # raise it when the network computes something else: old results are then not mixed with new ones
)
'''

_NETWORK = '''\
"""$title's network: change it, then run the tests of this package."""

import torch
from torch import nn
from torch.nn import functional

from harness.segmenters import Task
from $name import ${class_name}Options


def build(task: Task, options: ${class_name}Options) -> nn.Module:
    """Builds the network for whatever modalities, classes and dimensions a task has."""
    return $class_name(task.spatial_dims, task.in_channels, task.out_channels, options.width)


class $class_name(nn.Module):
    """A U-Net of three levels: (B, M, *spatial) to logits (B, K, *spatial); no softmax inside."""

    def __init__(self, spatial_dims: int, modalities: int, classes: int, width: int) -> None:
        super().__init__()
        self.pool = functional.max_pool2d if spatial_dims == 2 else functional.max_pool3d
        widths = [width, 2 * width, 4 * width]
        self.down = nn.ModuleList(
            convolutions(spatial_dims, before, after)
            for before, after in zip([modalities, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList(
            convolutions(spatial_dims, coarse + fine, fine)
            for coarse, fine in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.head = (nn.Conv2d if spatial_dims == 2 else nn.Conv3d)(width, classes, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Returns logits."""
        features, skips = images, []
        for level, block in enumerate(self.down):
            features = block(self.pool(features, 2) if level else features)
            skips.append(features)
        for block, skip in zip(self.up, skips[-2::-1], strict=True):
            features = functional.interpolate(features, skip.shape[2:], mode="nearest")
            features = block(torch.cat([features, skip], dim=1))
        return self.head(features)


def convolutions(spatial_dims: int, channels_in: int, channels_out: int) -> nn.Module:
    """Returns two convolutions, each with a norm and a ReLU."""
    conv, norm = (nn.Conv2d, nn.InstanceNorm2d) if spatial_dims == 2 else (nn.Conv3d, nn.InstanceNorm3d)
    layers: list[nn.Module] = []
    for channels in (channels_in, channels_out):
        layers += [conv(channels, channels_out, 3, padding=1, bias=False), norm(channels_out, affine=True), nn.ReLU()]
    return nn.Sequential(*layers)
'''

_TEST = '''\
"""The network keeps the contract of the harness: every check, on every case that it is worth running on."""

import pytest

from harness.segmenters import conformance
from $name import SEGMENTER


@pytest.mark.parametrize(("check", "case"), conformance.plan(SEGMENTER), ids=str)
def test_conformance(check, case):
    check(SEGMENTER, case.task, case.options)
'''

_STUDY = """\
name: compare_$name
question: Is $title better than the baselines, under one protocol?
protocol: paper
matrix:
  dataset: [cortex]  # or hecktor21, brats2023, ..., or your own: {nnunet_raw: PATH}
  model: [$name, nnunet, swinunet, transunet, unetr]
  seed: [0, 1, 2]
report: {reference: $title, metrics: [dice, hd95]}

profiles:
  # Two CPU cores, a minute or two, small networks: shows that it runs, not which is better.
  demo:
    protocol: {base: demo, training: {epochs: 3}}
    options:
      $name: {preset: tiny}
      nnunet: {preset: tiny}
      unetr: {preset: tiny}
    matrix: {model: [$name, nnunet, unetr], seed: [0]}
"""


def write_network(name: str, folder: Path, title: str = "") -> list[Path]:
    """Writes a package that adds a network.

    Args:
        name: Name of the network and of its Python package.
        folder: Where; must be absent or empty.
        title: Name in tables; default: the name, first letter capital.

    Returns:
        The files that were written.

    Raises:
        HarnessError: The name cannot be a package's, or is taken; the title is not plain; the folder holds something or
            cannot be written.
    """
    _check_name(name)
    title = title or name.capitalize()
    if not re.fullmatch(r"[\w][\w .+-]*", title):
        raise HarnessError(
            f"The title {title!r} cannot be written into the files.", hint="Use letters, digits, blanks and . + - _"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise HarnessError(f"{folder} exists and is not empty.", hint="Name another folder: --folder.")
    values = {"name": name, "title": title, "class_name": _class_name(name)}
    files = {
        "pyproject.toml": _PROJECT,
        f"src/{name}/__init__.py": _CONTRACT,
        f"src/{name}/network.py": _NETWORK,
        "tests/test_conformance.py": _TEST,
        f"studies/compare_{name}.yaml": _STUDY,
    }
    written = []
    for place, text in files.items():
        path = folder / place
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(Template(text).substitute(values), encoding="utf-8")
        except OSError as error:
            raise HarnessError(f"{path} cannot be written: {error.strerror}.", hint="Name another folder.") from error
        written.append(path)
    return written


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        near = re.sub(r"[^a-z0-9_]+", "_", name.lower()).strip("_")
        raise HarnessError(
            f"'{name}' cannot be the name of a Python package.",
            hint=did_you_mean(name, [near]) if near and near != name else "Use lower-case letters, digits and _.",
        )
    if name in {point.name for point in entry_points(group="harness.segmenters")}:
        raise HarnessError(f"A network '{name}' is registered already.", hint="Choose another name.")
    if find_spec(name) is not None:
        raise HarnessError(
            f"A Python package '{name}' is installed already; one of them would hide the other.",
            hint="Choose another name.",
        )


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))
