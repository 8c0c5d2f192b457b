"""Result files of a search: a protocol with its provenance, tables and figures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.trial import TrialState

from harness.errors import HarnessError
from harness.files import atomic_path, naming
from harness.results.provenance import code_version, utc_now
from harness.study.document import read_document
from harness.study.expansion import LoadedStudy
from harness.tuning.search import Search

_HEADER = (
    "# Written by `harness tune`. `per_model` holds what the best trial on the validation cases changed, for each\n"
    "# network on each dataset; `tuning` says how it was found. A study uses it by `protocol: {name}`.\n"
)


def protocol_name(loaded: LoadedStudy) -> str:
    """Returns the name of the tuned protocol."""
    return f"tuned_{loaded.study.name}" + (f"_{loaded.profile}" if loaded.profile != "default" else "")


def check_target(path: Path) -> None:
    """Refuses to overwrite a protocol that was written by hand.

    Raises:
        HarnessError: The file was not written by ``harness tune``.
    """
    if path.is_file() and "tuning" not in read_document(path).values:
        raise HarnessError(
            f"{path} was not written by `harness tune`, so it is not overwritten.", hint="Move it, or rename the study."
        )


def write_protocol(path: Path, loaded: LoadedStudy, searches: Sequence[Search]) -> None:
    """Writes the protocol that studies can name.

    Args:
        path: ``protocols/NAME.yaml`` beside the study.
        loaded: The study.
        searches: The searches, each with all its trials.

    Raises:
        HarnessError: No trial of a search was completed.
    """
    settings, request = loaded.study.tuning, loaded.study.protocol
    base: Mapping[str, Any] = {"base": request} if isinstance(request, str) else request
    per_model: dict[str, dict[str, Any]] = {}
    evidence: dict[str, dict[str, Any]] = {}
    for search in searches:
        model, dataset = search.spec.model, search.spec.dataset
        per_model.setdefault(model, {})[dataset] = search.found()
        evidence.setdefault(model, {})[dataset] = {"val_dice": round(search.best().value or 0.0, 4), **search.count()}
    epochs = settings.epochs or loaded.protocol.training.epochs
    first = searches[0].spec
    values = {
        **{key: value for key, value in base.items() if key not in {"name", "description", "source"}},
        "description": f"{loaded.protocol.name}, tuned for each network on each dataset: {settings.trials} trials of "
        f"at most {epochs} epochs each, chosen on the validation cases.",
        "source": f"harness tune, study {loaded.study.name}, profile {loaded.profile}",
        "tuning": {
            "trials": settings.trials,
            "epochs": epochs,
            "settings": settings.model_dump(mode="json", exclude_none=True),
            "fold": first.fold,
            "seed": first.seed,
            "written": utc_now(),
            "commit": code_version(),
            "optuna": optuna.__version__,
            "found": evidence,
        },
        "per_model": per_model,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    text = _HEADER.replace("{name}", path.stem) + yaml.safe_dump(values, sort_keys=False, width=110)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_trials(folder: Path, searches: Sequence[Search]) -> None:
    """Writes every trial of every search to ``trials.csv``."""
    import pandas as pd

    rows = [
        {
            "model": search.spec.model,
            "dataset": search.spec.dataset,
            "trial": trial.number,
            "state": trial.state.name.lower(),
            "val_dice": trial.value,
            **trial.params,
            **trial.user_attrs,
        }
        for search in searches
        for trial in search.optuna.get_trials(deepcopy=False)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / "trials.csv") as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)


def draw_figures(folder: Path, searches: Sequence[Search]) -> None:
    """Draws history and importance of every search as PNG; importance needs more trials that ended than keys."""
    import matplotlib as mpl

    mpl.use("Agg")
    import warnings

    from matplotlib import pyplot as plt
    from matplotlib.ticker import MaxNLocator
    from optuna.visualization import matplotlib as plots

    folder.mkdir(parents=True, exist_ok=True)
    for earlier in folder.glob("*.png"):
        earlier.unlink()
    for search in searches:
        kinds = {"history": plots.plot_optimization_history}
        ended = search.optuna.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len({trial.value for trial in ended}) > len(search.settings.space):
            kinds["importance"] = plots.plot_param_importances
        for kind, plot in kinds.items():
            # Optuna changes matplotlib's style for good, and warns that its plots may change.
            with warnings.catch_warnings(), plt.rc_context():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                axes = plot(search.optuna, target_name="validation Dice")
                axes.set_title("", loc="left")
                axes.set_title(f"{search.title}: {kind}")
                if kind == "history":
                    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
                axes.figure.set_size_inches(8, 4.5)
                name = f"{search.spec.model}_{search.spec.dataset}_{kind}.png"
                with naming(folder / name):
                    axes.figure.savefig(folder / name, dpi=120, bbox_inches="tight")
                plt.close(axes.figure)
