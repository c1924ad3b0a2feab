"""What pages ask of a Kubernetes backend: snapshots alone, nothing here waits but :func:`look`.

Where the Hub's account may not see nodes, or not the pods of others, nothing is claimed: the
profiles can be used, and how many are free is not said.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from traitlets.config import Config

from ...core.choices import Menu, Option
from ...core.identity import Person
from ...core.plan import Launch
from ...core.profiles import Profile, Wish, resolve, tighten
from ...errors import SiteError
from ..base import Availability
from .capacity import Look, capacity, need_of
from .limits import idle, limits
from .options import KubernetesOptions, known_options
from .records import Pod
from .settings import ADDED_TO, IMAGE, unclear_gpus
from .shared import Watchers, watchers
from .waiting import Waiting, names, waiting

_PATIENCE = 25.0
"""Seconds that a command line waits for the first look."""

_LASTS = 2.0
"""Seconds for which one reckoning is good although there was news since: on a large cluster
some pod changes all the time, and counting 5000 of them takes about 20 ms."""


class Board:
    """What one cluster offers, reckoned once per look for all pages."""

    def __init__(self, shared: Watchers, configured: Mapping[str, Any], config: Config) -> None:
        self.shared = shared
        self.configured = configured
        self.config = config
        self._look: Look | None = None
        self._of: tuple[float | None, ...] = ()
        self._made = -1e9
        self._kept: dict[tuple[str, int], tuple[Profile, Any]] = {}
        self._offers: dict[int, tuple[Profile, Profile | str]] = {}

    def snapshot(self) -> Look | None:
        """The last look; None if there never was one. Starts the watches at the first call."""
        pods, nodes = self.shared.pods, self.shared.nodes
        nodes.begin()
        pods.begin()
        if not nodes.synced:
            return self._look
        seen = (nodes.looked, pods.looked if pods.whole else None)
        now = time.monotonic()
        if seen != self._of and now - self._made >= _LASTS:
            self._look = Look(nodes.nodes().values(), pods.all() if pods.whole else None)
            self._of, self._made = seen, now
            self._kept.clear()
        return self._look

    @property
    def trouble(self) -> str:
        """Why the last look says nothing of now."""
        pods = self.shared.pods
        return self.shared.nodes.trouble or (pods.trouble if pods.whole else "")

    @property
    def looked(self) -> float | None:
        """The age of what is said: the older one of the two looks."""
        pods = self.shared.pods
        times = (self.shared.nodes.looked, pods.looked if pods.whole else None)
        return min((t for t in times if t is not None), default=None)

    def availability(self, profile: Profile) -> Availability:
        """What the last look says about ``profile``."""
        try:
            options = known_options(profile.options)
        except SiteError as error:
            return Availability(False, None, error.sentence)
        nodes = self.shared.nodes
        look = self.snapshot()
        if nodes.allowed is False:
            return Availability(True, None, "how much is free is not known here")
        if look is None:
            if self.trouble:
                return Availability(False, None, self.trouble)
            return Availability(True, None, "asking Kubernetes …")
        if self.trouble:
            # An old look says nothing of now: offer the profile, claim nothing.
            return Availability(False, None, self.trouble, self.looked)
        found: Availability = self._once(
            "fit", profile, lambda: fit(profile, options, look, self.configured)
        )
        return Availability(found.usable, found.free, found.words, self.looked, found.idle)

    def offered(self, profile: Profile) -> Profile | str:
        """``profile`` within what there is, as the last look has it; a text says why not.

        The same object as long as it is equal: pages keep what they made of it.
        """
        try:
            options = known_options(profile.options)
        except SiteError as error:
            return error.sentence
        look = self.snapshot()
        if look is None or self.shared.nodes.allowed is False:
            return profile
        fresh: Profile | str = self._once(
            "offer", profile, lambda: offer(profile, options, look, self.configured)
        )
        known = self._offers.get(id(profile))
        if known is not None and known[0] is profile and known[1] == fresh:
            return known[1]
        if len(self._offers) > 1000:
            self._offers.clear()  # of sites that have changed since
        self._offers[id(profile)] = (profile, fresh)
        return fresh

    def _once(self, what: str, profile: Profile, compute: Callable[[], Any]) -> Any:
        """Computed once per look: it reads every node, and every page asks again."""
        # The entry holds the profile, so its id cannot have become another one's.
        known = self._kept.get((what, id(profile)))
        if known is None or known[0] is not profile:
            known = self._kept[what, id(profile)] = (profile, compute())
        return known[1]

    def waiting(self, pod: Pod, launch: Launch | None) -> Waiting:
        """What ``pod`` waits for; nothing is claimed where that cannot be seen."""
        look = self.snapshot()
        if look is None or self.trouble or self.shared.nodes.allowed is False:
            return Waiting("")
        if launch is None:
            return waiting(pod, look)
        options, offer = known_options(launch.profile.options), launch.profile.gpus
        shared = offer is not None and offer.kind == "shard"
        found = waiting(pod, look, names(launch.resources, options, shared))
        if options.autoscale and not found.possible:
            return Waiting("Waiting for a node that is being added; this takes some minutes")
        return found


def offer(
    profile: Profile,
    options: KubernetesOptions,
    look: Look,
    configured: Mapping[str, Any] | None = None,
) -> Profile | str:
    """``profile`` within what the nodes have; a text says why nothing of it fits."""
    if unclear := unclear_gpus(profile, options):
        return unclear  # better none than another one than was chosen
    if options.autoscale:
        return profile  # what nodes there will be is not known from those that are there
    found = limits(profile, options, look, configured)
    return found if isinstance(found, str) else tighten(profile, found)


def fit(
    profile: Profile,
    options: KubernetesOptions,
    look: Look,
    configured: Mapping[str, Any] | None = None,
) -> Availability:
    """How many sessions with the profile's defaults would start now."""
    offered = offer(profile, options, look, configured)
    if isinstance(offered, str):
        return Availability(False, 0, offered)
    resources, _ = resolve(offered, Wish())
    found = capacity(need_of(offered, resources, options, configured), look)
    if not look.counted:
        return Availability(True, None, "" if found.possible or options.autoscale else _TOO_MUCH)
    there = idle(offered, options, look, configured)
    if found.free:
        return Availability(True, found.free, "starts now", idle=there)
    if options.autoscale:
        return Availability(True, None, "starts once a node is added", idle=there)
    if not found.possible:
        return Availability(True, 0, _TOO_MUCH, idle=there)
    return Availability(True, 0, "none free now: it will wait", idle=there)


