"""What each profile offers, as the page shows it: the part that is everybody's. Pure.

It is computed once for a :class:`Site` and the limits that the backends tell, and kept until one
of them changes; what depends on the person and on the last look is added by :mod:`.view`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jinja2.utils import htmlsafe_json_dumps

from ..core.policy import Moment
from ..core.profiles import Limits, Profile, Range, Wish, tighten, why_not_fitting
from ..core.quantities import format_duration, format_memory
from ..core.site import Site
from ..core.templates import Template
from . import words

_FEW = 12
_MEMORY = tuple(2**n * 2**30 for n in range(12))
_WALLTIME = tuple(
    int(h * 3600) for h in (0.25, 0.5, 1, 2, 3, 4, 6, 8, 10, 12, 18, 24, 36, 48, 72, 96, 120, 168)
)
_COUNTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)

NO_WISH = Wish()
RESOURCES = ("cpus", "memory", "gpus", "walltime")


@dataclass(frozen=True, slots=True)
class Stop:
    """One position of a slider: the amount, what the form sends, what people read."""

    amount: int
    value: str
    label: str


@dataclass(frozen=True, slots=True)
class Scale:
    """The positions of one resource; a single one means that there is nothing to choose."""

    stops: tuple[Stop, ...]
    default: int
    standard: int
    """The facility's default; ``default`` differs from it when the user wished something."""

    @property
    def fixed(self) -> bool:
        """Nothing to choose."""
        return len(self.stops) == 1

    @property
    def words(self) -> str:
        """The default, or the limit where there is a choice."""
        return self.stops[self.default].label if self.fixed else f"up to {self.stops[-1].label}"

    def to_dict(self) -> dict[str, Any]:
        """For the page's script."""
        return {
            "stops": [[s.amount, s.value, s.label] for s in self.stops],
            "default": self.default,
            "standard": self.standard,
        }


@dataclass(frozen=True, slots=True, eq=False)
class Offer:
    """One profile, ready to be shown; equal only to itself, so that what was made of it is kept
    with it."""

    profile: Profile
    scales: dict[str, Scale]
    environments: tuple[tuple[str, str], ...]
    paths: dict[str, tuple[str, ...]]
    """By environment: the patterns of paths that users may give themselves."""

    json: dict[str, Any]
    text: str
    """The same as JSON that may stand in HTML."""

    cpus: str
    memory: str
    gpus: str
    walltime: str
    nothing: str = ""
    """Why nothing of it can be had now; its limits are the site's then."""

    @property
    def all_paths(self) -> tuple[str, ...]:
        """The patterns of all its environments."""
        return tuple(dict.fromkeys(path for paths in self.paths.values() for path in paths))

    @property
    def limits(self) -> dict[str, dict[str, str]]:
        """For portals: smallest, largest and usual amount of each resource, as they are sent."""
        return {
            name: {
                "min": scale.stops[0].value,
                "max": scale.stops[-1].value,
                "default": scale.stops[scale.standard].value,
            }
            for name, scale in self.scales.items()
        }

    @property
    def summary(self) -> str:
        """The defaults in words, for the last step."""
        scales = self.scales
        parts = [scales[n].stops[scales[n].default] for n in RESOURCES if n in scales]
        return ", ".join(p.label for p in parts if p.value != "0")


@dataclass(frozen=True, slots=True)
class Offers:
    """All profiles of a site, and why a template does not fit some of them."""

    by_id: dict[str, Offer]
    misfits: dict[str, dict[str, str]]


def _scale(
    offer: Range,
    usual: Iterable[int],
    value: Callable[[int], str],
    label: Callable[[int], str],
    wish: int | None,
) -> Scale:
    start = wish if wish is not None and offer.min <= wish <= offer.max else offer.default
    amounts = {offer.min, offer.max, offer.default, start}
    amounts |= {n for n in usual if offer.min < n < offer.max}
    ordered = sorted(amounts)
    stops = tuple(Stop(n, value(n), label(n)) for n in ordered)
    return Scale(stops, ordered.index(start), ordered.index(offer.default))


def _counts(offer: Range) -> Iterable[int]:
    return range(offer.min, offer.max) if offer.max - offer.min <= _FEW else _COUNTS


