"""Bounds: every number of every setting has them, and a study that oversteps one is refused by file, line and range."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from pydantic import BaseModel, ValidationError

from harness.bounds import Bounds, numbers
from harness.data import DATASETS
from harness.data.batches.augmentation import Augmenter
from harness.data.settings import AugmentationSettings, PreparationSettings
from harness.data.spacing import median_spacing, resolve_spacing
from harness.errors import DataError, StudyError
from harness.execution.engines import ENGINES
from harness.execution.engines.slurm_settings import SlurmResources
from harness.segmenters import SEGMENTERS, Options
from harness.settings import Settings
from harness.study.cell import CellSpec
from harness.study.expansion import load_study
from harness.study.json_schema import study_json_schema
from harness.study.protocol import Protocol, load_protocol, protocol_names
from harness.study.schema import Study


def ours(kind: type[BaseModel]) -> bool:
    return kind.__module__.split(".")[0] in {"harness", "aahn", "baselines"}


def every_class() -> list[type[Settings]]:
    """All classes of settings of ours, whoever refers to them: those below the base class, once they are imported."""
    for registry in (SEGMENTERS, ENGINES):
        for name in registry.names():
            registry.get(name)
    found, todo = [], [Settings]
    while todo:
        kind = todo.pop()
        found.append(kind)
        todo += kind.__subclasses__()
    return [kind for kind in found if ours(kind)]


def test_every_number_of_every_setting_has_a_lower_and_an_upper_bound():
    classes = every_class()
    assert {Protocol, Study, SlurmResources, Options} <= set(classes)
    unbounded = [
        f"{kind.__name__}.{'.'.join(map(str, path))}"
        for kind in classes
        for path, bounds in numbers(kind)
        if bounds.low is None or bounds.high is None or not math.isfinite(bounds.low + bounds.high)
    ]
    assert not unbounded, "give each of these a lower and an upper bound, by Field(ge=, le=)"


def test_the_walk_finds_numbers_wherever_they_stand():
    found = dict(numbers(Protocol))
    assert len(found) > 50
    assert found["augmentation", "scale", 1] == Bounds(0.1, 10)
    assert found["preparation", "spacing", 2] == Bounds(0.001, 1000)
    assert found["training", "optimiser", "betas", 0] == Bounds(0, 1, high_open=True)
    assert found["patch_size", "*"] == Bounds(1, 4096)
    assert found["sampling", "modality_dropout", "p"] == Bounds(0, 1, low_open=True, high_open=True)


def put(values: dict, path: tuple, value: object) -> dict:
    """Returns values with one of them replaced; a pair gets the value at both ends."""
    *above, last = path
    if isinstance(last, int):
        spread = [value] * 3 if path[:-1] == ("preparation", "spacing") else [value, value]
        return put(values, tuple(above), spread)
    if last == "*":
        return put(values, tuple(above), [value, value])
    for key in above:
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            return values
    values[last] = value
    return values


@pytest.mark.parametrize("path", [path for path, _ in numbers(Protocol)], ids=lambda path: ".".join(map(str, path)))
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1e300, 10**400, True])
def test_no_number_of_a_protocol_is_infinite_nan_endless_or_a_truth_value(path, value):
    values = {"name": "fuzz"}
    put(values, path, value)
    with pytest.raises(ValidationError):
        Protocol.model_validate(values)


@pytest.mark.parametrize("name", protocol_names())
def test_every_shipped_protocol_is_within_the_bounds(name):
    assert load_protocol(name)


STUDY = """\
name: micro
protocol:
  base: demo
  {group}:
    {key}: {value}
matrix:
  dataset: [cortex]
  model: [toy]
