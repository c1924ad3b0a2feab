"""What a selection may ask of one profile: its answers held against what is offered now. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from ..errors import Problem
from .access import utc_now
from .choices import FIELD, Menu, Option
from .environments import Environment, path_allowed
from .identity import Person
from .profiles import Profile
from .selection import Selection
from .site import Site

GPU, PATH = "gpu", "path"
"""Answers that are no backend's: the type of GPU, and the path of an environment of one's own."""


def _as_it_is(profile: Profile) -> Profile | str:
    return profile


@dataclass(frozen=True, slots=True)
class Moment:
    """What the backends say at this moment. The defaults know nothing and allow all.

    ``offered`` is the profile with its limits of now, or why nothing of it can be had; ``menus``
    is what a person may choose in it besides amounts; ``own_paths`` is whether environments of
    one's own may be used; ``clock`` tells the time, by which windows open and close.
    """

    present: Callable[[Profile], bool] = field(default=lambda profile: True)
    offered: Callable[[Profile], Profile | str] = field(default=_as_it_is)
    menus: Callable[[Profile, Person], Iterable[Menu]] = field(default=lambda profile, person: ())
    own_paths: Callable[[Profile], bool] = field(default=lambda profile: True)
    clock: Callable[[], datetime] = utc_now

    def environments(self, site: Site, profile: Profile) -> tuple[Environment, ...]:
        """The environments of ``profile``; without ``paths`` where none are taken."""
        offered = site.environments_of(profile)
        if self.own_paths(profile):
            return offered
        return tuple(e.model_copy(update={"paths": ()}) if e.paths else e for e in offered)

    def all_menus(self, profile: Profile, person: Person) -> tuple[Menu, ...]:
        """The menus of an *offered* profile: the type of GPU first, then the backend's."""
        own = gpu_menu(profile)
        others = (m for m in self.menus(profile, person) if m.name not in (GPU, PATH))
        return (*((own,) if own else ()), *others)


def gpu_menu(profile: Profile) -> Menu | None:
    """The types of GPU to choose from, if there are several."""
    offer = profile.gpus
    if offer is None or len(offer.types) < 2 or not offer.count.max:
        return None
    options = (
        Option(kind, note=f"at most {offer.most[kind]}" if kind in offer.most else "")
        for kind in offer.types
    )
    return Menu(GPU, "GPU type", tuple(options), offer.types[0])


def path_problem(environment: Environment, path: str, person: Person) -> str:
    """Empty when ``person`` may run what is at ``path`` in ``environment``, else why not."""
    if not environment.paths:
        return f"cannot be used with {environment.title}"
    if not path_allowed(path, environment.paths, person.name):
        return f"{path} is not where your own environments may be: " + ", ".join(
            own_paths(environment.paths, person)
        )
    return ""


def own_paths(patterns: Iterable[str], person: Person) -> tuple[str, ...]:
    """The patterns as ``person`` reads them, with their own account in place of ``{username}``."""
    return tuple(pattern.replace("{username}", person.name) for pattern in patterns)


def wrong_answers(
    selection: Selection,
    profile: Profile,
    environment: Environment,
    menus: Iterable[Menu],
    person: Person,
) -> list[Problem]:
    """A problem for each answer that ``profile`` does not offer to ``person`` now."""
    by_name = {menu.name: menu for menu in menus}
    problems = []
    for name, value in selection.choices:
        menu = by_name.get(name)
        if name == PATH:
            why = path_problem(environment, value, person)
        elif name == GPU:
            continue  # ``resolve`` judges it with the count
        elif menu is None:
            why = f"is not to be chosen on {profile.title}"
        elif menu.offers(value):
            continue
        else:
            why = f"{value} is not offered on {profile.title}{_there(menu)}"
        if why:
            problems.append(Problem(FIELD + name, why))
    return problems


def _there(menu: Menu) -> str:
    listed = ", ".join(option.value for option in menu.options[:20] if option.value)
    found = f"; there is {listed}" if listed else ""
    return found + (f"; you may type one like {menu.typed}" if menu.typed else "")


def said(selection: Selection, environment: Environment, menus: Iterable[Menu]) -> tuple[str, ...]:
    """What was chosen besides amounts, in words; defaults are not told, nor the type of GPU,
    which is told with the amounts."""
    by_name = {menu.name: menu for menu in menus}
    own = selection.environment is not None or selection.chosen(PATH)
    found = [selection.chosen(PATH) or environment.title] if own else []
    for name, value in selection.choices:
        if name in by_name and name != GPU:
            found.append(f"{by_name[name].title} {by_name[name].text(value)}")
    return tuple(found)