def _scales(profile: Profile, wish: Wish) -> dict[str, Scale]:
    """The scales of ``profile``, starting at what is wished where the limits allow it."""
    cpus, memory, gpus, time = profile.cpus, profile.memory, profile.gpus, profile.walltime
    scales = {
        "cpus": _scale(cpus, _counts(cpus), str, lambda n: words.plural(n, "CPU"), wish.cpus),
        "memory": _scale(memory, _MEMORY, format_memory, words.memory, wish.memory),
    }
    if gpus:
        scales["gpus"] = _scale(
            gpus.count, _counts(gpus.count), str, lambda n: words.gpu(gpus, n), wish.gpus
        )
    if time:
        scales["walltime"] = _scale(time, _WALLTIME, format_duration, words.duration, wish.walltime)
    return scales


def offer_of(
    site: Site, profile: Profile, nothing: str = "", moment: Moment | None = None
) -> Offer:
    """How the page shows ``profile``."""
    scales = _scales(profile, NO_WISH)
    available = (moment or Moment()).environments(site, profile)
    environments = tuple((e.id, e.title) for e in available)
    paths = {e.id: e.paths for e in available if e.paths}
    gpus = scales.get("gpus")
    body = {
        "id": profile.id,
        "title": profile.title,
        "place": words.place(profile.backend),
        "scales": {name: scale.to_dict() for name, scale in scales.items()},
        "environments": environments,
        "paths": paths,
    }
    return Offer(
        profile=profile,
        scales=scales,
        environments=environments,
        paths=paths,
        nothing=nothing,
        json=body,
        text=htmlsafe_json_dumps(body),
        cpus=scales["cpus"].words,
        memory=scales["memory"].words,
        gpus=gpus.words if gpus else "",
        walltime=scales["walltime"].words if "walltime" in scales else "no time limit",
    )


def with_wish(offer: Offer, wish: Wish) -> Offer:
    """``offer`` starting at the wished amounts; a wish beyond the limits is left out."""
    if wish == NO_WISH:
        return offer
    scales = _scales(offer.profile, wish)
    body = {**offer.json, "scales": {name: scale.to_dict() for name, scale in scales.items()}}
    return replace(offer, scales=scales, json=body, text=htmlsafe_json_dumps(body))


def _misfits(
    profiles: Iterable[Profile], templates: Sequence[Template]
) -> dict[str, dict[str, str]]:
    table: dict[str, dict[str, str]] = {}
    for template in templates:
        reasons = {
            p.id: why for p in profiles if (why := why_not_fitting(p, template.manifest.requires))
        }
        if reasons:
            table[template.id] = reasons
    return table


@dataclass(frozen=True, slots=True)
class _Kept:
    site: Site
    templates: tuple[Template, ...]
    offered: tuple[Profile | str, ...]
    offers: Offers

    def answers(
        self, site: Site, templates: tuple[Template, ...], offered: tuple[Profile | str, ...]
    ) -> bool:
        if self.site is not site or len(self.templates) != len(templates):
            return False
        if any(a is not b for a, b in zip(self.templates, templates, strict=True)):
            return False
        return all(a is b or a == b for a, b in zip(self.offered, offered, strict=True))


_last: _Kept | None = None


def offers(site: Site, templates: tuple[Template, ...], moment: Moment | None = None) -> Offers:
    """The offers of ``site`` at ``moment``; kept until site, templates or limits are others."""
    global _last
    told = (moment or Moment()).offered
    offered = tuple(told(p) for p in site.profiles)
    if _last is not None and _last.answers(site, templates, offered):
        return _last.offers
    made = [_offer(site, p, now, moment) for p, now in zip(site.profiles, offered, strict=True)]
    fresh = Offers(
        {offer.profile.id: offer for offer in made},
        _misfits([offer.profile for offer in made], templates),
    )
    _last = _Kept(site, templates, offered, fresh)
    return fresh


def _offer(site: Site, profile: Profile, offered: Profile | str, moment: Moment | None) -> Offer:
    nothing = offered if isinstance(offered, str) else ""
    shown = profile if isinstance(offered, str) else offered
    closed = tighten(shown, Limits())
    return offer_of(site, shown if isinstance(closed, str) else closed, nothing, moment)
