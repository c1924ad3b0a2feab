"""Read ``site.yaml``: every mistake with file, line and what to write; re-read when it changes.

A broken new version never replaces a good one: the last good one stays, and the mistake is
told in the log and to admins on the page.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError

from .core.references import references
from .core.site import Site
from .errors import SiteError

T = TypeVar("T")

CHECK_INTERVAL = 1.0
"""Seconds between two looks at the file's modification time; a look is one ``stat``."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake in a YAML file; ``line`` counts from 1."""

    file: str
    line: int
    where: str
    message: str

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{self.file}:{self.line}: {place}{self.message}"


class SiteMistakes(SiteError):
    """All mistakes of one file."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(str(m) for m in self.mistakes))


def read_yaml(path: Path) -> Any:
    """The document of ``path`` with line numbers; raises :class:`SiteMistakes`."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SiteMistakes([Mistake(str(path), 1, "", f"cannot be read: {error}")]) from error
    try:
        return YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        said = " ".join(str(part) for part in (error.context, error.problem) if part)
        raise SiteMistakes([Mistake(str(path), line, "", f"is not YAML: {said}")]) from error
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        said = f"the character {chr(error.character)!r} may not be in it"
        raise SiteMistakes([Mistake(str(path), line, "", f"is not YAML: {said}")]) from error
    except (YAMLError, ValueError, RecursionError) as error:
        # ruamel turns dates and numbers into Python's own, which have other limits: 2026-02-30.
        message = f"holds a value that cannot be read: {error}; put it into quotes"
        raise SiteMistakes([Mistake(str(path), 1, "", message)]) from error


MAX_NODES = 500_000
"""Values of one document. Aliases of aliases can make billions of a few lines."""


