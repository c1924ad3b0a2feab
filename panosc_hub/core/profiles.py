"""Profiles and limits: what may be asked for; by whom and when is in :mod:`.access`.

The models are the ``profiles`` part of ``site.yaml``; a backend tightens their limits to what it
has now (:func:`tighten`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from ..errors import Problem
from .access import Allow
from .environments import Environment
from .gpus import GpuOffer, cut_gpus
from .quantities import Gpus, format_duration, format_memory, show_duration, show_memory
from .ranges import (
    IDENTIFIER,
    OPEN,
    CountRange,
    DurationRange,
    Identifier,
    MemoryRange,
    Model,
    Range,
    Seconds,
    to_bytes,
    to_seconds,
)

__all__ = [
    "IDENTIFIER",
    "OPEN",
    "Allow",
    "Environment",
    "GpuOffer",
    "Identifier",
    "Limits",
    "Model",
    "Profile",
    "Range",
    "Requirements",
    "Resources",
    "Wish",
    "resolve",
    "tighten",
    "why_not_fitting",
]


class Profile(Model):
    """One line of the spawn page's third step: a backend, resources, and who may use it."""

    id: Identifier
    title: str = Field(min_length=1, max_length=80)
    description: str = Field(default="", max_length=400)
    backend: Identifier
    cpus: CountRange = Field(default_factory=lambda: Range(min=1, max=1, default=1))
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

    @property
    def open_ranges(self) -> tuple[str, ...]:
        """Names of the ranges whose limit is left to the backend."""
        ranges = {
            "cpus": self.cpus,
            "memory": self.memory,
            "gpus.count": self.gpus.count if self.gpus else None,
            "walltime": self.walltime,
        }
        return tuple(name for name, offer in ranges.items() if offer and offer.open)


GPU_TYPE = "choice-gpu"
"""The field of a form that says which type of GPU."""


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
    gpu_type: str | None = None


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
    kind, found = _gpu_type(profile, wish.gpu_type, count or 0)
    problems += found
    resources = Resources(
        cpus=pick("cpus", wish.cpus, profile.cpus) or 1,
        memory=pick("memory", wish.memory, profile.memory, format_memory) or profile.memory.default,
        gpus=Gpus(kind, count or 0),
        walltime=pick("walltime", wish.walltime, profile.walltime, format_duration),
    )
    return resources, problems


def _gpu_type(profile: Profile, asked: str | None, count: int) -> tuple[str, list[Problem]]:
    offer = profile.gpus
    types = offer.types if offer else ()
    if asked is not None and asked not in types:
        there = ", ".join(filter(None, types)) or "none to choose"
        what = f"{asked} is not offered on {profile.title}; there is {there}"
        return (types[0] if count else ""), [Problem(GPU_TYPE, what)]
    if offer is None or not count:
        return "", []
    if asked is None:
        # A count that only another type has is an answer, too.
        return next((kind for kind in types if count <= offer.largest(kind)), types[0]), []
    if count > offer.largest(asked):
        what = f"{count} asked, but of {asked} there are at most {offer.largest(asked)} together"
        return asked, [Problem("gpus", what)]
    return asked, []


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that one session can get of each; None is "not known" or "no limit".

    ``memory`` in bytes, ``walltime`` in seconds. ``gpus`` is by type, with ``""`` for the most of
    any type together; shares of GPUs are under ``shard:`` and the type.
    """

    cpus: int | None = None
    memory: int | None = None
    gpus: Mapping[str, int] | None = None
    walltime: int | None = None


def tighten(profile: Profile, limits: Limits) -> Profile | str:
    """``profile`` with its ranges cut to ``limits``; a text says why nothing of it fits.

    An open range whose limit is not known ends at its default: nothing is promised beyond what
    the site itself names. A profile that needs no change comes back itself.
    """
    changes: dict[str, Any] = {}
    for name, limit, show in (
        ("cpus", limits.cpus, lambda n: f"{n} CPU{'' if n == 1 else 's'}"),
        ("memory", limits.memory, lambda n: f"{show_memory(n)} memory"),
        ("walltime", limits.walltime, show_duration),
    ):
        offer = getattr(profile, name)
        if offer is None:
            continue
        cut = offer.cut(limit)
        if cut is None:
            return f"{show(offer.min)} asked for, {show(limit or 0)} possible now"
        if cut is not offer:
            changes[name] = cut
    if profile.gpus is not None:
        gpus = cut_gpus(profile.gpus, limits.gpus)
        if isinstance(gpus, str):
            return gpus
        if gpus is not profile.gpus:
            changes["gpus"] = gpus
    return profile.model_copy(update=changes) if changes else profile


class Requirements(Model):
    """What a template needs (its manifest's ``requires``)."""

    cpus: int = Field(default=1, ge=0, le=4096)
    memory: Annotated[int, BeforeValidator(to_bytes), Field(ge=0)] = 0
    gpus: int = Field(default=0, ge=0, le=64)
    walltime: Annotated[int, BeforeValidator(to_seconds), Field(ge=0)] = 0


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
