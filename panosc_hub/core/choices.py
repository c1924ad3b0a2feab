"""What may be chosen besides amounts: one account of several, one reservation. Pure.

A backend builds a :class:`Menu` from what it knows of a person now; the page shows it as a list
and the selection carries the answer as ``choices``, by the menu's name.
"""

from __future__ import annotations

from dataclasses import dataclass


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