"""

#: Key, value, and what the refusal says is allowed.
REFUSED = [
    ("inference.mirror_axes", [-1], "0 to 2"),
    ("inference.mirror_axes", [2], "axes 0 to 1"),
    ("inference.mirror_axes", [0, 0], "repeated"),
    ("augmentation.mirror_axes", [-3], "0 to 2"),
    ("augmentation.mirror_axes", [7], "0 to 2"),
    ("augmentation.mirror_axes", [1, 1], "repeated"),
    ("augmentation.scale", [0, 0], "0.1 to 10"),
    ("augmentation.scale", [-2, -1], "0.1 to 10"),
    ("augmentation.scale", [1.4, 0.7], "must not be above"),
    ("augmentation.gamma", [0, 0], "0.1 to 10"),
    ("augmentation.brightness", [0, 0], "above 0, at most 100"),
    ("augmentation.contrast", [0.5, ".inf"], "above 0, at most 100"),
    ("augmentation.noise_variance", [-1, 0], "0 to 100"),
    ("augmentation.blur_sigma", [0, 1], "0.01 to 100"),
    ("augmentation.low_resolution", [0.5, 2], "0.01 to 1"),
    ("preparation.spacing", [1e9, 1e9, 1e9], "0.001 to 1000"),
    ("preparation.spacing", [1, 1, 1e-9], "0.001 to 1000"),
    ("training.schedule", {"power": ".inf"}, "above 0, at most 100"),
    ("training.optimiser", {"lr": ".inf"}, "above 0, at most 100"),
    ("training.optimiser", {"betas": [0.9, 1]}, "at least 0, below 1"),
    ("training.loss", {"cross_entropy": 0, "dice": 0}, "cannot both be 0"),
    ("sampling.batch_size", 100_000_000_000, "1 to 65536"),
    ("inference.batch_size", 0, "1 to 65536"),
    ("training.epochs", True, "not a number"),
]


@pytest.mark.parametrize(("key", "value", "allowed"), REFUSED, ids=[f"{key}={value}" for key, value, _ in REFUSED])
def test_what_cannot_be_is_refused_with_its_line_and_the_allowed_range(project, toys, key, value, allowed):
    group, name = key.split(".")
    text = STUDY.format(group=group, key=name, value=yaml.safe_dump(value, default_flow_style=True).partition("\n")[0])
    (project / "study.yaml").write_text(text.replace("'.inf'", ".inf"))
    with pytest.raises(StudyError) as error:
        load_study(project / "study.yaml")
    assert error.value.message.startswith("study.yaml:5: ")
    assert key in error.value.message
    assert allowed in str(error.value)


def test_a_value_that_a_protocols_own_file_gives_is_refused_with_that_files_line(project, toys):
    (project / "protocols").mkdir()
    (project / "protocols/mine.yaml").write_text("base: demo\naugmentation:\n  gamma: [2, 1]\n")
    (project / "study.yaml").write_text("name: a\nprotocol: {base: mine, patch_size: [64, 64]}\nmatrix: {}\n")
    with pytest.raises(StudyError, match="matrix"):
        load_study(project / "study.yaml")
    text = "name: a\nprotocol: {base: mine, patch_size: [64, 64]}\nmatrix: {dataset: cortex, model: toy}\n"
    (project / "study.yaml").write_text(text)
    with pytest.raises(StudyError, match=r"study\.yaml:2: mine\.yaml:3: 'augmentation\.gamma'"):
        load_study(project / "study.yaml")


def test_the_json_schema_shows_the_bounds_of_a_protocol():
    schema = study_json_schema()
    assert {"$ref": "#/$defs/Protocol"} in schema["properties"]["protocol"]["anyOf"]
    lr = schema["$defs"]["OptimiserSettings"]["properties"]["lr"]
    assert (lr["exclusiveMinimum"], lr["maximum"]) == (0, 100)
    scale = schema["$defs"]["AugmentationSettings"]["properties"]["scale"]["prefixItems"]
    assert [(one["minimum"], one["maximum"]) for one in scale] == [(0.1, 10), (0.1, 10)]
    assert "NaN" not in json.dumps(schema)


@pytest.mark.parametrize("written", ["leading: all", "leading: [all]"])
def test_one_name_stands_for_a_list_of_it(project, toys, written):
    text = f"name: a\nprotocol: demo\nmatrix: {{dataset: cortex, model: toy_leading, {written}, seed: 3, fold: 1}}\n"
    (project / "study.yaml").write_text(text)
    specs = [cell.spec for cell in load_study(project / "study.yaml").cells]
    assert [(one.leading, one.seed, one.fold) for one in specs] == [("t1", 3, 1), ("epi", 3, 1)]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ("seed: [true]", "not a number"),
        ("seed: [0, 5000000000]", "below 4.29497e+09"),
        ("fold: [99999]", "0 to 10000"),
        ("leading: []", "at least 1"),
        ("protocol: {' ': {}}", "blank"),
    ],
)
def test_axes_are_refused_as_protocols_are(project, toys, changed, said):
    text = f"name: a\nprotocol: demo\nmatrix:\n  dataset: cortex\n  model: toy\n  {changed}\n"
    (project / "study.yaml").write_text(text)
    with pytest.raises(StudyError, match=r"study\.yaml:6") as error:
        load_study(project / "study.yaml")
    assert said in str(error.value)


@pytest.mark.parametrize("label", ["' '", "''", '"a\\e[31m"', '"two\\nlines"'])
def test_a_label_can_be_shown(project, toys, label):
    text = f"name: a\nprotocol: demo\nmatrix:\n  dataset: cortex\n  model: [{{name: toy, label: {label}}}]\n"
    (project / "study.yaml").write_text(text)
    with pytest.raises(StudyError, match=r"study\.yaml:5: .*label") as error:
        load_study(project / "study.yaml")
    assert "\x1b" not in str(error.value)


@pytest.mark.parametrize(
    ("sweep", "seeds"),
    [({"width": list(range(1, 200)), "switch": ["a"] * 200}, 1), ({"width": list(range(1, 300))}, 400)],
)
def test_a_study_without_end_is_refused_before_it_is_written_out(project, toys, sweep, seeds):
    values = {
        "name": "a",
        "protocol": "demo",
        "matrix": {"dataset": "cortex", "model": [{"name": "toy", "sweep": sweep}], "seed": list(range(seeds))},
    }
    Path("study.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(StudyError, match="combinations; at most"):
        load_study(Path("study.yaml").resolve())


def test_a_stored_cell_that_today_is_refused_says_why(project, toys, write_study):
    stored = load_study(write_study()).cells[0].spec.to_json()
    stored["protocol"]["inference"]["mirror_axes"] = [-1]
    with pytest.raises(ValueError, match=r"this version refuses 'inference\.mirror_axes\.0'"):
        CellSpec.from_json(stored)


def test_a_median_voxel_size_that_cannot_be_is_refused():
    reader = SimpleNamespace(
        fingerprint=lambda: "here", cases=lambda: ["a"], affine=lambda case: np.diag([1, 1, 1e-6, 1])
    )
    settings = PreparationSettings(spacing=(None, 1, "median"))
    with pytest.raises(DataError, match="The median voxel size of cortex"):
        resolve_spacing(settings, DATASETS.get("cortex"), lambda: median_spacing(DATASETS.get("cortex"), reader))


@pytest.mark.parametrize("interval", [(0.2, 0.4), (0.5, 1.0), (0.8, 1.2), (1.5, 2.0), (0.7, 0.7), (1.0, 1.0)])
def test_multipliers_are_drawn_within_their_interval(interval):
    augment = Augmenter(AugmentationSettings(brightness=interval, p_brightness=1), (4, 4))
    images, label = np.ones((1, 4, 4), np.float32), np.zeros((4, 4), np.uint8)
    drawn = [float(augment(images.copy(), label, seed)[0].mean()) for seed in range(60)]
    assert interval[0] - 1e-6 <= min(drawn) <= max(drawn) <= interval[1] + 1e-6
    assert max(drawn) - min(drawn) >= (interval[1] - interval[0]) / 2


OPTIONS = [(kind, path) for kind in every_class() if issubclass(kind, Options) for path, _ in numbers(kind)]


@pytest.mark.parametrize(("kind", "path"), OPTIONS, ids=lambda one: getattr(one, "__name__", str(one)))
@pytest.mark.parametrize("value", [math.nan, math.inf, -1, 10**9])
def test_no_option_of_our_networks_is_infinite_or_endless(kind, path, value):
    field = kind.model_fields[path[0]]
    given = value if len(path) == 1 else [value] * max(len(field.default or ()), 3)
    with pytest.raises(ValidationError):
        kind.model_validate({path[0]: given})
