"""Training settings."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from harness.settings import CHANGES_NO_NUMBER, Added, Settings

DeterminismLevel = Literal["strict", "fast"]
CompileMode = Literal["none", "default", "cuda-graphs"]
StepMode = Literal["auto", "eager", "recorded"]
MemoryFormat = bool | Literal["auto"]

#: Epochs, steps and batches: more than any training has, and few enough to count.
_MANY = 1_000_000
_Beta = Annotated[float, Field(ge=0, lt=1)]


class OptimiserSettings(Settings):
    """Optimiser and its step."""

    name: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: float = Field(1e-3, gt=0, le=100, description="Initial learning rate.")
    momentum: float = Field(0.99, ge=0, lt=1, description="SGD only.")
    nesterov: bool = Field(True, description="SGD only.")
    betas: tuple[_Beta, _Beta] = Field((0.9, 0.999), description="Adam and AdamW only.")
    weight_decay: float = Field(3e-5, ge=0, le=10)
    clip_norm: float | None = Field(12, gt=0, le=1e12, description="Largest gradient norm; null for none.")


class ScheduleSettings(Settings):
    """Learning rate over training time t in [0, 1]."""

    name: Literal["poly", "cosine", "constant"] = Field("poly", description="poly: lr * (1 - t)^power.")
    power: float = Field(0.9, gt=0, le=100)
    warmup_epochs: int = Field(0, ge=0, le=_MANY, description="Linear warm-up.")
    per: Literal["epoch", "step"] = Field("epoch", description="When the rate changes (nnU-Net v1: each epoch).")


class LossSettings(Settings):
    """Cross-entropy plus soft Dice (nnU-Net: Dice without background, over the batch)."""

    cross_entropy: float = Field(1, ge=0, le=1e6, description="Weight.")
    dice: float = Field(1, ge=0, le=1e6, description="Weight.")
    batch_dice: bool = Field(True, description="Dice over the whole batch instead of an image.")
    dice_background: bool = Field(False, description="Count the background in Dice.")

    @model_validator(mode="after")
    def _something_is_minimised(self) -> Self:
        if self.cross_entropy == self.dice == 0:
            raise ValueError("'cross_entropy' and 'dice' cannot both be 0: nothing would be trained")
        return self


class CheckpointSettings(Settings):
    """Checkpoint settings, and the choice of the tested weights."""

    every_epochs: int = Field(1, ge=1, le=_MANY, description="A killed cell continues from the last one.")
    select: Literal["final", "best", "best_average"] = Field(
        "final",
        description="Weights that are tested: the last, those with the best validation Dice, or those at which its "
        "exponential average (0.9 old, 0.1 new) was best (nnU-Net v1's `model_best`). Test cases never enter.",
    )


class TrainingSettings(Settings):
    """One training run."""

    epochs: int = Field(300, ge=1, le=_MANY)
    steps_per_epoch: int = Field(250, ge=1, le=_MANY)
    optimiser: OptimiserSettings = OptimiserSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    loss: LossSettings = LossSettings()
    checkpoint: CheckpointSettings = CheckpointSettings()
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="'auto': mixed precision on CUDA (bf16 where the card has it, else fp16), fp32 elsewhere."
    )
    channels_last: MemoryFormat = Field(
        True,
        description="Memory format of images and weights: channels last, for faster convolutions, or contiguous. "
        "'auto': contiguous where the network is known to be slower with channels last in this number of dimensions.",
    )
    compile: CompileMode = Field(
        "none",
        description="'default': torch.compile of the training step; 'cuda-graphs': the same, and its kernels are "
        "recorded once and replayed as CUDA graphs (torch.compile's mode 'reduce-overhead').",
    )
    # A recording launches the kernels of the step as written, on the same values; a cell that goes on from a checkpoint
    # mixes both, so that `strict` means that they give equal bits. Therefore the cell is the same one.
    # It becomes 'auto' when `pytest -m cuda` has passed on a card: nobody gets an unproven recording unasked.
    step: Annotated[StepMode, CHANGES_NO_NUMBER, Added("0.3", was="eager")] = Field(
        "eager",
        description="'eager': as written; 'recorded': the whole step is recorded once as a CUDA graph and replayed; "
        "'auto': recorded on one GPU where the network allows it, else eager. No GPU has run a recorded step yet.",
    )
    determinism: DeterminismLevel = Field(
        "strict",
        description="'strict': equal seeds give bitwise equal results on the same hardware, and operators that cannot "
        "are refused; 'fast': any operator, and cuDNN picks its kernels by measuring them.",
    )
    validate_every: int = Field(
        10, ge=1, le=_MANY, description="Epochs between validations; the last epoch is always validated."
    )
    validate_on: Annotated[Literal["cases", "patches"], Added("0.3", was="cases")] = Field(
        "cases",
        description="'cases': mean Dice of whole validation cases and regions; 'patches': Dice of all foreground "
        "classes pooled over patches drawn from them (nnU-Net v1).",
    )
    validation_batches: Annotated[int, Added("0.3", was=50)] = Field(
        50, ge=1, le=_MANY, description="Batches of patches in a validation, with `validate_on: patches`."
    )
    restart_if_dead_at: int | None = Field(
        None,
        ge=1,
        le=_MANY,
        description="Where the validation finds no foreground voxel at all after this epoch: momentum 0.95, new "
        "weights (the released code).",
    )
    restart: Annotated[Literal["everything", "convolutions"], Added("0.3", was="everything")] = Field(
        "everything",
        description="What that renews: every weight and the optimiser, or only the kernels of convolutions, with the "
        "optimiser's momentum kept (the released code).",
    )
    refresh_batchnorm: int = Field(
        0,
        ge=0,
        le=_MANY,
        description="Training batches for estimating BatchNorm statistics again with the final weights. "
        "Short trainings need it: running averages lag behind the weights.",
    )

    def with_memory_format(self, contiguous: bool) -> Self:
        """Returns the settings with a memory format in place of ``auto``.

        Args:
            contiguous: Whether the network is slower with channels last in the dimensions of its patches.
        """
        return self.model_copy(update={"channels_last": not contiguous}) if self.channels_last == "auto" else self

    @model_validator(mode="after")
    def _recorded_once(self) -> Self:
        if self.step == "recorded" and self.compile == "cuda-graphs":
            raise ValueError("'step: recorded' and 'compile: cuda-graphs' both record; choose 'compile: default'")
        return self
