"""The one door for what users send.

Form, REST JSON, link and saved options all pass :func:`parse`; what comes out is a frozen
:class:`Selection`, and ``Selection.to_options()`` is the one canonical form that is saved, so
that the same choice is byte-equal whichever way it came.

Every mistake is found at once and raised as one :class:`~panosc_hub.errors.InvalidSelection`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any

from ..errors import InvalidSelection, Problem
from . import choices as menus
from .choices import FIELD as CHOICE
from .profiles import IDENTIFIER, Wish
from .quantities import format_duration, format_memory, parse_duration, parse_memory

VERSION = 1
MAX_TEXT = 256
"""Characters of the longest value. A persistent identifier may be long; nothing else is."""

MAX_COUNT = 4096
MAX_MEMORY = 2**50
MAX_WALLTIME = 366 * 86400

_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029{}<>]")
_PROPOSAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}", re.ASCII)
_DATASET = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/+\-]{0,255}", re.ASCII)
DATASET_PID = rf"^{_DATASET.pattern}$"
"""What a catalogue's persistent identifiers must look like to be chosen here."""

_IDENTIFIER = re.compile(IDENTIFIER, re.ASCII)
_COUNT = re.compile(r"\d{1,5}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Selection:
    """What the user picked. ``None`` means "my default"; units are bytes and seconds."""

    profile: str | None = None
    proposal: str | None = None
    dataset: str | None = None
    template: str | None = None
    environment: str | None = None
    cpus: int | None = None
    memory: int | None = None
    gpus: int | None = None
    walltime: int | None = None
    choices: menus.Pairs = ()
    """Answers to the menus of the profile, by name and sorted; a menu without one means its
    default."""

    @property
    def wish(self) -> Wish:
        """The resources part."""
        return Wish(self.cpus, self.memory, self.gpus, self.walltime, self.chosen("gpu"))

    def chosen(self, menu: str) -> str | None:
        """The answer to a menu."""
        return dict(self.choices).get(menu)

    def to_options(self) -> dict[str, Any]:
        """The canonical ``user_options``: ``v`` first, then the fields that are set, in order."""
        body: dict[str, Any] = {"v": VERSION}
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and value != ():
                body[field.name] = _SHOW.get(field.name, _same)(value)
        return body


def _same(value: Any) -> Any:
    return value


_SHOW: dict[str, Callable[[Any], Any]] = {
    "memory": format_memory,
    "walltime": format_duration,
    "choices": dict,
}


def _text(pattern: re.Pattern[str], what: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError(f"must be text, not {_kind(value)}")
        if len(value) > MAX_TEXT:
            raise ValueError(f"is {len(value)} characters long; at most {MAX_TEXT} are accepted")
        if _FORBIDDEN.search(value):
            raise ValueError("holds a line break, brace, angle bracket or control character")
        if not pattern.fullmatch(value) or ".." in value or "//" in value:
            raise ValueError(f"is not {what}")
        return value

    return read


def _count(value: Any) -> int:
    if isinstance(value, str) and _COUNT.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"must be a whole number from 0 to {MAX_COUNT}")
    if not 0 <= value <= MAX_COUNT:
        raise ValueError(f"must be a whole number from 0 to {MAX_COUNT}")
    return value


def _at_least_one(value: Any) -> int:
    count = _count(value)
    if count < 1:
        raise ValueError("must be at least 1")
    return count


def _quantity(parse: Callable[[str], int], most: int, example: str) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if not isinstance(value, str):
            raise ValueError(f"must be text such as {example!r}, not {_kind(value)}")
        if len(value) > 32 or _FORBIDDEN.search(value):
            raise ValueError(f"must be short text such as {example!r}")
        amount = parse(value)
        if not 0 < amount <= most:
            raise ValueError(f"is out of range; write for example {example}")
        return amount

    return read


_READ: dict[str, Callable[[Any], Any]] = {
    "profile": _text(_IDENTIFIER, "the id of a profile"),
    "proposal": _text(_PROPOSAL, "a proposal number"),
    "dataset": _text(_DATASET, "a dataset identifier"),
    "template": _text(_IDENTIFIER, "the id of a template notebook"),
    "environment": _text(_IDENTIFIER, "the id of an environment"),
    "cpus": _at_least_one,
    "memory": _quantity(parse_memory, MAX_MEMORY, "8G"),
    "gpus": _count,
    "walltime": _quantity(parse_duration, MAX_WALLTIME, "4h"),
}

FIELDS = (*_READ, "choices")
"""Names of everything that JSON may carry, besides ``v``. A form or link has one field for each
choice instead: ``choice-account``."""


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", bool: "true/false", type(None): "null"}
    return names.get(type(value), "a number" if isinstance(value, (int, float)) else "this")


def parse(options: Any) -> Selection:
    """A :class:`Selection` from JSON-like ``options``; ``{}`` and ``None`` are the defaults.

    ``""`` and ``null`` in a field mean "not chosen". Raises ``InvalidSelection`` with every
    problem: unknown keys, wrong types, oversize text, line breaks, braces, values out of range.
    """
    if options is None:
        return Selection()
    if not isinstance(options, Mapping):
        raise InvalidSelection([Problem("selection", f"must be an object, not {_kind(options)}")])
    problems: list[Problem] = []
    values: dict[str, Any] = {}
    unknown = [key for key in options if key != "v" and key not in FIELDS]
    for key in unknown[:5]:
        problems.append(Problem(_show_key(key), "is not a field that can be chosen"))
    if len(unknown) > 5:
        problems.append(Problem("selection", f"{len(unknown) - 5} more unknown fields"))
    version = options.get("v", VERSION)
    if version not in (VERSION, str(VERSION)) or isinstance(version, bool):
        problems.append(
            Problem("v", f"is not a version known here; leave it out or send {VERSION}")
        )
    for name, read in _READ.items():
        value = options.get(name)
        if value is None or value == "":
            continue
        try:
            values[name] = read(value)
        except ValueError as error:
            problems.append(Problem(name, str(error)))
    values["choices"], wrong = menus.read_choices(options.get("choices"))
    problems += wrong
    if values.get("dataset") and not values.get("proposal") and not problems:
        problems.append(Problem("dataset", "needs the proposal that it belongs to"))
    if problems:
        raise InvalidSelection(problems)
    return Selection(**values)


def _show_key(key: Any) -> str:
    text = re.sub(r"[^\w.\-]", "?", str(key), flags=re.ASCII)
    return text[:40] or "?"


def parse_form(form: Mapping[str, Any]) -> Selection:
    """A :class:`Selection` from an HTML form or query: each value a list of strings.

    Fields that browsers and the Hub add themselves (``_xsrf``) are dropped; a field sent twice
    is refused rather than guessed.
    """
    options: dict[str, Any] = {}
    chosen: dict[str, Any] = {}
    problems: list[Problem] = []
    for key, value in form.items():
        if key == "_xsrf":
            continue
        if key == "choices":
            problems.append(Problem(key, f"is for JSON; a form has one field each: {CHOICE}…"))
            continue
        if isinstance(value, (list, tuple)):
            if len(value) > 1:
                problems.append(Problem(_show_key(key), "was sent more than once"))
                continue
            value = value[0] if value else ""
        if key.startswith(CHOICE):
            chosen[key.removeprefix(CHOICE)] = value
        else:
            options[key] = value
    options["choices"] = chosen
    try:
        selection = parse(options)
    except InvalidSelection as error:
        raise InvalidSelection([*problems, *error.problems]) from None
    if problems:
        raise InvalidSelection(problems)
    return selection


def prefill(query: Mapping[str, Any]) -> tuple[Selection, tuple[Problem, ...]]:
    """What a link proposes: the good fields pre-fill the form, the others become notices."""
    try:
        return parse_form(query), ()
    except InvalidSelection as error:
        good: dict[str, Any] = {}
        for key in _READ:
            if key in query and (key != "dataset" or good.get("proposal")):
                belongs = {"proposal": good["proposal"]} if key == "dataset" else {}
                with suppress(InvalidSelection):
                    good[key] = getattr(parse_form({**belongs, key: query[key]}), key)
        chosen: list[tuple[str, str]] = []
        for key in query:
            if key.startswith(CHOICE) and len(chosen) < menus.MOST:
                with suppress(InvalidSelection):
                    chosen += parse_form({key: query[key]}).choices
        return Selection(**good, choices=tuple(sorted(chosen))), error.problems
