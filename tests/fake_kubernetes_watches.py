"""The watches of the fake API server, and what can befall them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.fake_kubernetes_faults import Call
from tests.fake_kubernetes_store import KINDS, Change, Object, Refused, Scope, Store


@dataclass
class Watch:
    """One under way."""

    call: Call
    scope: Scope
    queue: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)


class Watches:
    """All of them."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.open: list[Watch] = []
        self.opened = asyncio.Event()
        """Set whenever one is opened."""
        self.bookmark_every = 60.0
        self.expires_as = "event"
        """How a watch hears that its version is too old: ``event`` or ``status``."""
        self.released = asyncio.Event()
        """Ends all that hang."""

    def strike(self, how: str | Refused, kind: str = "") -> int:
        """To all of a kind: ``end`` (as a time-out does), ``drop``, ``garbage``, ``half`` (of a
        line), ``mute`` (nothing more, for ever), or an ERROR event; how many were met."""
        met = [watch for watch in self.open if kind in ("", watch.call.kind)]
        for watch in met:
            event = {"type": "ERROR", "object": how.body()} if isinstance(how, Refused) else how
            watch.queue.put_nowait(event)
        return len(met)

    def of(self, kind: str) -> list[Watch]:
        return [watch for watch in self.open if watch.call.kind == kind]

    async def serve(self, call: Call, scope: Scope, request: web.Request) -> web.StreamResponse:
        version = request.query.get("resourceVersion", "")
        first: list[Object | None]
        try:
            if version in ("", "0"):
                first = [{"type": "ADDED", "object": obj} for obj in self.store.items(scope)]
            else:
                first = [change.event(scope) for change in self.store.since(int(version))]
        except Refused as error:
            if self.expires_as == "status":
                raise
            first = [{"type": "ERROR", "object": error.body()}]
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        watch = Watch(call, scope)
        limit = float(request.query.get("timeoutSeconds", 1800))
        with self._under_way(watch):
            await response.prepare(request)
            for event in first:
                if event is not None:
                    await response.write(json.dumps(event).encode() + b"\n")
            if not (first and first[-1] and first[-1]["type"] == "ERROR"):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(limit):
                        await self._follow(watch, request, response)
        with contextlib.suppress(ConnectionError):
            await response.write_eof()
        return response

    @contextlib.contextmanager
    def _under_way(self, watch: Watch) -> Iterator[None]:
        self.open.append(watch)
        self.store.listeners.add(watch.queue)
        self.opened.set()
        try:
            yield
        finally:
            self.open.remove(watch)
            self.store.listeners.discard(watch.queue)

    async def _follow(
        self, watch: Watch, request: web.Request, response: web.StreamResponse
    ) -> None:
        bookmarks = request.query.get("allowWatchBookmarks") in ("1", "true", "True")
        while True:
            try:
                async with asyncio.timeout(self.bookmark_every):
                    told = await watch.queue.get()
            except TimeoutError:
                if not bookmarks:
                    continue
                meta = {"resourceVersion": str(self.store.version)}
                mark = {"kind": KINDS[watch.call.kind], "apiVersion": "v1", "metadata": meta}
                told = {"type": "BOOKMARK", "object": mark}
            event = told.event(watch.scope) if isinstance(told, Change) else told
            match event:
                case None:
                    continue
                case "end":
                    return
                case "drop":
                    assert request.transport is not None
                    request.transport.abort()
                    return
                case "mute":
                    await self.released.wait()
                    return
                case "garbage":
                    await response.write(b'{"type": "ADDED", "object": \x00\n')
                case "half":
                    await response.write(b'{"type": "MODIFIED", "object": {"meta')
                    return
                case _:
                    await response.write(json.dumps(event).encode() + b"\n")
