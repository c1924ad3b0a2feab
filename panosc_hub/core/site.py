"""The schema of ``site.yaml``: facility content, checked as one piece.

Wiring (classes, URLs, secrets) lives in ``jupyterhub_config.py``; nothing here is secret.
"""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from .profiles import Environment, Identifier, Model, Profile
from .proposals import DEFAULT_FIELD, Area, Layout, Mode, Proposal


class FacilityInfo(Model):
    """What pages say about the facility."""

    id: Identifier
    title: str = Field(min_length=1, max_length=80)
    support: str = Field(
        default="",
        max_length=200,
        pattern=r"^(https?://\S+|[^\s@:/]+@[^\s@]+|)$",
        description="Mail address or http(s) URL shown when something fails.",
    )


class AreaSpec(Model):
    """Where one area of a proposal is, and whether sessions may write to it."""

    path: str = Field(min_length=2, max_length=500)
    mode: Mode = Mode.READ_ONLY


class CatalogueSpec(Model):
    """Which catalogue answers; ``kind: static`` reads ``file``, ``none`` offers no proposals."""

    kind: Literal["none", "static"] = "none"
    file: str | None = None

    @model_validator(mode="after")
    def _file_given(self) -> CatalogueSpec:
        if self.kind == "static" and not self.file:
            raise ValueError("kind: static needs 'file: proposals.yaml'")
        return self


class TemplateSource(Model):
    """A directory with one folder per template; earlier sources win over later ones."""

    path: str = Field(min_length=1, max_length=500)
    title: str = ""


class Site(Model):
    """The whole of ``site.yaml``."""

    facility: FacilityInfo
    variables: dict[str, str] = Field(
        default_factory=dict, description="Values for {name} in paths, for example a data root."
    )
    fields: dict[str, str] = Field(
        default_factory=dict,
        description="A regular expression per layout field; the default allows plain names.",
    )
    areas: dict[Identifier, AreaSpec] = Field(default_factory=dict)
    catalogue: CatalogueSpec = Field(default_factory=CatalogueSpec)
    templates: tuple[TemplateSource, ...] = ()
    environments: tuple[Environment, ...] = Field(min_length=1)
    profiles: tuple[Profile, ...] = Field(min_length=1)

    @field_validator("fields")
    @classmethod
    def _expressions(cls, value: dict[str, str]) -> dict[str, str]:
        for name, pattern in value.items():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{name}: not a regular expression: {error}") from None
        return value

    @model_validator(mode="after")
    def _references(self) -> Site:
        problems: list[str] = []
        for what, items in (("profile", self.profiles), ("environment", self.environments)):
            ids = [item.id for item in items]
            problems += [
                f"{what} id {i!r} is used twice"
                for i in sorted({i for i in ids if ids.count(i) > 1})
            ]
        known = {e.id for e in self.environments}
        for profile in self.profiles:
            problems += [
                f"profile {profile.id}: environment {name!r} is not defined; "
                f"defined are {', '.join(sorted(known))}"
                for name in profile.environments
                if name not in known
            ]
        for name, spec in self.areas.items():
            try:
                self.layout(name, spec)
            except ValueError as error:
                problems.append(str(error))
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def expand(self, text: str) -> str:
        """Replace the site's own variables, leaving layout fields alone."""
        for name, value in self.variables.items():
            text = text.replace("{" + name + "}", value)
        return text

    def layout(self, name: str, spec: AreaSpec) -> Layout:
        """The layout of one area; raises ``ValueError`` with what to write instead."""
        patterns = {"proposal": DEFAULT_FIELD, "instrument": DEFAULT_FIELD, **self.fields}
        return Layout(name, self.expand(spec.path), spec.mode, patterns)

    def areas_of(self, proposal: Proposal) -> tuple[Area, ...]:
        """All areas of ``proposal``; raises ``ValueError`` if it does not fit the layout."""
        return tuple(self.layout(n, s).resolve(proposal) for n, s in self.areas.items())

    def profile(self, profile_id: str) -> Profile | None:
        """The profile of that id, if there is one."""
        return next((p for p in self.profiles if p.id == profile_id), None)

    def environments_of(self, profile: Profile) -> tuple[Environment, ...]:
        """The environments that ``profile`` offers, the default first."""
        chosen = [
            e
            for e in self.environments
            if (not profile.environments or e.id in profile.environments)
            and (not e.backends or profile.backend in e.backends)
        ]
        if profile.environments:
            chosen.sort(key=lambda e: profile.environments.index(e.id))
        return tuple(chosen)
