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
    """One list to choose from; ``default`` is the value that an untouched form means."""

    name: str
    title: str
    options: tuple[Option, ...]
    default: str = ""

    def offers(self, value: str) -> bool:
        """Whether ``value`` is among the options."""
        return any(option.value == value for option in self.options)

    def find(self, value: str) -> Option | None:
        """The option of that value."""
        return next((option for option in self.options if option.value == value), None)


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
