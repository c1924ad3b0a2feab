"""What the cluster has free: one cached ``sinfo`` for all pages."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from traitlets import Float
from traitlets.config import LoggingConfigurable

from ...core.profiles import Profile, Wish, resolve
from ...core.quantities import Gpus
from ...errors import BackendUnavailable, SiteError
from ..base import Availability
from .client import SlurmClient
from .options import SlurmOptions, validate_options
from .parse import NODE_FORMAT, Garbled, NodeRow, parse_nodes


class NodeWatcher(LoggingConfigurable):
    """The shared snapshot of one Slurm's nodes; a stale one is renewed in the background."""

    interval = Float(
        60,
        min=0.1,
        config=True,
        help="""
        Seconds for which one look at the nodes is good. Pages show its age, so a longer
        interval only makes "n free" older, never wrong without notice.
        """,
    )

    def __init__(self, client: SlurmClient, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.client = client
        self.rows: tuple[NodeRow, ...] | None = None
        self.looked: float | None = None
        self.trouble = ""
        self._tried = -1e9
        self._task: asyncio.Task[None] | None = None
        self._fits: tuple[tuple[NodeRow, ...], dict[int, tuple[Profile, Availability]]] = ((), {})

    def snapshot(self) -> tuple[NodeRow, ...] | None:
        """The rows of the last good look, None if there never was one. Returns at once."""
        if time.monotonic() - self._tried >= self.interval:
            self.refresh()
        return self.rows

    def refresh(self) -> asyncio.Task[None]:
        """Begin a look, unless one is under way, and return its task."""
        if self._task is None or self._task.done():
            self._tried = time.monotonic()
            self._task = asyncio.get_running_loop().create_task(self._look())
        return self._task

    async def _look(self) -> None:
        try:
            text = await self.client.query("sinfo", "--Node", "--all", f"--Format={NODE_FORMAT}")
            self.rows = parse_nodes(text)
        except (BackendUnavailable, Garbled) as error:
            self.trouble = str(error)
            self.log.warning("The look at Slurm's nodes failed: %s", error)
        else:
            self.looked, self.trouble = time.time(), ""

    async def address_of(self, name: str) -> str:
        """Slurm's NodeAddr of a node, the name itself if Slurm does not tell."""
        for again in (False, True):
            if again:
                await self.refresh()
            for row in self.rows or ():
                if row.name == name and row.address:
                    return row.address
        return name

    def availability(self, profile: Profile) -> Availability:
        """What the last look says about ``profile``."""
        rows = self.snapshot()
        try:
            options = validate_options(profile.options)
        except SiteError as error:
            return Availability(False, None, error.sentence)
        if rows is None:
            if self.trouble:
                return Availability(False, None, self.trouble)
            return Availability(True, None, "asking SLURM …")
        if self.trouble:
            # An old look says nothing of now: offer the profile, claim nothing.
            return Availability(False, None, self.trouble, self.looked)
        found = self._fit(profile, options, rows)
        return Availability(found.usable, found.free, found.words, self.looked)

    def _fit(
        self, profile: Profile, options: SlurmOptions, rows: tuple[NodeRow, ...]
    ) -> Availability:
        """``fit``, computed once per look: it reads every node, and every page asks again."""
        if self._fits[0] is not rows:
            self._fits = (rows, {})
        known = self._fits[1].get(id(profile))
        # The entry holds the profile, so its id cannot have become another one's.
        if known is None or known[0] is not profile:
            known = self._fits[1][id(profile)] = (profile, fit(profile, options, rows))
        return known[1]


def fit(profile: Profile, options: SlurmOptions, rows: tuple[NodeRow, ...]) -> Availability:
    """How many sessions with the profile's defaults fit now. Pure.

    Counted node by node, for a session never spans two. Nodes that are down, drained or in
    maintenance do not count; a node that Slurm has planned for a waiting job is not free.
    """
    names = options.partition.split(",") if options.partition else []
    mine = [row for row in rows if (row.partition in names if names else row.default)]
    if not mine:
        what = f"partition {options.partition}" if names else "default partition"
        return Availability(False, None, f"SLURM has no {what}")
    able = [row for row in mine if row.usable]
    if not able:
        return Availability(False, 0, "all its nodes are down or drained")
    resources, _ = resolve(profile, Wish())
    gpus = resources.gpus
    if gpus.count:
        able = [row for row in able if _gpus(row.gpus, gpus) >= gpus.count]
        if not able:
            kind = f" of type {gpus.type}" if gpus.type else ""
            return Availability(False, 0, f"no node that is up has {gpus.count} GPU{kind}")
    if options.constraint or options.reservation:
        return Availability(True, None)  # which nodes these leave is Slurm's to say
    free = 0
    for row in {row.name: row for row in able}.values():
        if row.planned:
            continue
        fits = [row.cpus_idle // resources.cpus, row.memory_idle // resources.memory]
        if gpus.count:
            fits.append((_gpus(row.gpus, gpus) - _gpus(row.gpus_used, gpus)) // gpus.count)
        free += min(max(0, min(fits)), 1) if options.exclusive else max(0, min(fits))
    return Availability(True, free, "starts now" if free else "none free now: it will queue")


def _gpus(counts: Mapping[str, int], wanted: Gpus) -> int:
    return counts.get(wanted.type, 0) if wanted.type else sum(counts.values())
