"""Profiles of a study: named changes, one or several at once.

Several are merged in the order in which they are named: mappings are merged, everything else is replaced. A protocol is
the exception, since to replace it would lose what an earlier profile asked for. Where several profiles name one, those
that build on the study's own protocol (``paper_released`` on ``paper``) count as changes and are laid over the one that
does not (``demo``): patches, length and optimiser of the demo, in everything else as released, whatever the order.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import StudyError, did_you_mean
from harness.study.document import Document, merge
from harness.study.protocol import WITH, can_be_laid_over, chain_of_protocols, names_in

#: One profile, several, or none. Several may also be written as one name, as :func:`profile_name` joins them.
Profiles = str | Sequence[str] | None

#: What joins the names of several profiles; no name holds it.
_JOINT = "+"

#: Longest name of several profiles together: it is the name of a folder.
_LONGEST = 200


def split_profiles(profiles: Profiles) -> tuple[str, ...]:
    """Returns the names of the profiles, in order.

    Raises:
        StudyError: One is named twice, or the names together are too long for the name of a folder.
    """
    given = [profiles] if isinstance(profiles, str) else profiles or []
    names = tuple(name for one in given for name in one.split(_JOINT))
    for name in names:
        if names.count(name) > 1:
            raise StudyError(f"Profile '{name}' is named twice.", hint="Name each profile once.")
    if len(_JOINT.join(names)) > _LONGEST:
        raise StudyError(
            f"The names of {len(names)} profiles are too long together.", hint="Write one profile of them."
        )
    return names


def profile_name(profiles: Profiles) -> str | None:
    """Returns what the profiles are called together, e.g. ``demo+released``; None for none."""
    return _JOINT.join(split_profiles(profiles)) or None


def apply_profiles(document: Document, profiles: Profiles, beside: Path) -> Document:
    """Returns a study with its profiles merged in.

    Args:
        document: The study.
        profiles: Some of its profiles, in order.
        beside: Folder of the study file; its ``protocols/`` is searched first.

    Raises:
        StudyError: A profile is unknown or changes what none may, or two name protocols that exclude each other.
    """
    names = split_profiles(profiles)
    sections = {name: _profile(document, name) for name in names}
    merged = document
    for section in sections.values():
        merged = section.over(merged)
    asked = {name: section.values["protocol"] for name, section in sections.items() if "protocol" in section.values}
    if len(asked) < 2 or not all(isinstance(one, str | Mapping) for one in asked.values()):
        return merged  # one that is neither is refused with the whole study
    protocol = _combined(document, asked, beside)
    return Document(merged.values | {"protocol": protocol}, merged.places, merged.source)


def _profile(document: Document, name: str) -> Document:
    profiles = document.values.get("profiles")
    known = profiles if isinstance(profiles, dict) else {}
    if name not in known:
        raise document.error(("profiles",), f"there is no profile '{name}'.", did_you_mean(name, known))
    changes = known[name]
    if not isinstance(changes, dict):
        raise document.error(("profiles", name), f"profile '{name}' must be a mapping.")
    if "name" in changes or "profiles" in changes:
        raise document.error(("profiles", name), "a profile cannot change 'name' or 'profiles'.")
    section = document.section(("profiles", name))
    return Document(section.values, section.places, document.source)


def _combined(document: Document, asked: Mapping[str, str | Mapping[str, Any]], beside: Path) -> str | dict[str, Any]:
    """Returns the protocol of several profiles that each name one."""
    own = document.values.get("protocol")
    root = chain_of_protocols(base, beside)[-1] if (base := _base(own)) else ""
    grounds: dict[str, str] = {}
    changes: list[str] = []
    settings: dict[str, Any] = {}
    if isinstance(own, Mapping) and all(isinstance(protocol, Mapping) for protocol in asked.values()):
        settings = dict(own)
    for name, protocol in asked.items():
        if base := _base(protocol):
            with document.naming_line(("profiles", name, "protocol")):
                if _changes_the_studys(base, root, beside):
                    changes.append(base)
                else:
                    grounds.setdefault(base, name)
        if isinstance(protocol, Mapping):
            changes += names_in(protocol.get(WITH))
            settings = merge(settings, protocol)
    if len(grounds) > 1:
        (first, one), (second, other), *_ = grounds.items()
        raise document.error(
            ("profiles", other, "protocol"),
            f"profiles '{one}' and '{other}' name the protocols {first} and {second}, which exclude each other: "
            "neither builds on the study's.",
            "Leave one of them out.",
        )
    base = next(iter(grounds), root)
    laid = [one for one in dict.fromkeys(changes) if not _is_part_of_another(one, changes, beside)]
    if not grounds and len(laid) == 1:
        base, laid = laid[0], []
    rest = {key: value for key, value in settings.items() if key not in ("base", WITH)}
    if not laid and not rest:
        return base
    return ({"base": base} if base else {}) | ({WITH: laid} if laid else {}) | rest


def _base(protocol: object) -> str:
    """Returns the protocol that a request builds on; empty for none."""
    named = protocol.get("base", "") if isinstance(protocol, Mapping) else protocol
    return named if isinstance(named, str) else ""


def _changes_the_studys(name: str, root: str, beside: Path) -> bool:
    """Returns whether a protocol is a set of changes to what the study's own protocol builds on in the end."""
    return name != root and chain_of_protocols(name, beside)[-1] == root and can_be_laid_over(name, beside)


def _is_part_of_another(name: str, changes: Sequence[str], beside: Path) -> bool:
    return any(name in chain_of_protocols(other, beside)[1:] for other in changes)
