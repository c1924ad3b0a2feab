"""One client and one set of watchers per process, cluster and configuration."""

from __future__ import annotations

import asyncio
import json
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from traitlets.config import Config

from .client import KubernetesClient
from .events import EventWatcher
from .nodes import NodeWatcher
from .pods import PodWatcher

_SECTIONS = ("KubernetesClient", "PodWatcher", "NodeWatcher", "EventWatcher")
_OF_KUBESPAWNER = ("k8s_api_host", "k8s_api_ssl_ca_cert", "k8s_api_verify_ssl")


@dataclass(frozen=True, slots=True)
class Watchers:
    """What all servers of one cluster share."""

    client: KubernetesClient
    pods: PodWatcher
    nodes: NodeWatcher
    events: EventWatcher

    async def close(self) -> None:
        """Stop looking and hang up, for a clean end of the process."""
        for watcher in (self.pods, self.nodes, self.events):
            await watcher.close()
        await self.client.close()


_all: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Watchers]] = (
    weakref.WeakKeyDictionary()
)


def watchers(config: Config, kind: type) -> Watchers:
    """The ones for this configuration and backend; made at the first call.

    ``kind`` is the backend's class: its ``cluster`` setting stands above ``c.KubernetesClient``,
    so that each subclass may have a cluster of its own. Needs a running event loop.
    """
    own = _own(config, kind)
    parts: dict[str, Any] = {name: config.get(name, {}) for name in _SECTIONS}
    spawner = config.get("KubeSpawner", {})
    parts["spawner"] = {name: spawner.get(name) for name in _OF_KUBESPAWNER}
    parts["own"] = dict(own)
    key = json.dumps(parts, sort_keys=True, default=str)
    known = _all.setdefault(asyncio.get_running_loop(), {})
    if key not in known:
        client = KubernetesClient(config=config, **own)
        known[key] = Watchers(
            client,
            PodWatcher(client, config=config),
            NodeWatcher(client, config=config),
            EventWatcher(client, config=config),
        )
    return known[key]


def client_of(config: Config, kind: type) -> KubernetesClient:
    """A client that is not shared, for what is asked before there is an event loop."""
    return KubernetesClient(config=config, **_own(config, kind))


async def close_all() -> None:
    """Close what this event loop has; for a command line and for tests."""
    for each in _all.pop(asyncio.get_running_loop(), {}).values():
        await each.close()


def _own(config: Config, kind: type) -> Mapping[str, Any]:
    """The ``cluster`` setting of a backend's class, as the class itself would take it."""
    traits: Mapping[str, Any] = getattr(kind, "class_traits", dict)()
    trait = traits.get("cluster")
    found: Mapping[str, Any] = trait.default() if trait is not None else {}
    for each in reversed(kind.__mro__):
        section = config.get(each.__name__, {})
        if "cluster" in section:
            found = section["cluster"]
    unknown = set(found) - set(KubernetesClient.class_trait_names(config=True))
    if unknown:
        raise ValueError(f"{kind.__name__}.cluster: no such setting: {', '.join(sorted(unknown))}")
    return found
