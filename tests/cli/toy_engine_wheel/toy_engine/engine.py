"""The engine: places on the CPU of this machine."""

from __future__ import annotations

from harness.execution.engines import EngineContext
from harness.execution.engines.local import FixedPlaces, LocalEngine, plan_slots
from toy_engine import ToySettings

__all__ = ["open_engine"]


def open_engine(settings: ToySettings, context: EngineContext) -> LocalEngine:
    """Returns the engine."""
    context.say(f"{settings.greeting} {context.name}")
    return LocalEngine(FixedPlaces(plan_slots([], settings.places, 1)))
