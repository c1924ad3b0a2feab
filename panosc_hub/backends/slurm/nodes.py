"""What the cluster has: one cached look at nodes, partitions and reservations for all pages."""

from __future__ import annotations

import asyncio
import grp
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from traitlets import Float

from ...core.profiles import Profile
from ...errors import BackendUnavailable, SiteError
from ..base import Availability
from .client import SlurmClient
from .fit import fit
from .limits import offer
from .look import Look
from .options import SlurmOptions, known_options
from .parse import Garbled
from .parse_nodes import (
    NODE_FORMAT,
    Reservation,
    parse_nodes,
    parse_partitions,
    parse_reservations,
)
from .renewed import Renewed

_GROUPS_PATIENCE = 10.0
"""Seconds for the machine's group database, which may be a directory far away."""


class NodeWatcher(Renewed):
    """The shared snapshot of what one Slurm has; a stale one is renewed in the background."""

    interval = Float(
        60,
        min=0.1,
        config=True,
        help="""
        Seconds for which one look at nodes, partitions and reservations is good. Pages show its
        age, so a longer interval only makes "n free" older, never wrong without notice.
        """,
    )

    def __init__(
        self, client: SlurmClient, defaults: Mapping[str, str] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(client, **kwargs)
        self._defaults = defaults or {}
        self.look: Look | None = None
        """The last good look; None if there never was one."""

        self._kept: dict[str, tuple[Look, dict[int, tuple[Profile, Any]]]] = {}
        self._offers: dict[int, tuple[Profile, Profile | str]] = {}

    def options(self, profile: Profile) -> SlurmOptions:
        """The profile's options over the site's ``req_*``. Raises :class:`SiteError`."""
        return known_options(profile.options, self._defaults)

    def snapshot(self) -> Look | None:
        """The last good look, None if there never was one. Returns at once."""
        self.renew()
        return self.look

    async def _look(self) -> None:
        nodes, partitions, reservations = await asyncio.gather(
            self._ask(parse_nodes, "sinfo", "--Node", "--all", f"--Format={NODE_FORMAT}"),
            self._ask(parse_partitions, "scontrol", "--oneliner", "--all", "show", "partition"),
            self._ask(parse_reservations, "scontrol", "--oneliner", "show", "reservation"),
        )
        for found in (nodes, partitions, reservations):
            if isinstance(found, Exception):
                self.client.complain(self.log, f"A look at what Slurm has failed: {found}")
        if isinstance(nodes, Exception):
            self.trouble = str(nodes)
            return
        # Without limits and reservations the nodes still say what there is.
        self.look = Look(
            nodes,
            None if isinstance(partitions, Exception) else partitions,
            None if isinstance(reservations, Exception) else await _with_members(reservations),
        )
        self.looked, self.trouble = time.time(), ""

    async def _ask(self, parse: Callable[[str], Any], command: str, *arguments: str) -> Any:
        try:
            return parse(await self.client.query(command, *arguments))
        except (BackendUnavailable, Garbled) as error:
            return error

    async def address_of(self, name: str) -> str:
        """Slurm's NodeAddr of a node, the name itself if Slurm does not tell."""
        for again in (False, True):
            if again:
                await self.refresh()
            for row in self.look.rows if self.look else ():
                if row.name == name and row.address:
                    return row.address
        return name

    def availability(self, profile: Profile) -> Availability:
        """What the last look says about ``profile``."""
        look = self.snapshot()
        try:
            options = self.options(profile)
        except SiteError as error:
            return Availability(False, None, error.sentence)
        if look is None:
            if self.trouble:
                return Availability(False, None, self.trouble)
            return Availability(True, None, "asking SLURM …")
        if self.trouble:
            # An old look says nothing of now: offer the profile, claim nothing.
            return Availability(False, None, self.trouble, self.looked)
        found: Availability = self._once(
            "fit", profile, look, lambda: fit(profile, options, look, self.looked or time.time())
        )
        return Availability(found.usable, found.free, found.words, self.looked, found.idle)

    def offered(self, profile: Profile) -> Profile | str:
        """``profile`` within what there is, as the last look has it; a text says why not."""
        look = self.snapshot()
        try:
            options = self.options(profile)
        except SiteError as error:
            return error.sentence
        if look is None:
            return profile
        found: Profile | str = self._once(
            "offer", profile, look, lambda: self._offer(profile, options, look)
        )
        return found

    def _offer(self, profile: Profile, options: SlurmOptions, look: Look) -> Profile | str:
        """The same object as long as it is equal: pages keep what they made of it."""
        fresh = offer(profile, options, look)
        known = self._offers.get(id(profile))
        if known is not None and known[0] is profile and known[1] == fresh:
            return known[1]
        if len(self._offers) > 1000:
            self._offers.clear()  # of sites that have changed since
        self._offers[id(profile)] = (profile, fresh)
        return fresh

    def _once(self, what: str, profile: Profile, look: Look, compute: Callable[[], Any]) -> Any:
        """Computed once per look: it reads every node, and every page asks again."""
        kept = self._kept.get(what)
        if kept is None or kept[0] is not look:
            kept = self._kept[what] = (look, {})
        known = kept[1].get(id(profile))
        # The entry holds the profile, so its id cannot have become another one's.
        if known is None or known[0] is not profile:
            known = kept[1][id(profile)] = (profile, compute())
        return known[1]


async def _with_members(
    reservations: Mapping[str, Reservation],
) -> Mapping[str, Reservation] | None:
    """The members of the UNIX groups that a reservation lets in or keeps out, as its users."""
    if not any(r.groups for r in reservations.values()):
        return reservations
    try:
        async with asyncio.timeout(_GROUPS_PATIENCE):
            return await asyncio.to_thread(
                lambda: {name: _expanded(r) for name, r in reservations.items()}
            )
    except TimeoutError:
        return None


def _expanded(reservation: Reservation) -> Reservation:
    users = set(reservation.users)
    for group in reservation.groups:
        sign = "-" if group.startswith("-") else ""
        try:
            members = grp.getgrnam(group.removeprefix("-")).gr_mem
        except KeyError:
            members = []
        # A group that nobody is in must not read as "everybody".
        users |= {sign + name for name in members} or {f"{sign}@{group}"}
    return replace(reservation, users=frozenset(users))
