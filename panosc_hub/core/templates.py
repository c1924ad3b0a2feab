"""Template notebooks: the manifest, and which templates suit a dataset.

The manifest is ``template.yaml`` in the template's own folder, schema
``panosc-hub/template/1``. Ranking follows the technique (PaNET id) first, then the file
format, then the instrument; what does not match is still there under "show all".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from .profiles import Identifier, Model, Requirements
from .proposals import Dataset, Proposal
from .techniques import title

Scalar = bool | int | float | str

_SOURCE = re.compile(r"dataset\.(path|pid|name)|proposal\.id|area\.[a-z][a-z0-9_-]*", re.ASCII)
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,127}", re.ASCII)
_PYTHON_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)


class Author(Model):
    """Who wrote the template."""

    name: str = Field(min_length=1, max_length=120)
    orcid: str | None = Field(default=None, pattern=r"^\d{4}-\d{4}-\d{4}-\d{3}[\dX]$")


class Match(Model):
    """What the template is for; every list may be empty."""

    techniques: tuple[Annotated[str, Field(pattern=r"^PaNET\d{5}$")], ...] = ()
    formats: tuple[str, ...] = ()
    instruments: tuple[str, ...] = ()


class Kernel(Model):
    """Which kernel the notebook wants."""

    kernel: str = "python3"


class Parameter(Model):
    """One name in the notebook's ``parameters`` cell and where its value comes from."""

    source: str | None = None
    type: Literal["string", "integer", "number", "boolean"] = "string"
    default: Scalar | None = None
    minimum: float | None = None
    maximum: float | None = None
    title: str = ""

    @field_validator("source")
    @classmethod
    def _known_source(cls, value: str | None) -> str | None:
        if value is not None and not _SOURCE.fullmatch(value):
            raise ValueError(
                f"{value[:40]!r} is not a source; write dataset.path, dataset.pid, dataset.name, "
                "proposal.id or area.<name>"
            )
        return value


class Manifest(Model):
    """``template.yaml``."""

    schema_: Literal["panosc-hub/template/1"] = Field(alias="schema")
    id: Identifier
    version: str = Field(pattern=r"^\d{1,4}\.\d{1,4}\.\d{1,4}$")
    title: str = Field(min_length=1, max_length=100)
    summary: str = Field(default="", max_length=300)
    entrypoint: str
    picture: str | None = None
    files: tuple[str, ...] = ()
    authors: tuple[Author, ...] = ()
    license: str = ""
    doi: str | None = None
    match: Match = Field(default_factory=Match)
    requires: Requirements = Field(default_factory=Requirements)
    environment: Kernel = Field(default_factory=Kernel)
    parameters: dict[str, Parameter] = Field(default_factory=dict)
    status: Literal["draft", "stable", "deprecated"] = "stable"

    @field_validator("entrypoint", "picture")
    @classmethod
    def _plain_file(cls, value: str | None) -> str | None:
        if value is not None and not _FILE.fullmatch(value):
            raise ValueError(f"{value[:60]!r} must be the plain name of a file in the same folder")
        return value

    @model_validator(mode="after")
    def _names(self) -> Manifest:
        if not self.entrypoint.endswith(".ipynb"):
            raise ValueError("entrypoint must be a notebook (.ipynb)")
        for name in self.files:
            self._plain_file(name)
            if name == self.entrypoint:
                raise ValueError("files must not repeat the entrypoint")
        for name in self.parameters:
            # Names become Python code in the notebook, so they must be nothing but names.
            if not _PYTHON_NAME.fullmatch(name):
                raise ValueError(f"parameter {name[:40]!r} is not a Python name")
        return self


@dataclass(frozen=True, slots=True)
class Template:
    """A published template: its manifest and the text of its files, as read from a source."""

    manifest: Manifest
    notebook: str
    files: Mapping[str, str] = field(default_factory=dict)
    picture: bytes | None = None
    source: str = ""

    @property
    def id(self) -> str:
        """The manifest's id."""
        return self.manifest.id


def picture_type(data: bytes | None) -> str | None:
    """The content type by the first bytes: PNG, SVG, or None for everything else."""
    if not data:
        return None
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    head = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith((b"<svg", b"<?xml")) and b"<svg" in data[:4096]:
        return "image/svg+xml"
    return None


@dataclass(frozen=True, slots=True)
class Fit:
    """How well a template suits; lower ``rank`` is better, ``why`` is for the card."""

    template: Template
    rank: int
    why: str

    @property
    def suits(self) -> bool:
        """Whether it is shown without "show all"."""
        return self.rank < 3


def rank(
    templates: Iterable[Template], proposal: Proposal | None, dataset: Dataset | None
) -> list[Fit]:
    """All templates, the best for ``dataset`` first; ties by title."""
    fits = [_fit(t, proposal, dataset) for t in templates]
    return sorted(fits, key=lambda f: (f.rank, f.template.manifest.title))


def _fit(template: Template, proposal: Proposal | None, dataset: Dataset | None) -> Fit:
    match = template.manifest.match
    if dataset:
        shared = [t for t in dataset.techniques if t in match.techniques]
        if shared:
            return Fit(template, 0, f"for {title(shared[0])}")
        if dataset.format and dataset.format in match.formats:
            return Fit(template, 1, f"reads {dataset.format} files")
    if proposal and proposal.instrument in match.instruments:
        return Fit(template, 2, f"made for {proposal.instrument}")
    if not (match.techniques or match.formats or match.instruments):
        return Fit(template, 2, "for any data")
    return Fit(template, 3, "")


def parameter_values(
    manifest: Manifest, known: Mapping[str, str | None]
) -> tuple[dict[str, Scalar], list[str]]:
    """Values for the notebook's parameters, and the names that could not be filled.

    ``known`` maps sources (``dataset.path``) to values; a missing one falls back to the default.
    """
    values: dict[str, Scalar] = {}
    missing: list[str] = []
    for name, parameter in manifest.parameters.items():
        value: Any = known.get(parameter.source) if parameter.source else None
        if value is None:
            value = parameter.default
        if value is not None:
            values[name] = value
        elif parameter.source:
            missing.append(name)
    return values, missing
