"""The schema of ``site.yaml``: facility content, checked as one piece.

Wiring (classes, URLs, secrets) lives in ``jupyterhub_config.py``; nothing here is secret.
"""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from .access import Beamtime, Zone
from .identity import Person
from .profiles import Environment, Identifier, Model, Profile
from .proposals import Area, Layout, Mode, Proposal
from .references import expand, layout, references


class FacilityInfo(Model):
    """What pages say about the facility."""

    id: Identifier
    title: str = Field(min_length=1, max_length=80)
    support: str = Field(
        default="",
        max_length=200,
        description="Mail address or http(s) URL shown when something fails.",
    )

    zone: Zone = Field(default="UTC", description="Time zone in which days begin and end.")

    @field_validator("support")
    @classmethod
    def _address(cls, value: str) -> str:
        if not re.fullmatch(r"https?://\S+|[^\s@:/]+@[^\s@]+|", value):
            raise ValueError("must be a mail address, or a URL with https://")
        return value


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

    @model_validator(mode="after")
    def _fits_together(self) -> Site:
        # A file that is read is told each of these with its line; see load_site.
        wrong = [
            f"{'.'.join(map(str, place))}: {told}" for place, told in references(self.model_dump())
        ]
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    def expand(self, text: str) -> str:
        """Replace the site's own variables, leaving layout fields alone."""
        return expand(text, self.variables)

    def layout(self, name: str, spec: AreaSpec) -> Layout:
        """The layout of one area; raises ``ValueError`` with what to write instead."""
        return layout(name, spec.path, spec.mode, self.variables, self.fields)

    def areas_of(self, proposal: Proposal) -> tuple[Area, ...]:
        """All areas of ``proposal``; raises ``ValueError`` if it does not fit the layout."""
        return tuple(self.layout(n, s).resolve(proposal) for n, s in self.areas.items())

    @property
    def names_roles(self) -> bool:
        """Whether a profile is for roles of the Hub; else nobody need ask for them."""
        return any(p.allow.roles for p in self.profiles)

    def beamtimes(self, person: Person) -> dict[str, Beamtime]:
        """By id, the profiles that ``person`` may use during a beam time only."""
        found = ((p.id, p.allow.beamtime_for(person)) for p in self.profiles)
        return {name: only for name, only in found if only is not None}

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
