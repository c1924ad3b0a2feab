"""What may be chosen besides amounts: one account of several, one reservation. Pure.

A backend builds a :class:`Menu` from what it knows of a person now; the page shows it as a list
and the selection carries the answer as ``choices``, by the menu's name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import Problem
from .ranges import IDENTIFIER

FIELD = "choice-"
"""What the fields of a form or link start with: ``choice-account``."""

MOST = 16
"""Answers in one selection; a backend has far fewer menus."""

LONGEST = 512
"""Characters of a value that is held against patterns, so that none of them takes long."""

_NAME = re.compile(IDENTIFIER, re.ASCII)
_VALUE = re.compile(r"[A-Za-z0-9_/][A-Za-z0-9_.@+:&|/=,\-]{0,255}", re.ASCII)

Pairs = tuple[tuple[str, str], ...]


def valid(value: str) -> bool:
    """Whether ``value`` can be chosen by a form, a link or JSON at all."""
    return bool(_VALUE.fullmatch(value)) and ".." not in value and "//" not in value


@dataclass(frozen=True, slots=True)
class Option:
    """One line of a menu. ``note`` says more in a few words, such as "until 18:00"."""

    value: str
    title: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Menu:
    """One list to choose from; ``default`` is the value that an untouched form means.

    With ``patterns`` a value may also be typed: one that fits one of these regular expressions
    from its first to its last character.
    """

    name: str
    title: str
    options: tuple[Option, ...]
    default: str = ""
    patterns: tuple[str, ...] = ()

    def offers(self, value: str) -> bool:
        """Whether ``value`` is among the options, or may be typed."""
        return any(option.value == value for option in self.options) or self.takes(value)

    def takes(self, value: str) -> bool:
        """Whether ``value`` fits one of the patterns."""
        return len(value) <= LONGEST and any(
            re.fullmatch(pattern, value, re.ASCII) for pattern in self.patterns
        )

    def find(self, value: str) -> Option | None:
        """The option of that value."""
        return next((option for option in self.options if option.value == value), None)

    def text(self, value: str) -> str:
        """``value`` as people read it; a typed one is itself."""
        found = self.find(value)
        return found.title or found.value if found else value

    @property
    def typed(self) -> str:
        """What may be typed, in words; empty if nothing."""
        return " or ".join(dict.fromkeys(like(pattern) for pattern in self.patterns))


_TOKEN = re.compile(
    r"\\(?P<literal>[^A-Za-z0-9])|(?P<plain>[A-Za-z0-9_/:@=,&%#~ -])"
    r"|(?P<any>\.|\[(?:\\.|[^\\\]])+\]|\\[wdS])(?:[*+]|\{\d+(?:,\d*)?\})?\??",
    re.ASCII,
)


def like(pattern: str) -> str:
    """A simple pattern as people read it: ``quay\\.io/ours/.+`` is ``quay.io/ours/…``.

    Others are shown as they are: who may type an image has seen a regular expression before.
    """
    shown, place = "", 0
    while place < len(pattern):
        found = _TOKEN.match(pattern, place)
        # What follows a literal and repeats it, or is no token, is more than three dots can say.
        if found is None or (not found["any"] and pattern[found.end() :][:1] in tuple("*+?{")):
            return pattern
        # A dot that is not repeated is nearly always meant as the character.
        text = found["literal"] or found["plain"] or ("." if found[0] == "." else "…")
        shown += "" if text == "…" == shown[-1:] else text
        place = found.end()
    return shown


def read_choices(value: Any) -> tuple[Pairs, list[Problem]]:
    """``{"account": "hg123"}`` as sorted pairs, and what is wrong with it, every mistake.

    ``""`` and ``null`` mean "not chosen".
    """
    if value is None or value == "":
        return (), []
    if not isinstance(value, Mapping):
        return (), [Problem("choices", "must be an object of names and values")]
    if len(value) > MOST:
        return (), [Problem("choices", f"has {len(value)} entries; at most {MOST} are accepted")]
    found: dict[str, str] = {}
    problems: list[Problem] = []
    for name, answer in value.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            problems.append(Problem("choices", "has a name that no choice has"))
        elif answer is None or answer == "":
            continue
        elif not isinstance(answer, str):
            problems.append(Problem(FIELD + name, "must be text"))
        elif not valid(answer):
            problems.append(Problem(FIELD + name, "has characters that no such value has"))
        else:
            found[name] = answer
    return tuple(sorted(found.items())), problems
