"""After a start that took too long: the profile that would start now, and the form that says so.

Only positive evidence counts: a profile is proposed when the last look found room for it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ..backends.base import Availability
from ..core.choices import Menu
from ..core.identity import Person
from ..core.policy import Moment
from ..core.profiles import Profile, Requirements, Resources, resolve, why_not_fitting
from ..core.selection import Selection
from ..core.site import Site
from ..errors import BackendError, PanoscError
from .offers import RESOURCES
from .view import Asked

RECENT = 3600.0
"""Seconds for which the form still tells of a start that was given up."""


def starts_now(
    site: Site,
    person: Person,
    looks: Mapping[str, Availability],
    given_up: Profile,
    resources: Resources,
    needs: Requirements | None = None,
    moment: Moment | None = None,
) -> Profile | None:
    """A profile, as it is offered now, open to ``person`` with room for such a session, or None.

    One that offers all of ``resources`` is preferred; else one with as many GPUs that satisfies
    what the notebook ``needs``.
    """
    found: Profile | None = None
    now = moment or Moment()
    told = now.offered
    for known in site.profiles:
        look = looks.get(known.id)
        if known.id == given_up.id or look is None or not (look.usable and look.free):
            continue
        profile = told(known)
        if isinstance(profile, str):
            continue
        gpus = profile.gpus.count.max if profile.gpus else 0
        if gpus < resources.gpus.count or not _open(profile, person, now):
            continue
        if needs is not None and why_not_fitting(profile, needs):
            continue
        if _offers(profile, resources):
            return profile
        found = found or profile
    return found


def _open(profile: Profile, person: Person, moment: Moment) -> bool:
    allow = profile.allow
    # Whether a beam time is now only the catalogue can tell, which is not asked here.
    return not allow.why_not(person, moment.clock()) and allow.beamtime_for(person) is None


def _offers(profile: Profile, resources: Resources) -> bool:
    time_limit = profile.walltime.max if profile.walltime else None
    return (
        profile.cpus.max >= resources.cpus
        and profile.memory.max >= resources.memory
        and (time_limit is None or time_limit >= (resources.walltime or 0))
    )


def adapted(selection: Selection, profile: Profile, menus: Iterable[Menu] = ()) -> Selection:
    """``selection`` on another profile; what it does not offer becomes its own."""
    by_name = {menu.name: menu for menu in menus}
    kept = tuple(
        (name, value)
        for name, value in selection.choices
        if name in by_name and by_name[name].offers(value)
    )
    moved = replace(selection, profile=profile.id, environment=None, choices=kept)
    _, problems = resolve(profile, moved.wish)
    dropped: dict[str, Any] = {p.field: None for p in problems if p.field in RESOURCES}
    return replace(moved, **dropped)


def advise(spawner: Any, error: PanoscError) -> PanoscError:
    """A time-out with the profile that would start now, which the form will tell of, too."""
    if error.reason != "timeout":
        return error
    choice = spawner.choice
    spawner.state.summary["gave_up"] = time.time()
    profile = starts_now(
        spawner.facility.site,
        spawner.person(),
        spawner.availability(),
        choice.profile,
        choice.resources,
        choice.template.manifest.requires if choice.template else None,
        spawner.moment(),
    )
    if profile is None:
        return error
    sentence = f"{error.sentence} {profile.title} would start now."
    return BackendError(sentence, reason=error.reason)


def after_giving_up(
    spawner: Any, remembered: Selection, looks: Mapping[str, Availability]
) -> tuple[Asked, str] | None:
    """What the form proposes after a start of this server was given up, and why."""
    state: Any = getattr(spawner, "state", None)
    if state is None or state.active:
        return None
    gave_up = state.summary.get("gave_up")
    if not isinstance(gave_up, (int, float)) or not 0 <= time.time() - gave_up < RECENT:
        return None
    site, moment, person = spawner.facility.site, spawner.moment(), spawner.person()
    given_up = site.profile(remembered.profile) if remembered.profile else None
    template = next((t for t in spawner.facility.templates() if t.id == remembered.template), None)
    if given_up is None:
        return None
    resources, _ = resolve(given_up, remembered.wish)
    needs = template.manifest.requires if template else None
    profile = starts_now(site, person, looks, given_up, resources, needs, moment)
    if profile is None:
        return Asked(), state.ended
    notice = f"{state.ended} {profile.title} would start now and is chosen."
    moved = adapted(remembered, profile, moment.all_menus(profile, person))
    return Asked(moved, explicit=True), notice
