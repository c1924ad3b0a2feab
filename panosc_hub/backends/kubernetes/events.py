"""The events of pods that start, while any does. All other events of a cluster are dropped
unread: a busy namespace has tens of thousands, and nobody asks for them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from traitlets import Integer
from traitlets.config import LoggingConfigurable

from .client import KubernetesClient, where
from .parse import event_of
from .records import PodEvent
from .watch import Bell, Reflection


class EventWatcher(LoggingConfigurable):
    """The shared watch of one cluster's events; get it with :func:`shared.watchers`."""

    keep = Integer(
        20,
        min=1,
        config=True,
        help="Events of one starting pod that are kept, the newest; more say nothing new.",
    )

    def __init__(self, client: KubernetesClient, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.client = client
        self._bell = Bell()
        self._wanted: dict[str, str] = {}
        self._events: dict[str, dict[str, PodEvent]] = {}
        self._sources: dict[str, Reflection[str, PodEvent]] = {}
        self._closing: set[asyncio.Future[None]] = set()

    def want(self, namespace: str, uid: str) -> None:
        """Keep the events of this pod from now on. Needs a running event loop."""
        self._wanted[uid] = namespace
        self._events.setdefault(uid, {})
        if namespace not in self._sources:
            self._sources[namespace] = self._reflection(namespace)
        self._sources[namespace].ensure()

    def of(self, uid: str) -> list[PodEvent]:
        """What was told of a pod, oldest first."""
        return sorted(self._events.get(uid, {}).values(), key=lambda event: event.at)

    def forget(self, uid: str) -> None:
        """The pod has started, or never will."""
        namespace = self._wanted.pop(uid, None)
        self._events.pop(uid, None)
        if namespace is None or namespace in self._wanted.values():
            return
        source = self._sources.pop(namespace, None)
        if source is not None:
            closing = asyncio.ensure_future(source.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    @property
    def trouble(self) -> str:
        """Why there may be events that are not known; empty while there are none."""
        return next((s.trouble for s in self._sources.values() if s.trouble), "")

    async def news(self, patience: float) -> None:
        """Return after the next event of a wanted pod, or after ``patience`` seconds."""
        await self._bell.wait(patience)

    async def close(self) -> None:
        """Stop looking."""
        sources, self._sources = self._sources, {}
        self._wanted.clear()
        self._events.clear()
        await asyncio.gather(*(s.close() for s in sources.values()), *self._closing)

    def _reflection(self, namespace: str) -> Reflection[str, PodEvent]:
        return Reflection(
            self.client,
            where("events", namespace),
            self._read,
            lambda event: event.uid,
            log=self.log,
            field_selector="involvedObject.kind=Pod",
            from_now=True,
        )

    def _read(self, body: Mapping[str, Any]) -> None:
        """Keep it, if it is wanted; the watch itself keeps nothing."""
        about = body.get("involvedObject")
        uid = about.get("uid") if isinstance(about, dict) else None
        kept = self._events.get(uid) if isinstance(uid, str) else None
        if kept is None:
            return
        event = event_of(body)
        meta = body.get("metadata")
        name = str(meta.get("name")) if isinstance(meta, dict) else ""
        if event is None:
            return
        kept.pop(name, None)  # the same event again, counted once more, is the newest
        kept[name] = event
        while len(kept) > self.keep:
            del kept[next(iter(kept))]
        self._bell.ring()
