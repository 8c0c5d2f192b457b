"""Base class of everything a study file or a protocol can set."""

from pydantic import BaseModel, ConfigDict

__all__ = ["Settings"]


class Settings(BaseModel):
    """Immutable settings; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)
