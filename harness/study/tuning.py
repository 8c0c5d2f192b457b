"""What ``harness tune`` searches, and how: the section ``tuning`` of a study. It is part of no cell's identity."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from harness.settings import Settings

#: Values of any key of a protocol; the protocol has the bounds of each.
_Value = Annotated[float, Field(ge=-1e12, le=1e12)]
Bounds = tuple[_Value, _Value]


class Range(Settings):
    """Values a key of the protocol may take; one of ``between``, ``factor`` and ``choices``."""

    between: Bounds | None = Field(None, description="Smallest and largest value.")
    factor: Bounds | None = Field(None, description="Smallest and largest factor on the protocol's own value.")
    choices: Annotated[list[Any], Field(min_length=2)] | None = Field(None, description="The values themselves.")
    log: bool = Field(False, description="Draw the logarithm uniformly.")
    most: _Value | None = Field(None, description="Largest value after a factor, e.g. 1 for probabilities.")

    @model_validator(mode="after")
    def _is_one_kind(self) -> Range:
        given = [kind for kind in (self.between, self.factor, self.choices) if kind is not None]
        if len(given) != 1:
            raise ValueError("give one of 'between', 'factor' and 'choices'")
        bounds = self.between or self.factor
        if bounds is not None and not bounds[0] < bounds[1]:
            raise ValueError("the first bound must be below the second")
        if self.log and (bounds is None or bounds[0] <= 0):
            raise ValueError("'log' needs bounds above 0")
        if self.most is not None and self.factor is None:
            raise ValueError("'most' belongs to 'factor'")
        return self


def _default_space() -> dict[str, Range]:
    return {
        "training.optimiser.lr": Range(factor=(0.1, 10), log=True),
        "training.optimiser.weight_decay": Range(between=(1e-6, 1e-2), log=True),
        "sampling.foreground": Range(between=(0.1, 0.9)),
        "augmentation.p_*": Range(factor=(0, 2), most=1),
    }


class TuningSettings(Settings):
    """The search for a protocol of each network on each dataset: the same for all of them."""

    trials: int = Field(
        20, ge=1, le=100_000, description="Trainings for each network on each dataset; the first is the protocol."
    )
    epochs: int | None = Field(None, ge=1, le=1_000_000, description="Epochs of a trial; default: the protocol's.")
    validate_every: int | None = Field(
        None, ge=1, le=1_000_000, description="Epochs between validations of a trial; default: a tenth of its epochs."
    )
    pruner: Literal["median", "halving", "none"] = Field(
        "median", description="Which trials end early: worse than the median so far, successive halving, or none."
    )
    warmup_epochs: int = Field(0, ge=0, le=1_000_000, description="Epochs before a trial may end early (median).")
    seed: int = Field(0, ge=0, lt=2**32, description="Of the search.")
    space: Annotated[dict[str, Range], Field(min_length=1)] = Field(
        default_factory=_default_space,
        description="Key of the protocol, e.g. training.optimiser.lr, to its range; * stands for any name. Default: "
        "learning rate, weight decay, share of foreground, and the probabilities of augmentation.",
    )
