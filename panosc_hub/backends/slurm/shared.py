"""One client and one set of watchers per process and configuration."""

from __future__ import annotations

import asyncio
import json
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass

from traitlets.config import Config

from ...core.profiles import Profile
from .client import SlurmClient, own_account
from .estimate import StartEstimator
from .memberships import AccountWatcher
from .nodes import NodeWatcher
from .options import SlurmOptions
from .pending import PendingWatcher
from .standing import Standing
from .watcher import SlurmWatcher

_SECTIONS = (
    "SlurmClient",
    "SlurmWatcher",
    "NodeWatcher",
    "AccountWatcher",
    "PendingWatcher",
    "StartEstimator",
)
DEFAULTS = ("partition", "account", "qos", "reservation", "prologue")
"""``c.SlurmSpawner.req_*`` settings that count where a profile says nothing."""

_WAIT = 300.0
"""Seconds that a job waits where neither profile nor configuration says: batchspawner's own."""


@dataclass(frozen=True, slots=True)
class Watchers:
    """What all servers of one Slurm share."""

    client: SlurmClient
    jobs: SlurmWatcher
    nodes: NodeWatcher
    accounts: AccountWatcher
    pending: PendingWatcher
    starts: StartEstimator

    def standing(self, person: str, profile: Profile, options: SlurmOptions) -> Standing:
        """What is known of what ``person`` may use, at once; old looks are renewed."""
        return Standing(
            user=person if self.client.run_as else own_account(),
            accounts=self.accounts.snapshot() if options.needs_accounts else None,
            look=self.nodes.snapshot(),
            now=time.time(),
            wait=float(profile.start_timeout or _WAIT),
        )

    async def at_hand(self, options: SlurmOptions, patience: float, *, fresh: bool = False) -> None:
        """Wait for the looks on which ``options`` hang; ``fresh``: for new ones. Never raises."""
        needed: list[NodeWatcher | AccountWatcher] = [self.nodes]
        needed += [self.accounts] if options.needs_accounts else []
        if fresh:
            for watcher in needed:
                watcher.refresh()
        await asyncio.gather(*(watcher.at_hand(patience) for watcher in needed))

    async def close(self) -> None:
        """Stop looking, for a clean end of the process."""
        await self.jobs.close()
        await self.pending.close()


_all: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Watchers]] = (
    weakref.WeakKeyDictionary()
)


def watchers(config: Config) -> Watchers:
    """The ones for this configuration; made at the first call. Needs a running event loop."""
    parts = {name: config.get(name, {}) for name in _SECTIONS}
    parts["defaults"] = _defaults(config)
    key = json.dumps(parts, sort_keys=True, default=str)
    known = _all.setdefault(asyncio.get_running_loop(), {})
    if key not in known:
        client = SlurmClient(config=config)
        known[key] = Watchers(
            client,
            SlurmWatcher(client, config=config),
            NodeWatcher(client, defaults=parts["defaults"], config=config),
            AccountWatcher(client, config=config),
            PendingWatcher(client, config=config),
            StartEstimator(client, config=config),
        )
    return known[key]


def _defaults(config: Config) -> Mapping[str, str]:
    """The ``req_*`` settings, as the traits of the spawner would take them."""
    found: dict[str, str] = {}
    for section in ("BatchSpawnerBase", "SlurmSpawner", "SlurmBackend"):
        settings = config.get(section, {})
        found |= {n: v for n in DEFAULTS if isinstance(v := settings.get(f"req_{n}"), str) and v}
    return found
