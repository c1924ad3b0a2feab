"""The template library: read published templates from their folders.

A template that is broken is left out and named in ``problems``; it never takes the others
with it. Folders are looked at again when their modification times change.
"""

from __future__ import annotations

import logging
import stat
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from .core.notebook import parameterise
from .core.templates import Manifest, Template, picture_type
from .errors import SiteError
from .site import SiteMistakes, mistakes_of, plain, read_yaml

MAX_NOTEBOOK = 2 * 2**20
"""Bytes. Stripped notebooks are small; a bigger one carries outputs or data."""

MAX_PICTURE = 256 * 2**10
"""Bytes of a card's picture."""

LOOK_INTERVAL = 5.0
"""Seconds between two looks at the folders."""


def read_template(folder: Path) -> Template:
    """One template; raises :class:`~panosc_hub.errors.SiteError` saying what is wrong where."""
    file = folder / "template.yaml"
    document = read_yaml(file)
    try:
        manifest = Manifest.model_validate(plain(document))
    except ValidationError as error:
        raise SiteMistakes(mistakes_of(error, document, str(file))) from error
    notebook = _read(folder, manifest.entrypoint, MAX_NOTEBOOK).decode("utf-8")
    defaults = {n: "" if p.default is None else p.default for n, p in manifest.parameters.items()}
    try:
        parameterise(notebook, defaults)
    except ValueError as error:
        raise SiteError(f"{folder / manifest.entrypoint}: {error}") from error
    picture = _read(folder, manifest.picture, MAX_PICTURE) if manifest.picture else None
    if picture is not None and picture_type(picture) is None:
        raise SiteError(f"{folder / str(manifest.picture)}: must be a PNG or an SVG picture")
    return Template(
        manifest=manifest,
        notebook=notebook,
        files={n: _read(folder, n, MAX_NOTEBOOK).decode("utf-8") for n in manifest.files},
        picture=picture,
        source=str(folder),
    )


def _read(folder: Path, name: str, most: int) -> bytes:
    path = folder / name
    try:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode):
            raise SiteError(f"{path}: is a link or no file; a template's files must be plain files")
        if found.st_size > most:
            raise SiteError(f"{path}: is {found.st_size} bytes; at most {most} are accepted")
        return path.read_bytes()[:most]
    except OSError as error:
        raise SiteError(f"{path}: cannot be read: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class Entry:
    """One template folder as it was last read."""

    stamp: tuple[tuple[str, int, int], ...]
    template: Template | None = None
    problem: str = ""


def read_entry(folder: Path, stamp: tuple[tuple[str, int, int], ...] = ()) -> Entry:
    """The folder's template, or the sentence about what is wrong with it; never raises."""
    try:
        return Entry(stamp, read_template(folder))
    except SiteError as error:
        return Entry(stamp, problem=str(error))
    except Exception as error:  # noqa: BLE001
        # Every page asks for the templates: one that is odd in a new way is only left out.
        return Entry(stamp, problem=f"{folder}: cannot be used: {type(error).__name__}: {error}")


class Library:
    """Templates of several source folders; earlier sources win over later ones."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._looked = float("-inf")
        self._sources: tuple[Path, ...] = ()
        self._entries: dict[Path, Entry] = {}
        self._templates: tuple[Template, ...] = ()
        self.problems: tuple[str, ...] = ()

    def templates(self, sources: Iterable[Path]) -> tuple[Template, ...]:
        """All good templates; only folders that changed are read again."""
        paths = tuple(sources)
        now = time.monotonic()
        if now - self._looked < LOOK_INTERVAL and paths == self._sources:
            return self._templates
        self._looked, self._sources = now, paths
        entries, missing = look(paths, self._entries)
        if entries != self._entries or missing:
            self._entries = entries
            known = set(self.problems)
            self._templates, self.problems = collect(entries, missing)
            for problem in self.problems:
                if problem not in known:
                    self._log.error("A template is left out: %s", problem)
        return self._templates


def look(
    sources: Iterable[Path], known: Mapping[Path, Entry]
) -> tuple[dict[Path, Entry], list[str]]:
    """An entry per template folder, and sentences about sources that are no folders."""
    entries: dict[Path, Entry] = {}
    missing: list[str] = []
    for source in sources:
        if not source.is_dir():
            missing.append(f"{source}: is not a folder")
            continue
        for folder in sorted(p.parent for p in source.glob("*/template.yaml")):
            stamp = _stamp(folder)
            old = known.get(folder)
            entries[folder] = old if old and old.stamp == stamp else read_entry(folder, stamp)
    return entries, missing


def _stamp(folder: Path) -> tuple[tuple[str, int, int], ...]:
    found = []
    for file in sorted(folder.iterdir()):
        try:
            status = file.lstat()
        except OSError:
            # Vanished between listing and stat: the next look sees the folder as it is.
            continue
        found.append((file.name, status.st_mtime_ns, status.st_size))
    return tuple(found)


def collect(
    entries: Mapping[Path, Entry], missing: Iterable[str] = ()
) -> tuple[tuple[Template, ...], tuple[str, ...]]:
    """The published templates, and every sentence about what was left out."""
    good: dict[str, Template] = {}
    problems = list(missing)
    for folder, entry in entries.items():
        if entry.template is None:
            problems.append(entry.problem)
        elif entry.template.manifest.status != "draft":
            first = good.setdefault(entry.template.id, entry.template)
            if first is not entry.template and folder.parent == Path(first.source).parent:
                problems.append(f"{folder}: the id {first.id} is taken by {first.source}")
    return tuple(good.values()), tuple(problems)


def read_all(sources: Iterable[Path]) -> tuple[tuple[Template, ...], tuple[str, ...]]:
    """Good templates and the sentences about the broken ones."""
    return collect(*look(sources, {}))
