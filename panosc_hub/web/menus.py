"""Menus as the page shows them: one list each, in which the default sends nothing. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..core.choices import FIELD, Menu, Option
from ..core.policy import GPU
from . import words


@dataclass(frozen=True, slots=True)
class MenuView:
    """One labelled list; ``lines`` are pairs of what is sent and what is read."""

    name: str
    title: str
    lines: tuple[tuple[str, str], ...]
    answer: str = ""
    typed: str = ""
    """What may be typed instead, in words; empty if nothing may."""

    values: tuple[str, ...] = ()
    """The options as they are typed, where that is possible."""

    @property
    def field(self) -> str:
        """The form's name for it."""
        return FIELD + self.name

    @property
    def usual(self) -> str:
        """What nothing chosen means, in words."""
        return next((text for value, text in self.lines if not value), "")

    @property
    def said(self) -> str:
        """What was chosen, in words; empty for the default."""
        found = (text for value, text in self.lines if value and value == self.answer)
        return next(found, self.answer if self.typed else "")

    def answered(self, value: str | None) -> MenuView | None:
        """The same with ``value`` chosen; None where there is nothing to choose."""
        there = len(self.lines) > 1 or self.typed
        return replace(self, answer=value or "") if there else None

    def to_dict(self) -> dict[str, Any]:
        """For the page's script."""
        body = {"name": self.name, "title": self.title, "lines": self.lines}
        return {**body, "typed": self.typed} if self.typed else body


def menu_view(menu: Menu) -> MenuView:
    """The default is sent as nothing, so that it stays the facility's to change."""
    lines = [
        ("" if option.value == menu.default else option.value, _text(menu, option))
        for option in menu.options
    ]
    if not any(value == "" for value, _ in lines):
        lines.insert(0, ("", f"{menu.default or 'Default'}"))
    values = tuple(option.value for option in menu.options if option.value)
    return MenuView(
        menu.name, menu.title, tuple(lines), typed=menu.typed, values=values if menu.typed else ()
    )


def _text(menu: Menu, option: Option) -> str:
    title = option.title or option.value or "none"
    if menu.name == GPU:
        title = words.gpu_type(title)
    return f"{title} · {option.note}" if option.note else title


def menu_json(menu: Menu) -> dict[str, Any]:
    """For portals: everything, as it is."""
    return {
        "name": menu.name,
        "title": menu.title,
        "default": menu.default,
        "options": [
            {"value": o.value, "title": o.title or o.value, "note": o.note} for o in menu.options
        ],
        "patterns": list(menu.patterns),
    }