_TOO_MUCH = "no node that is up has all of it together: choose less"

_boards: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[type, int], Board]] = (
    weakref.WeakKeyDictionary()
)


def board(kind: Any, config: Config) -> Board:
    """The one of a backend's class and configuration. Needs a running event loop."""
    shared = watchers(config, kind)
    known = _boards.setdefault(asyncio.get_running_loop(), {})
    found = known.get((kind, id(config)))
    if found is None or found.config is not config or found.shared is not shared:
        configured = {name: kind.configured(name, config) for name in ADDED_TO}
        if len(known) > 100:
            known.clear()  # of configurations that are no more
        found = known[kind, id(config)] = Board(shared, configured, config)
    return found


def availability(
    kind: Any, profiles: Mapping[str, Profile], config: Config
) -> dict[str, Availability]:
    """What the last look says about each profile."""
    mine = board(kind, config)
    return {name: mine.availability(profile) for name, profile in profiles.items()}


def offered(kind: Any, profiles: Mapping[str, Profile], config: Config) -> dict[str, Profile | str]:
    """The profiles within what the cluster has."""
    mine = board(kind, config)
    return {name: mine.offered(profile) for name, profile in profiles.items()}


def menus(kind: Any, profile: Profile, person: Person, config: Config) -> tuple[Menu, ...]:
    """The images to choose from, where there is a choice."""
    if IMAGE not in profile.options and "image_patterns" not in profile.options:
        return ()
    try:
        options = known_options(profile.options)
    except SiteError:
        return ()  # ``offered`` says what is wrong
    return image_menu(options)


def image_menu(options: KubernetesOptions) -> tuple[Menu, ...]:
    """One menu, or none where there is one image and nothing may be typed."""
    if len(options.image) < 2 and not options.image_patterns:
        return ()
    lines = tuple(Option(image, _short(image, options.image)) for image in options.image)
    if not lines:
        lines = (Option("", "that of the environment"),)
    return (Menu(IMAGE, "Image", lines, lines[0].value, patterns=options.image_patterns),)


def _short(image: str, others: tuple[str, ...]) -> str:
    """The end of the name, if that tells it from the others."""

    def end(name: str) -> str:
        return name.rpartition("/")[2].partition("@")[0]

    return end(image) if sum(end(other) == end(image) for other in others) == 1 else image


def waits_for(kind: Any, config: Config, pod: Pod, launch: Launch | None) -> tuple[str, bool]:
    """What a pod without a node waits for (empty: not known), and whether a node could hold it."""
    found = board(kind, config).waiting(pod, launch)
    return found.words, found.possible


async def look(kind: Any, config: Config) -> None:
    """Have the first look, for a command line. Raises nothing."""
    shared = watchers(config, kind)
    shared.pods.begin()
    until = time.monotonic() + _PATIENCE
    await shared.nodes.at_hand(_PATIENCE)
    pods = shared.pods
    while not (pods.whole or pods.refused) and (left := until - time.monotonic()) > 0:
        await pods.news(min(left, 1.0))
