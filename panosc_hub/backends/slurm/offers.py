"""What pages ask of the SLURM backend: snapshots alone, nothing here waits but :func:`look`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from traitlets.config import Config

from ...core.choices import Menu
from ...core.identity import Person
from ...core.profiles import Profile
from ...errors import SiteError
from .menus import menus
from .options import CHOOSABLE
from .shared import watchers

_PATIENCE = 25.0
"""Seconds that a command line waits; a little more than Slurm's commands may take."""


def offered(profiles: Mapping[str, Profile], config: Config) -> dict[str, Profile | str]:
    """The profiles within what Slurm has."""
    nodes = watchers(config).nodes
    return {name: nodes.offered(profile) for name, profile in profiles.items()}


def menus_for(profile: Profile, person: Person, config: Config) -> tuple[Menu, ...]:
    """What ``person`` may choose; nothing where the profile's options cannot be read."""
    if all(isinstance(profile.options.get(name, ""), str) for name in CHOOSABLE):
        return ()  # most profiles of most pages: nothing is left to the person
    shared = watchers(config)
    try:
        options = shared.nodes.options(profile)
    except SiteError:
        return ()  # ``offered`` says what is wrong
    return menus(options, shared.standing(person.name, profile, options))


async def look(config: Config) -> None:
    """Have all looks."""
    shared = watchers(config)
    await asyncio.gather(shared.nodes.at_hand(_PATIENCE), shared.accounts.at_hand(_PATIENCE))
