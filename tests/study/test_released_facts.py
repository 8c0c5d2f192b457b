"""The facts about the released code agree with the protocols, and with the page that is made from them."""

from __future__ import annotations

import importlib.util
import re
from functools import cache
from pathlib import Path

import pytest
import yaml

from harness.settings import CHANGES_NO_NUMBER, Settings
from harness.study.protocol import Protocol, load_protocol

ROOT = Path(__file__).parents[2]
WORDS = ("name", "description", "source")
#: What a protocol says of how networks are stored and run, not of the pipeline.
OF_THE_MACHINE = {
    "training.channels_last",
    "training.compile",
    "training.checkpoint.every_epochs",
    "inference.batch_size",
    "augmentation.device",
}
#: Settings that say something only under another value of a setting that is listed.
OF_ANOTHER_CHOICE = {"training.optimiser.betas", "training.refresh_batchnorm"}
BOTH = ("paper", "paper_released")


@cache
def read():
    return yaml.safe_load((ROOT / "harness/study/released_facts.yaml").read_text(encoding="utf-8"))


FACTS = [fact for group in read()["groups"] for fact in group["facts"]]
SETTINGS = [(key, value, fact) for fact in FACTS for key, value in fact.get("settings", {}).items()]


def leaves(tree, path=""):
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", list(value) if isinstance(value, tuple) else value


PROTOCOLS = {name: dict(leaves(load_protocol(name).model_dump(exclude=set(WORDS)))) for name in BOTH}


def without_effect(settings, path=""):
    """Keys of settings that change no number, such as processes of the loader."""
    for key, field in settings.model_fields.items():
        if CHANGES_NO_NUMBER in field.metadata:
            yield f"{path}{key}"
        elif isinstance(field.annotation, type) and issubclass(field.annotation, Settings):
            yield from without_effect(field.annotation, f"{path}{key}.")


def of(value, column):
    return value[column] if isinstance(value, dict) else value


def test_a_setting_stands_in_one_fact():
    keys = [key for key, _, _ in SETTINGS]
    assert sorted(keys) == sorted(set(keys))


@pytest.mark.parametrize("name", BOTH)
def test_every_listed_value_is_the_protocols(name):
    listed = {key: of(value, name) for key, value, _ in SETTINGS}
    assert listed == {key: PROTOCOLS[name][key] for key in listed}


def test_every_setting_in_which_the_protocols_differ_is_listed():
    differing = {key for key in PROTOCOLS["paper"] if PROTOCOLS["paper"][key] != PROTOCOLS["paper_released"][key]}
    assert differing <= {key for key, value, _ in SETTINGS if isinstance(value, dict)}


def test_every_other_setting_of_a_protocol_is_listed_too():
    listed = {key for key, _, _ in SETTINGS}
    outside = set(without_effect(Protocol)) - set(WORDS)
    assert set(PROTOCOLS["paper"]) == listed | outside | OF_THE_MACHINE | OF_ANOTHER_CHOICE


@pytest.mark.parametrize("fact", [fact for fact in FACTS if "settings" in fact], ids=lambda fact: fact["what"])
def test_words_and_values_agree(fact):
    values = [value for value in fact["settings"].values() if isinstance(value, dict) and "released" in value]
    if fact["paper"] == "the same":
        assert all(value["paper"] == value["released"] for value in values)
    if fact["paper_released"] in ("the same", "as released"):
        assert all(value["paper_released"] == value["released"] for value in values)
    if any(value["paper_released"] != value["released"] for value in values):
        assert fact["paper_released"] not in ("the same", "as released")


def test_every_difference_of_the_audit_is_there():
    assert {number for fact in FACTS for number in fact.get("audit", ())} == set(range(1, 18))


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact["what"])
def test_a_fact_says_what_is_known_and_where_it_stands(fact):
    assert set(fact) - {"settings", "audit"} == {"what", "sources", "released", "where", *BOTH}
    assert all(re.fullmatch(r"[1-9]\d*(-[1-9]\d*)?", place.rpartition(" ")[2]) for place in fact["where"])
    assert {place.rpartition(" ")[0] for place in fact["where"]} <= set(read()["files"])
    assert not re.search(
        r"paper does not|paper never", " ".join(str(fact[key]) for key in ("sources", "released", *BOTH))
    )


def test_every_file_is_used():
    assert {place.rpartition(" ")[0] for fact in FACTS for place in fact["where"]} == set(read()["files"])


def test_the_page_is_up_to_date():
    spec = importlib.util.spec_from_file_location("fidelity", ROOT / "scripts/docs/fidelity.py")
    fidelity = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fidelity)
    assert fidelity.PAGE.read_text(encoding="utf-8") == fidelity.page(), "run `python scripts/docs/fidelity.py`"
