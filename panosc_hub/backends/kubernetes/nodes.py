"""The cluster's nodes, as long as anybody wants to know what is free."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from traitlets import Float
from traitlets.config import LoggingConfigurable

from .client import KubernetesClient, where
from .parse import node_of
from .records import Node
from .watch import Bell, Pace, Reflection


class NodeWatcher(LoggingConfigurable):
    """The shared picture of one cluster's nodes; get it with :func:`shared.watchers`."""

    idle_after = Float(
        600,
        min=0.05,
        config=True,
        help="""
        Seconds without a question after which nodes are watched no more; the next question
        begins anew. Each node reports to the API about every five minutes.
        """,
    )

    def __init__(self, client: KubernetesClient, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.client = client
        self._bell = Bell()
        self._asked = 0.0
        self._idle: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Future[None]] = set()
        self._source = self._reflection()

    def nodes(self) -> Mapping[str, Node]:
        """The nodes by name, as last seen. Never waits; needs a running event loop."""
        self.begin()
        return self._source.items

    def begin(self) -> None:
        """Watch from now on."""
        self._asked = time.monotonic()
        self._source.ensure()
        if self._idle is None:
            loop = asyncio.get_running_loop()
            self._idle = loop.call_later(self.idle_after, self._rest)

    @property
    def allowed(self) -> bool | None:
        """Whether the Hub's account may see nodes; None until it is known."""
        return self._source.allowed

    @property
    def synced(self) -> bool:
        """Whether all nodes were seen once."""
        return self._source.synced

    @property
    def looked(self) -> float | None:
        """``time.time()`` of the API's last word."""
        return self._source.looked

    @property
    def trouble(self) -> str:
        """Why the truth is not known now; empty while it is."""
        return self._source.trouble

    async def at_hand(self, patience: float) -> bool:
        """Wait for the first complete look; whether there is one. Never raises."""
        self.begin()
        until = time.monotonic() + patience
        while not self.synced and self.allowed is not False:
            left = until - time.monotonic()
            if left <= 0:
                break
            await self._bell.wait(left)
        return self.synced

    async def close(self) -> None:
        """Stop looking."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        await asyncio.gather(self._source.close(), *self._closing)

    def _rest(self) -> None:
        self._idle = None
        left = self._asked + self.idle_after - time.monotonic()
        if left > 0:
            self._idle = asyncio.get_running_loop().call_later(left, self._rest)
            return
        closing = asyncio.ensure_future(self._source.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    def _reflection(self) -> Reflection[str, Node]:
        return Reflection(
            self.client,
            where("nodes"),
            node_of,
            lambda node: node.name,
            log=self.log,
            changed=lambda old, new, told: self._bell.ring(),
            listed=self._bell.ring,
            refused=self._bell.ring,
            pace=Pace(),
        )
