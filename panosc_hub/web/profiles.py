"""The profiles as lines of the page's third step: usable or not, and why. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..backends.base import Availability
from ..core.choices import Menu
from ..core.identity import Person
from ..core.policy import Moment
from ..core.site import Site
from ..errors import PanoscError
from . import words
from .menus import MenuView, menu_view
from .offers import Offer, Offers


@dataclass(frozen=True, slots=True)
class ProfileView:
    """One line of step 3."""

    offer: Offer
    usable: bool
    reason: str
    free: int | None
    words: str
    idle: str = ""
    menus: tuple[Menu, ...] = ()
    checked: bool = False
    only: str = ""
    """For which proposals it is, where it is not for all."""

    def to_dict(self) -> dict[str, Any]:
        """The part that changes while the page is open."""
        return {
            "id": self.offer.profile.id,
            "usable": self.usable,
            "reason": self.reason,
            "free": self.free,
            "words": self.words,
            "idle": self.idle,
            "only": self.only,
        }


@dataclass(frozen=True, slots=True)
class Group:
    """The profiles of one backend."""

    backend: str
    title: str
    profiles: tuple[ProfileView, ...]


def profile_views(
    site: Site,
    person: Person,
    looks: Mapping[str, Availability],
    offers: Offers,
    moment: Moment | None = None,
) -> list[ProfileView]:
    """All profiles of backends that are there; those not open to ``person`` with the reason."""
    now = moment or Moment()
    clock = now.clock()
    views = []
    for profile in site.profiles:
        look = looks.get(profile.id)
        if look is None:
            continue
        offer = offers.by_id[profile.id]
        refused = profile.allow.why_not(person, clock)
        usable = not refused and look.usable and not offer.nothing
        reason = ""
        if not usable:
            reason = refused or (look.words if not look.usable else "") or offer.nothing
            reason = reason or "not available now"
        only = profile.allow.beamtime_for(person) if usable else None
        views.append(
            ProfileView(
                offer,
                usable,
                reason,
                look.free if usable else None,
                look.words if usable else "",
                words.idle(look.idle) if usable else "",
                _menus(offer, person, now) if usable else (),
                only=only.words if only else "",
            )
        )
    return views


def _menus(offer: Offer, person: Person, moment: Moment) -> tuple[Menu, ...]:
    try:
        return moment.all_menus(offer.profile, person)
    except PanoscError:
        # The page is there without them; what is chosen is judged when it is started.
        return ()


def menus_json(
    views: Iterable[ProfileView], shown: Mapping[Menu, MenuView] | None = None
) -> dict[str, Any]:
    """The menus for the page's script. Most profiles share them, so each is sent once."""
    views = tuple(views)
    known = shown_menus(views) if shown is None else shown
    numbers = {menu: n for n, menu in enumerate(known)}
    return {
        "menus": [menu.to_dict() for menu in known.values()],
        "menusOf": {v.offer.profile.id: [numbers[m] for m in v.menus] for v in views if v.menus},
    }


def shown_menus(views: Iterable[ProfileView]) -> dict[Menu, MenuView]:
    """Each menu of any profile, as it is shown."""
    shown: dict[Menu, MenuView] = {}
    for view in views:
        shown |= {menu: menu_view(menu) for menu in view.menus if menu not in shown}
    return shown


def oldest_look(looks: Mapping[str, Availability]) -> float | None:
    """Seconds since the oldest look; None when no backend looks."""
    ages = [look.age for look in looks.values() if look.age is not None]
    return max(ages, default=None)


def choose(
    views: Sequence[ProfileView], wanted: Iterable[str | None], misfits: Mapping[str, str]
) -> ProfileView | None:
    """The first wanted one that can be used and fits the notebook, else another such."""
    fitting = [v for v in views if v.usable and v.offer.profile.id not in misfits]
    for name in wanted:
        for view in fitting:
            if view.offer.profile.id == name:
                return view
    return next(iter(fitting), None) or next((v for v in views if v.usable), None)


def groups_of(views: Sequence[ProfileView]) -> tuple[Group, ...]:
    """The profiles by backend, in the order of the site."""
    backends = dict.fromkeys(v.offer.profile.backend for v in views)
    return tuple(
        Group(b, words.backend_title(b), tuple(v for v in views if v.offer.profile.backend == b))
        for b in backends
    )


def why_not(
    name: str, views: Sequence[ProfileView], misfits: Mapping[str, str], chosen: ProfileView | None
) -> str:
    """The notice about a wanted profile that is not the one chosen."""
    instead = f" {chosen.offer.profile.title} is chosen instead." if chosen else ""
    for view in views:
        if view.offer.profile.id == name:
            why = view.reason or misfits.get(name, "not available now")
            return f"{view.offer.profile.title} cannot be used: {why.rstrip('.')}.{instead}"
    return f"There is no profile {name} here.{instead}"
