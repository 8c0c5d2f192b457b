"""Sizes of networks that are counted once and kept for all later runs."""

import hashlib
import json
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.files import read_json, write_json
from harness.segmenters import SEGMENTERS
from harness.segmenters.contract import Options, Segmenter, Task
from harness.segmenters.size import Size, measure
from harness.user_folder import user_folder

#: Packages whose layers networks are made of, beside torch, which counts.
_PACKAGES = ("torch", "monai", "timm", "segmentation-models-pytorch", "nnunetv2", "dynamic-network-architectures")


def size_of(segmenter: Segmenter, task: Task, options: Options) -> Size:
    """Returns a network's parameters and compute: kept from an earlier time, else counted now, and kept.

    Kept are those of networks that ship with the harness, by all they depend on: revision, options, task, the network's
    code and the versions of packages. Networks of others are counted each time, which also tries whether they work.

    Raises:
        StudyError: The network cannot be built for the task or does not run; the message says why.
    """
    path = None if SEGMENTERS.is_foreign(segmenter.name) else _place(segmenter, task, options)
    if path is None:
        return measure(segmenter, task, options)
    with suppress(OSError, ValueError, TypeError, KeyError, HarnessError):
        kept = read_json(path)
        return Size(int(kept["parameters"]), float(kept["gflops"]))
    size = measure(segmenter, task, options)
    with suppress(OSError):
        write_json(path, {"network": segmenter.name, "parameters": size.parameters, "gflops": size.gflops})
    return size


def _place(segmenter: Segmenter, task: Task, options: Options) -> Path | None:
    """Returns the file of a size; None where none can be kept."""
    code = _hash_of_code(segmenter.factory.partition(":")[0].partition(".")[0])
    if not code:
        return None
    facts: list[Any] = [segmenter.name, segmenter.revision, options.model_dump(mode="json"), len(task.modalities)]
    facts += [task.leading, task.out_channels, task.patch_size, code, _versions()]
    with suppress(OSError):
        return user_folder("sizes") / f"{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]}.json"
    return None


@cache
def _hash_of_code(package: str) -> str:
    """Returns a hash of all modules of a top-level package, and of what counts; empty where they are no files."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return ""
    root = Path(spec.origin).parent
    counted = hashlib.sha256(Path(__file__).with_name("size.py").read_bytes())
    for path in sorted(root.rglob("*.py")):
        counted.update(f"{path.relative_to(root)}\n".encode() + path.read_bytes())
    return counted.hexdigest()


@cache
def _versions() -> tuple[str, ...]:
    return tuple(map(_version, _PACKAGES))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
