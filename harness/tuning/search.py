"""The search for one network on one dataset: an Optuna study and the cells its trials train."""

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from harness.errors import HarnessError, StudyError
from harness.randomness import derive
from harness.redaction import without_secrets
from harness.segmenters import SEGMENTERS
from harness.study.cell import CellSpec
from harness.study.expansion import LoadedStudy
from harness.study.protocol import is_native
from harness.study.tuning import TuningSettings
from harness.tuning.space import check_space, default_point, draw, overrides, trial_protocol

#: Attribute of a trial that takes the place of one whose process was killed: the number of that one.
_INSTEAD_OF = "instead_of"
_OVER = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


@dataclass(frozen=True)
class Search:
    """A network on a dataset, and the trials so far.

    Attributes:
        spec: The cell that trials are variations of: the study's first fold, seed, leading modality and variant.
        settings: Settings of the search.
        optuna: Trials, in their database.
    """

    spec: CellSpec
    settings: TuningSettings
    optuna: optuna.Study

    @property
    def title(self) -> str:
        """Model and dataset."""
        return f"{self.spec.model} on {self.spec.dataset}"

    def trials(self) -> list[FrozenTrial]:
        """Returns the trials that count: not those that another trial repeats."""
        found = self.optuna.get_trials(deepcopy=False)
        replaced = {trial.user_attrs.get(_INSTEAD_OF) for trial in found}
        return [trial for trial in found if trial.number not in replaced]

    def over(self) -> int:
        """Returns the number of trials that ended."""
        return sum(trial.state in _OVER for trial in self.trials())

    def begun(self) -> int:
        """Returns the number of trials that ended or are running."""
        return sum(trial.state != TrialState.WAITING for trial in self.trials())

    def resume_trials(self) -> int:
        """Starts trials again that an interrupted run left unfinished; returns their number.

        No other process may work on the search.
        """
        stale = [trial for trial in self.trials() if trial.state == TrialState.RUNNING]
        for trial in stale:
            # In this order: a process that is killed in between leaves a trial that is found again, not a lost one.
            self.optuna.enqueue_trial(trial.params, user_attrs={_INSTEAD_OF: trial.number})
        for trial in self.optuna.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self.optuna.tell(trial.number, state=TrialState.FAIL)
        first = default_point(self.spec.protocol, self.settings.space)
        if first and not self.optuna.get_trials(deepcopy=False):
            self.optuna.enqueue_trial(first)
        return len(stale)

    def ask(self) -> tuple[optuna.Trial, CellSpec]:
        """Returns the next trial and what it trains."""
        trial = self.optuna.ask()
        protocol = trial_protocol(self.spec.protocol, self.settings, draw(trial, self.settings.space))
        spec = replace(self.spec, protocol=protocol)
        trial.set_user_attr("cell", spec.id)
        return trial, spec

    def counted(self) -> list[FrozenTrial]:
        """Returns the trials to choose from: the same number for every network."""
        return [trial for trial in self.trials() if trial.state in _OVER][: self.settings.trials]

    def best(self) -> FrozenTrial:
        """Returns the trial with the highest validation Dice, the earlier one of equals.

        Raises:
            HarnessError: No trial was trained to its end.
        """
        ended = [trial for trial in self.counted() if trial.state == TrialState.COMPLETE]
        if not ended:
            raise HarnessError(
                f"No trial of {self.title} was completed, so there is no best trial.",
                hint="Their logs are under results/tuning/STUDY/PROFILE/cells/CELL/work/log.txt.",
            )
        return max(ended, key=lambda trial: trial.value or 0.0)

    def found(self) -> dict[str, Any]:
        """Returns what the best trial changes in the protocol."""
        return overrides(self.spec.protocol, self.settings.space, self.best().params)

    def count(self) -> dict[str, int]:
        """Returns the numbers of trials that were completed, pruned, and failed."""
        states = [trial.state for trial in self.counted()]
        return {state.name.lower(): states.count(state) for state in _OVER}


def open_searches(loaded: LoadedStudy, storage: str) -> list[Search]:
    """Returns the search for every network on every dataset of a study, new or with its earlier trials.

    Args:
        loaded: The study.
        storage: URL of the database.

    Raises:
        StudyError: A network cannot be tuned, or the space does not fit the protocol.
        HarnessError: The database cannot be opened.
    """
    settings = loaded.study.tuning
    if loaded.study.matrix.protocol:
        raise StudyError(
            "The study trains every network in several ways (`matrix.protocol`); a search tunes one.",
            hint="Tune from a study without it.",
        )
    if is_native(loaded.study.protocol):
        raise StudyError(
            "Under the protocol 'native' every network has its authors' own recipe; there is nothing to tune.",
            hint="Tune from a common protocol, e.g. `protocol: paper`.",
        )
    chosen: dict[tuple[str, str], CellSpec] = {}
    for cell in loaded.cells:
        chosen.setdefault((cell.spec.model, cell.spec.dataset), cell.spec)
    for spec in chosen.values():
        _check(spec, settings)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        database = optuna.storages.RDBStorage(storage)
        return [Search(spec, settings, _study(loaded, spec, database)) for spec in chosen.values()]
    except Exception as error:  # whatever driver the URL names raises errors of its own
        raise HarnessError(
            f"The database of trials cannot be opened: {without_secrets(error)}",
            hint="Correct --storage, e.g. sqlite:///trials.db or postgresql://HOST/DATABASE.",
        ) from error


def _check(spec: CellSpec, settings: TuningSettings) -> None:
    if SEGMENTERS.get(spec.model).runner:
        raise StudyError(f"{spec.model} trains by a framework of its own and cannot be tuned.", hint="Leave it out.")
    if spec.weights:
        raise StudyError(f"{spec.model} is tested with imported weights and cannot be tuned.", hint="Leave it out.")
    check_space(spec.protocol, settings)


def _study(loaded: LoadedStudy, spec: CellSpec, database: optuna.storages.RDBStorage) -> optuna.Study:
    settings = loaded.study.tuning
    # Trials of another space, budget, network or other data are another search; more trials continue this one.
    what = [spec.identity(), {key: value for key, value in settings.identity().items() if key != "trials"}]
    mark = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:8]
    name = f"{loaded.study.name}/{loaded.profile}/{spec.model}/{spec.dataset}/{mark}"
    study = optuna.create_study(
        storage=database, study_name=name, direction="maximize", load_if_exists=True, pruner=_pruner(settings)
    )
    # A sampler with the same seed would repeat its draws, so the seed depends on the number of trials so far.
    seed = derive(settings.seed, "tuning", len(study.get_trials(deepcopy=False))) % 2**32
    study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=max(4, settings.trials // 3))
    return study


def _pruner(settings: TuningSettings) -> optuna.pruners.BasePruner:
    if settings.pruner == "median":
        few = min(5, max(2, settings.trials // 4))
        return optuna.pruners.MedianPruner(n_startup_trials=few, n_warmup_steps=settings.warmup_epochs)
    if settings.pruner == "halving":
        return optuna.pruners.SuccessiveHalvingPruner()
    return optuna.pruners.NopPruner()
