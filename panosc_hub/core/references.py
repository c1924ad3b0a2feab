"""What in ``site.yaml`` must fit together: ids once, environments defined, areas well-formed. Pure.

It works on the document as it was read, and leaves out what is broken by itself, so that one
reading of the file tells both kinds of mistakes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .proposals import DEFAULT_FIELD, Layout, Mode

Place = tuple[str | int, ...]


def references(site: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
    """Every mistake with its place in the document."""
    for what in ("environments", "profiles"):
        yield from _twice(what, site)
    known = [e["id"] for _, e in _entries(site, "environments") if isinstance(e.get("id"), str)]
    for number, profile in _entries(site, "profiles"):
        for position, name in enumerate(_list(profile.get("environments"))):
            if known and isinstance(name, str) and name not in known:
                there = ", ".join(sorted(set(known)))
                yield (
                    ("profiles", number, "environments", position),
                    f"environment {name!r} is not defined; defined are {there}",
                )
    yield from _beamtimes(site)
    yield from _areas(site)


def layout(
    name: str,
    path: str,
    mode: Mode,
    variables: Mapping[str, str],
    fields: Mapping[str, str],
) -> Layout:
    """The layout of one area; raises ``ValueError`` with what to write instead."""
    patterns = {"proposal": DEFAULT_FIELD, "instrument": DEFAULT_FIELD, **fields}
    try:
        return Layout(name, expand(path, variables), mode, patterns)
    except ValueError as error:
        # What is wrong with the braces Python says without the area's name.
        told = str(error)
        raise ValueError(told if told.startswith("area ") else f"area {name}: {told}") from None


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace ``{name}`` of the site's own variables, leaving other braces alone."""
    for name, value in variables.items():
        text = text.replace("{" + name + "}", value)
    return text


def _list(value: Any) -> Iterable[Any]:
    return value if isinstance(value, (list, tuple)) else ()


def _texts(value: Any) -> dict[str, str]:
    found = value.items() if isinstance(value, Mapping) else ()
    return {name: text for name, text in found if isinstance(text, str)}


def _entries(site: Mapping[str, Any], key: str) -> list[tuple[int, Mapping[str, Any]]]:
    found = enumerate(_list(site.get(key)))
    return [(number, entry) for number, entry in found if isinstance(entry, Mapping)]


def _twice(what: str, site: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
    seen = set()
    for number, entry in _entries(site, what):
        name = entry.get("id")
        if isinstance(name, str) and name in seen:
            yield (what, number, "id"), f"the id {name!r} is used twice; every one needs its own"
        elif isinstance(name, str):
            seen.add(name)


def _beamtimes(site: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
    catalogue = site.get("catalogue")
    if isinstance(catalogue, Mapping) and catalogue.get("kind", "none") != "none":
        return
    for number, profile in _entries(site, "profiles"):
        allow = profile.get("allow")
        found = allow.get("beamtime") if isinstance(allow, Mapping) else None
        if found is True or isinstance(found, Mapping):
            told = "needs a catalogue; without one nobody has a beam time"
            yield ("profiles", number, "allow", "beamtime"), told


def _areas(site: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
    areas, variables = site.get("areas"), _texts(site.get("variables"))
    for name, spec in areas.items() if isinstance(areas, Mapping) else ():
        path = spec.get("path") if isinstance(spec, Mapping) else None
        if isinstance(path, str) and len(path) > 1:
            try:
                layout(name, path, Mode.READ_ONLY, variables, {})
            except ValueError as error:
                yield ("areas", name, "path"), str(error)
    for name, pattern in _texts(site.get("fields")).items():
        try:
            re.compile(pattern)
        except re.error as error:
            yield ("fields", name), f"is not a regular expression: {error}"
