"""Profiles, environments and limits: what may be asked for, and by whom.

The models are the ``profiles`` and ``environments`` parts of ``site.yaml``. Memory is written
``8G`` and held in bytes, times are written ``4h`` and held in seconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from ..errors import Problem
from .identity import Person
from .quantities import Gpus, format_duration, format_memory, parse_duration, parse_memory

IDENTIFIER = r"[a-z0-9][a-z0-9-]{0,62}"
_GPU_TYPE = r"[A-Za-z0-9][A-Za-z0-9_.\-/]{0,63}"
"""Also MIG slices, which start with a digit: ``1g.10gb``."""


class Model(BaseModel):
    """Strict: an unknown key is a mistake that the admin must hear of."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _memory(value: Any) -> Any:
    return parse_memory(value) if isinstance(value, str) else value


def _duration(value: Any) -> Any:
    return parse_duration(value) if isinstance(value, str) else value


def _identifier(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(IDENTIFIER, value):
        raise ValueError(
            f"{value[:40]!r} is not an id; use lower-case letters, digits and '-', "
            "starting with a letter or digit, at most 63"
        )
    return value


Bytes = Annotated[int, BeforeValidator(_memory), Field(gt=0)]
Seconds = Annotated[int, BeforeValidator(_duration), Field(gt=0)]
Identifier = Annotated[str, BeforeValidator(_identifier)]


class Range(Model):
    """A choice within limits; a bare value in ``site.yaml`` means fixed."""

    min: int = Field(ge=0)
    max: int = Field(ge=0)
    default: int = Field(ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if not self.min <= self.default <= self.max:
            raise ValueError("needs min <= default <= max")
        return self

    @property
    def fixed(self) -> bool:
        """Nothing to choose."""
        return self.min == self.max


def _range(convert: Any) -> Any:
    def build(value: Any) -> Any:
        if isinstance(value, dict):
            body = {k: convert(v) for k, v in value.items()}
            body.setdefault("min", 1)
            body.setdefault("default", body["min"])
            return body
        if isinstance(value, (int, str)) and not isinstance(value, bool):
            fixed = convert(value)
            return {"min": fixed, "max": fixed, "default": fixed}
        return value

    return build


def _integer(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isdecimal() else value


CpuRange = Annotated[Range, BeforeValidator(_range(_integer))]
MemoryRange = Annotated[Range, BeforeValidator(_range(_memory))]
DurationRange = Annotated[Range, BeforeValidator(_range(_duration))]


class GpuOffer(Model):
    """GPUs of one type (empty: any), ``count`` as a number or a range; min 0 makes it optional."""

    type: str = Field(default="", pattern=rf"^({_GPU_TYPE})?$")
    count: CpuRange = Field(default_factory=lambda: Range(min=1, max=1, default=1))


class Allow(Model):
    """Who may use it: any match is enough; nothing given means everybody."""

    groups: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    admins: bool = False
    otherwise: str = Field(
        default="not for your group: ask your local contact",
        max_length=200,
        description="What the greyed profile says to the others.",
    )

    def permits(self, person: Person) -> bool:
        """Whether ``person`` is among them."""
        if not (self.groups or self.users or self.admins):
            return True
        return (
            person.name in self.users
            or bool(person.groups.intersection(self.groups))
            or (self.admins and person.admin)
        )


class Environment(Model):
    """What software a session runs with. Each backend reads its own key."""

    id: Identifier
    title: str = Field(min_length=1, max_length=80)
    backends: tuple[str, ...] = ()
    command: tuple[str, ...] = Field(
        default=("jupyterhub-singleuser",),
        min_length=1,
        description="argv of the single-user server.",
    )
    prefix: str | None = Field(
        default=None, pattern=r"^/[^\x00-\x1f]*$", description="conda or venv prefix."
    )
    modules: tuple[str, ...] = ()
    apptainer: str | None = Field(default=None, pattern=r"^/[^\x00-\x1f]*$")
    image: str | None = Field(default=None, max_length=512, description="Container image.")
    variables: dict[str, str] = Field(default_factory=dict)


class Profile(Model):
    """One line of the spawn page's third step: a backend, resources, and who may use it."""

    id: Identifier
    title: str = Field(min_length=1, max_length=80)
    description: str = Field(default="", max_length=400)
    backend: Identifier
    cpus: CpuRange = Field(default_factory=lambda: Range(min=1, max=1, default=1))
    memory: MemoryRange
    gpus: GpuOffer | None = None
    walltime: DurationRange | None = None
    environments: tuple[Identifier, ...] = ()
    allow: Allow = Field(default_factory=Allow)
    start_timeout: Seconds | None = Field(
        default=None, description="How long a start may take; the backend's own limit if not given."
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="The backend's own keys (Slurm partition, Kubernetes node selector …).",
    )


@dataclass(frozen=True, slots=True)
class Resources:
    """What one session gets. ``memory`` in bytes, ``walltime`` in seconds (None: no end)."""

    cpus: int
    memory: int
    gpus: Gpus
    walltime: int | None


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asked of a profile; None is "the profile's default"."""

    cpus: int | None = None
    memory: int | None = None
    gpus: int | None = None
    walltime: int | None = None


def resolve(profile: Profile, wish: Wish) -> tuple[Resources, list[Problem]]:
    """Resources of ``profile`` for ``wish``, with a problem for every limit broken."""
    problems: list[Problem] = []

    def pick(field: str, asked: int | None, offer: Range | None, show: Any = str) -> int | None:
        if offer is None:
            if asked:
                problems.append(Problem(field, f"{profile.title} does not offer a choice of it"))
            return None
        if asked is None:
            return offer.default
        if not offer.min <= asked <= offer.max:
            allowed = (
                f"is fixed at {show(offer.min)}"
                if offer.fixed
                else f"must be between {show(offer.min)} and {show(offer.max)}"
            )
            problems.append(
                Problem(field, f"{show(asked)} asked, but on {profile.title} it {allowed}")
            )
            return offer.default
        return asked

    gpu_offer = profile.gpus
    count = pick("gpus", wish.gpus, gpu_offer.count if gpu_offer else None)
    resources = Resources(
        cpus=pick("cpus", wish.cpus, profile.cpus) or 1,
        memory=pick("memory", wish.memory, profile.memory, format_memory) or profile.memory.default,
        gpus=Gpus(gpu_offer.type if gpu_offer and count else "", count or 0),
        walltime=pick("walltime", wish.walltime, profile.walltime, format_duration),
    )
    return resources, problems


class Requirements(Model):
    """What a template needs (its manifest's ``requires``)."""

    cpus: int = Field(default=1, ge=0, le=4096)
    memory: Annotated[int, BeforeValidator(_memory), Field(ge=0)] = 0
    gpus: int = Field(default=0, ge=0, le=64)
    walltime: Annotated[int, BeforeValidator(_duration), Field(ge=0)] = 0


def why_not_fitting(profile: Profile, needs: Requirements) -> str:
    """Empty when ``profile`` can satisfy ``needs``, else the reason in words."""
    if needs.cpus > profile.cpus.max:
        return f"the notebook needs {needs.cpus} CPUs"
    if needs.memory > profile.memory.max:
        return f"the notebook needs {format_memory(needs.memory)} memory"
    if needs.gpus > (profile.gpus.count.max if profile.gpus else 0):
        return f"the notebook needs {needs.gpus} GPU"
    if profile.walltime and needs.walltime > profile.walltime.max:
        return f"the notebook needs {format_duration(needs.walltime)}"
    return ""
