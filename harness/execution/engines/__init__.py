"""Where attempts run: this machine, Ray, Slurm, or an engine from another package."""

from harness.execution.engines.kind import EngineContext, EngineKind, EngineSettings
from harness.registry import Registry

__all__ = ["ENGINES", "EngineContext", "EngineKind", "EngineSettings"]

ENGINES: Registry[EngineKind] = Registry("harness.engines", EngineKind, "engine")