def plain(node: Any) -> Any:
    """The YAML document as plain dicts, lists and scalars; raises ``ValueError`` if too large."""
    left = MAX_NODES

    def copy(node: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise ValueError(
                f"it holds more than {MAX_NODES} values, with all aliases (*) replaced"
            )
        if isinstance(node, Mapping):
            return {str(key): copy(value) for key, value in node.items()}
        if isinstance(node, (list, tuple)):
            return [copy(item) for item in node]
        for kind in (bool, int, float, str):
            if isinstance(node, kind):
                return kind(node)
        return node

    return copy(node)


def expand(node: Any, variables: Mapping[str, Any]) -> Any:
    """Replace ``{name}`` of known variables in every text below ``node``; no other braces."""
    if isinstance(node, dict):
        return {key: expand(value, variables) for key, value in node.items()}
    if isinstance(node, list):
        return [expand(item, variables) for item in node]
    if isinstance(node, str):
        for name, value in variables.items():
            node = node.replace("{" + name + "}", str(value))
    return node


def line_of(document: Any, path: Sequence[str | int]) -> int:
    """The line (from 1) of the deepest part of ``path`` that is in the document."""
    line, node = 1, document
    for key in path:
        position = getattr(node, "lc", None)
        try:
            if isinstance(node, Mapping) and key in node:
                line = position.key(key)[0] + 1 if position else line
                node = node[key]
            elif isinstance(node, list) and isinstance(key, int) and key < len(node):
                line = position.item(key)[0] + 1 if position else line
                node = node[key]
        except (KeyError, AttributeError, TypeError):
            break
    return line


_WORDS = {
    "extra_forbidden": "is not a key known here; check the spelling or remove it",
    "missing": "is missing; add it",
    "string_type": "must be text; put it into quotes",
    "string_too_short": "must not be so short",
    "dict_type": "must be a mapping of keys and values",
    "model_type": "must be a mapping of keys and values",
    "model_attributes_type": "must be a mapping of keys and values",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "too_short": "must not be empty",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
}
"""pydantic's kinds of errors in words for people who write YAML."""


def _message(item: Mapping[str, Any]) -> str:
    words = _WORDS.get(item["type"])
    if words is None:
        words = item["msg"].removeprefix("Value error, ")
        for jargon, plainly in (
            ("Input should be a valid ", "must be a "),
            ("Input should ", "must "),
            ("String should ", "must "),
        ):
            words = words.replace(jargon, plainly, 1) if words.startswith(jargon) else words
    if item["type"] not in ("extra_forbidden", "missing") and isinstance(
        item["input"], (str, int, float)
    ):
        shown = repr(item["input"])[:60]
        if shown not in words:
            words += f" (it says {shown})"
    return str(words)


def mistakes_of(error: ValidationError, document: Any, file: str) -> list[Mistake]:
    """pydantic's errors with the lines where they are."""
    found = []
    errors = error.errors(include_url=False, include_context=False)
    places = [item["loc"] for item in errors]
    for item in errors:
        own = item["loc"]
        # pydantic counts only good entries: a list of one broken profile is "too short" as well.
        if item["type"] == "too_short" and any(p[: len(own)] == own != p for p in places):
            continue
        location = [part for part in item["loc"] if not str(part).startswith("function-")]
        found.append(mistake_at(location, _message(item), document, file))
    return sorted(found, key=lambda m: m.line)


def mistake_at(place: Sequence[str | int], message: str, document: Any, file: str) -> Mistake:
    """A mistake at a place of the document."""
    where = ".".join(str(part) for part in place)
    return Mistake(file, line_of(document, place), where, message)


def load_site(path: str | Path, variables: Mapping[str, str] | None = None) -> Site:
    """The checked site; raises :class:`SiteMistakes` with all mistakes at once.

    ``variables`` override those in the file. A variable that starts with ``./`` or ``../`` is
    relative to the file's folder.
    """
    file = Path(path).resolve()
    document = read_yaml(file)
    if not isinstance(document, Mapping):
        raise SiteMistakes([Mistake(str(path), 1, "", "must be a mapping with facility, profiles")])
    body = plain(document)
    own = body.get("variables")
    own = {} if own is None else own
    if isinstance(own, dict):  # else it is a mistake, which the model finds
        body["variables"] = {
            name: str((file.parent / value).resolve())
            if isinstance(value, str) and value.startswith(("./", "../"))
            else value
            for name, value in {**own, **(variables or {})}.items()
        }
        if isinstance(body.get("environments"), list):
            body["environments"] = expand(body["environments"], body["variables"])
    try:
        return Site.model_validate(body)
    except ValidationError as error:
        # What does not fit together has no place in the model's own error, so it is asked for.
        own_errors = [m for m in mistakes_of(error, document, str(path)) if m.where]
        more = [mistake_at(place, told, document, str(path)) for place, told in references(body)]
        raise SiteMistakes(sorted([*own_errors, *more], key=lambda m: m.line)) from error


class Watched(Generic[T]):
    """A value read from a file, read again when the file changes; the last good one stays.

    ``get`` is cheap enough for every page: at most one ``stat`` a second.
    """

    def __init__(self, path: Path, read: Any, log: logging.Logger) -> None:
        self.path = path
        self._read = read
        self._log = log
        self._value: T | None = None
        self._seen: tuple[int, int, int] | None = None
        self._checked = 0.0
        self.error = ""

    def get(self) -> T:
        """The current value; raises only when there never was a good one."""
        now = time.monotonic()
        if self._value is None or now - self._checked >= CHECK_INTERVAL:
            self._checked = now
            self._look()
        assert self._value is not None
        return self._value

    def _look(self) -> None:
        try:
            found = os.stat(self.path)
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        except OSError as error:
            self._seen = None  # the same file may come back, and is good again then
            self._fail(self._mistake(f"cannot be read: {error.strerror}"))
            return
        if stamp == self._seen and self._value is not None:
            return
        self._seen = stamp
        try:
            value = self._read(self.path)
        except SiteError as error:
            self._fail(error)
            return
        except Exception as error:  # noqa: BLE001
            # Every page asks here: whatever a new file holds, the last good one must stay.
            self._fail(self._mistake(f"cannot be used: {type(error).__name__}: {error}"))
            return
        if self._value is not None:
            self._log.info("%s was read again", self.path)
        self._value, self.error = value, ""

    def _mistake(self, message: str) -> SiteMistakes:
        return SiteMistakes([Mistake(str(self.path), 1, "", message)])

    def _fail(self, error: SiteError) -> None:
        if self._value is None:
            raise error
        if self.error != error.sentence:
            self.error = error.sentence
            self._log.error("The last good %s stays in use:\n%s", self.path, error.sentence)
