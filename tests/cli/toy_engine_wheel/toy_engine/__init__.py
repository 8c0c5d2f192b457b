"""Declares an engine; imports none."""

from pydantic import Field

from harness.execution.engines import EngineKind, EngineSettings

__all__ = ["TOY", "ToySettings"]


class ToySettings(EngineSettings):
    """Settings of the toy engine."""

    places: int = Field(1, ge=1, le=4, description="Cells that run at a time.")
    greeting: str = Field("hello", description="What it says when it opens.")


TOY = EngineKind(
    name="toy", summary="Places on this machine's CPU.", settings=ToySettings, factory="toy_engine.engine:open_engine"
)
