"""Modules under their names of release 0.2.0, for what was written with them and outlives an upgrade.

These are jobs that wait in a queue of Slurm, whose pickles name modules, and packages of others that read files with
our readers or whose entry points name a dataset's folder. The new module itself is imported; nothing stands twice.
"""

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

#: Old name to new name; what lies inside a package moves with it.
MOVED = {
    "harness.execution.engine": "harness.execution.workers.attempt",
    "harness.execution.process": "harness.execution.workers.process",
    "harness.execution.slurm_engine": "harness.execution.engines.slurm",
    "harness.data.nifti": "harness.data.reading.nifti",
    "harness.data.grid": "harness.data.reading.grids",
    "harness.data.folder": "harness.data.reading.files",
    "harness.data.normalisation": "harness.data.preparation.normalisation",
    "harness.data.generated": "harness.data.synthetic.generated",
    "harness.data.phantoms": "harness.data.synthetic.phantoms",
    **{
        f"harness.data.{name}": f"harness.data.datasets.{name}"
        for name in ("brats", "brats2019", "brats2023", "brats2024", "chaos", "cortex", "hecktor21", "prostate158")
    },
    "harness.data.layouts": "harness.data.datasets.layouts",
}


class _OldNames(MetaPathFinder, Loader):
    """Finds modules under old names; asked first, since a package found by its old name would find its parts again."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        return ModuleSpec(fullname, self) if _new_name(fullname) else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(_new_name(spec.name))
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Gives the module its own name back: it has run under that name already."""
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state


def _new_name(name: str) -> str:
    """Returns what a module is called now; empty where it has not moved."""
    parts = name.split(".")
    if parts[0] != "harness":
        return ""
    for length in range(len(parts), 2, -1):
        if (new := MOVED.get(".".join(parts[:length]))) is not None:
            return ".".join([new, *parts[length:]])
    return ""


def install() -> None:
    """Makes the old names importable."""
    if not any(isinstance(finder, _OldNames) for finder in sys.meta_path):
        sys.meta_path.insert(0, _OldNames())
