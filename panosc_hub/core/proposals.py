"""Proposals, datasets, areas, and the paths that belong to them.

A path is used only if the facility's layout says that it belongs to the proposal which the
catalogue just authorised. Layouts are written as format fields, ``/data/{instrument}/{proposal}``;
each field has one anchored regular expression, so that ``..``, slashes and line breaks cannot
enter. The check here is lexical; links on the file system are checked again on the node, as
the user.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from string import Formatter

DEFAULT_FIELD = r"[A-Za-z0-9][A-Za-z0-9_.\-]*"


class Mode(StrEnum):
    """Whether a session may write to an area."""

    READ_ONLY = "ro"
    READ_WRITE = "rw"


class DatasetStatus(StrEnum):
    """Where the files of a dataset are."""

    ONLINE = "online"
    ARCHIVED = "archived"
    RESTORING = "restoring"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Dataset:
    """One dataset of a proposal. ``size`` in bytes; ``location`` is the catalogue's claim."""

    pid: str
    name: str
    location: str = ""
    size: int | None = None
    files: int | None = None
    date: date | None = None
    techniques: tuple[str, ...] = ()
    format: str = ""
    status: DatasetStatus = DatasetStatus.UNKNOWN


@dataclass(frozen=True, slots=True)
class Proposal:
    """One proposal. ``fields`` are further layout fields (cycle, year) known to the catalogue."""

    id: str
    title: str = ""
    instrument: str = ""
    start: date | None = None
    end: date | None = None
    dataset_count: int | None = None
    fields: Mapping[str, str] = field(default_factory=dict)

    @property
    def layout_fields(self) -> dict[str, str]:
        """What a layout may name."""
        return {**self.fields, "proposal": self.id, "instrument": self.instrument}


@dataclass(frozen=True, slots=True)
class Area:
    """A resolved area of one proposal: ``path`` lies below ``root``."""

    name: str
    path: str
    root: str
    mode: Mode


@dataclass(frozen=True, slots=True)
class Layout:
    """The path template of one area, for example ``{data}/{instrument}/{proposal}/raw``.

    ``root`` is the part before the first field that depends on the proposal.
    """

    name: str
    template: str
    mode: Mode
    patterns: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = set()
        for _, name, spec, conversion in Formatter().parse(self.template):
            names.add(name)
            if name is not None and not re.fullmatch(r"[a-z][a-z0-9_]*", name):
                raise ValueError(f"area {self.name}: {{{name}}} is not a field name")
            if spec and not re.fullmatch(r"0?\d{1,2}d", spec):
                raise ValueError(f"area {self.name}: only formats such as :06d are understood")
            if conversion:
                raise ValueError(f"area {self.name}: conversions (!r) are not understood")
        if not self.template.startswith("/"):
            raise ValueError(f"area {self.name}: the path must be absolute: {self.template[:80]}")
        if self.root == "/":
            raise ValueError(
                f"area {self.name}: the path must begin with a fixed directory, "
                "else a link on the file system could lead anywhere"
            )
        if "proposal" not in names:
            raise ValueError(
                f"area {self.name}: the path must contain {{proposal}}, "
                "else every proposal would see the same files"
            )

    @property
    def root(self) -> str:
        """The fixed directory that every path of this layout lies below."""
        head = self.template.split("{", 1)[0]
        return posixpath.dirname(head) or "/"

    def resolve(self, proposal: Proposal) -> Area:
        """The area of ``proposal``; raises ``ValueError`` when a field does not fit."""
        parts: list[str] = []
        known = proposal.layout_fields
        for literal, name, spec, _ in Formatter().parse(self.template):
            parts.append(literal)
            if name is None:
                continue
            value = known.get(name, "")
            self._check(name, value)
            number = value.removeprefix("p")
            if spec and not number.isdecimal():
                raise ValueError(
                    f"area {self.name}: {name} {value[:40]!r} is not a number, as :{spec} wants it"
                )
            parts.append(format(int(number), spec) if spec else value)
        path = "".join(parts)
        if posixpath.normpath(path) != path.rstrip("/"):
            raise ValueError(f"area {self.name}: {path!r} is not a plain path")
        return Area(self.name, path.rstrip("/"), self.root, self.mode)

    def _check(self, name: str, value: str) -> None:
        pattern = self.patterns.get(name, DEFAULT_FIELD)
        if not re.fullmatch(pattern, value, re.ASCII) or "/" in value or ".." in value:
            raise ValueError(
                f"area {self.name}: {name} {value[:40]!r} does not fit the facility's layout"
            )


def is_within(path: str, directory: str) -> bool:
    """Whether ``path`` is a plain absolute path at or below ``directory``; lexical only."""
    if not path.startswith("/") or "\x00" in path or posixpath.normpath(path) != path.rstrip("/"):
        return False
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def dataset_path(dataset: Dataset, areas: tuple[Area, ...]) -> str:
    """The dataset's directory, if the layout confirms that it belongs to the proposal.

    Raises ``ValueError`` when the catalogue's location lies in none of the proposal's areas.
    """
    location = dataset.location.rstrip("/")
    if any(is_within(location, area.path) for area in areas):
        return location
    raise ValueError(
        f"the catalogue places dataset {dataset.name} outside the directories of its proposal"
    )
