"""What becomes of every setting of a configuration that moves over. Pure.

Nothing is lost silently: what nobody has spoken for in the end is listed as work by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from html.parser import HTMLParser
from typing import Any

Path = tuple[str | int, ...]


class Fate(StrEnum):
    """What happens with one setting."""

    MAPPED = "mapped"
    KEEPS = "keeps working"
    HAND = "by hand"


@dataclass(frozen=True, slots=True)
class Note:
    """One setting, or everything below it, and what becomes of it."""

    path: Path
    fate: Fate
    text: str

    @property
    def key(self) -> str:
        """As people write it: ``singleuser.profileList[0].slug``."""
        text = ""
        for part in self.path:
            text += f"[{part}]" if isinstance(part, int) else f".{part}"
        return text.removeprefix(".")


class Ledger:
    """Every setting of ``tree`` is told here once; :meth:`close` lists those that were not."""

    def __init__(self, tree: Mapping[str, Any]) -> None:
        self._tree = tree
        self._notes: dict[Path, Note] = {}

    def mapped(self, path: Path, text: str) -> None:
        """It is in the new files."""
        self._tell(path, Fate.MAPPED, text)

    def keeps(self, path: Path, text: str) -> None:
        """It is read as before."""
        self._tell(path, Fate.KEEPS, text)

    def by_hand(self, path: Path, text: str) -> None:
        """Somebody must look at it."""
        self._tell(path, Fate.HAND, text)

    def _tell(self, path: Path, fate: Fate, text: str) -> None:
        # What needs a hand stays said, whatever else reads the same setting.
        known = self._notes.get(path)
        if known is None or (fate is Fate.HAND and known.fate is not Fate.HAND):
            self._notes[path] = Note(path, fate, text)

    def below(self, path: Path, fate: Fate) -> list[Note]:
        """The notes of that fate at or below ``path``."""
        found = self._notes.values()
        return [n for n in found if n.fate is fate and n.path[: len(path)] == path]

    def close(self) -> tuple[Note, ...]:
        """All notes in the order of the file, the forgotten settings among them."""
        for path in list(self._forgotten(self._tree, ())):
            self.by_hand(path, "is not known to this command; nothing was done with it")
        place = {path: number for number, path in enumerate(self._walk(self._tree, ()))}
        return tuple(sorted(self._notes.values(), key=lambda n: place.get(n.path, len(place))))

    def _forgotten(self, node: Any, path: Path) -> Iterator[Path]:
        if path in self._notes:
            return
        parts = list(_parts(node))
        if path and not any(told[: len(path)] == path for told in self._notes):
            yield path
            return
        for part, value in parts:
            yield from self._forgotten(value, (*path, part))

    def _walk(self, node: Any, path: Path) -> Iterator[Path]:
        yield path
        for part, value in _parts(node):
            yield from self._walk(value, (*path, part))


def _parts(node: Any) -> Iterator[tuple[str | int, Any]]:
    if isinstance(node, Mapping):
        yield from ((str(key), value) for key, value in node.items())
    elif isinstance(node, Sequence) and not isinstance(node, (str, bytes)):
        yield from enumerate(node)


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.pieces.append(" ")
        self._silent += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self.pieces.append(" ")
        self._silent -= tag in ("script", "style") and self._silent > 0

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.pieces.append(data)


def plain_text(value: Any, most: int) -> str:
    """HTML as one line of plain text, not longer than ``most``."""
    parser = _Text()
    parser.feed(str(value))
    parser.close()
    text = one_line("".join(parser.pieces))
    return shorten(re.sub(r" ([,.;:)])", r"\1", text), most)


def shorten(text: str, most: int) -> str:
    """``text``, cut where it is longer than ``most``."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def one_line(text: str) -> str:
    """Without control characters and double blanks."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def identifier(text: str, taken: set[str], otherwise: str) -> str:
    """An id made of ``text`` that is not in ``taken``, and is from now on."""
    base = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:55].strip("-") or otherwise
    found, number = base, 1
    while found in taken:
        number += 1
        found = f"{base}-{number}"
    taken.add(found)
    return found
