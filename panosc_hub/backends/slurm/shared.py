"""One client and one pair of watchers per process and configuration."""

from __future__ import annotations

import asyncio
import json
import weakref
from dataclasses import dataclass

from traitlets.config import Config

from .client import SlurmClient
from .estimate import StartEstimator
from .nodes import NodeWatcher
from .pending import PendingWatcher
from .watcher import SlurmWatcher

_SECTIONS = ("SlurmClient", "SlurmWatcher", "NodeWatcher", "PendingWatcher", "StartEstimator")


@dataclass(frozen=True, slots=True)
class Watchers:
    """What all servers of one Slurm share."""

    client: SlurmClient
    jobs: SlurmWatcher
    nodes: NodeWatcher
    pending: PendingWatcher
    starts: StartEstimator

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
    key = json.dumps(parts, sort_keys=True, default=str)
    known = _all.setdefault(asyncio.get_running_loop(), {})
    if key not in known:
        client = SlurmClient(config=config)
        known[key] = Watchers(
            client,
            SlurmWatcher(client, config=config),
            NodeWatcher(client, config=config),
            PendingWatcher(client, config=config),
            StartEstimator(client, config=config),
        )
    return known[key]
