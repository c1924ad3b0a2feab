"""Where pods are seen: in the whole cluster where the Hub may look, else where pods of ours are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .client import KubernetesClient, where
from .debts import Key
from .parse import pod_of
from .records import HUB, Pod
from .watch import Pace, Reflection

Source = Reflection[Key, Pod]


class Reach:
    """The reflections of one cluster's pods, as many as its rights make needful.

    ``changed`` as in :class:`Reflection`; ``listed`` gets the namespace of a complete list (empty:
    all of them). ``wanted`` tells in which namespaces pods of ours are.
    """

    def __init__(
        self,
        client: KubernetesClient,
        *,
        whole_cluster: bool,
        pace: Pace,
        log: Any,
        changed: Callable[[Pod | None, Pod | None, bool], None],
        listed: Callable[[str], None],
        wanted: Callable[[], Iterable[str]],
    ) -> None:
        self.client, self.pace, self.log = client, pace, log
        self._whole_cluster = whole_cluster
        self._changed, self._listed, self._wanted = changed, listed, wanted
        self._cluster: Source | None = None
        self._parts: dict[str, Source] = {}
        self._closing: set[asyncio.Future[None]] = set()

    def ensure(self, namespace: str = "") -> None:
        """Look there from now on; again, should a watch ever have ended."""
        if self._whole_cluster:
            if self._cluster is None:
                self._cluster = self._reflection("", "")
            self._cluster.ensure()
        if namespace and not self.uses_cluster:
            if namespace not in self._parts:
                self._parts[namespace] = self._reflection(namespace, HUB)
            self._parts[namespace].ensure()

    @property
    def uses_cluster(self) -> bool:
        """Whether all namespaces are seen, as far as is known."""
        return self._cluster is not None and self._cluster.allowed is not False

    @property
    def whole(self) -> bool:
        """Whether they are seen indeed."""
        return self.uses_cluster and self._cluster is not None and self._cluster.synced

    def of(self, namespace: str) -> Source | None:
        """Where pods of that namespace are seen."""
        return self._cluster if self.uses_cluster else self._parts.get(namespace)

    def sources(self) -> Iterator[Source]:
        """Those that are relied on."""
        if self._cluster is not None and self.uses_cluster:
            yield self._cluster
        else:
            yield from self._parts.values()

    def everything(self) -> Iterator[Source]:
        """Those that there are, one that is refused too."""
        if self._cluster is not None:
            yield self._cluster
        yield from self._parts.values()

    async def close(self) -> None:
        """End all of them."""
        sources = list(self.everything())
        self._cluster, self._parts = None, {}
        await asyncio.gather(*(source.close() for source in sources), *self._closing)

    def _reflection(self, namespace: str, selector: str) -> Source:
        return Reflection(
            self.client,
            where("pods", namespace),
            pod_of,
            lambda pod: (pod.namespace, pod.name),
            log=self.log,
            label_selector=selector,
            changed=self._changed,
            listed=lambda: self._complete(namespace),
            refused=lambda: self._narrow(namespace),
            pace=self.pace,
        )

    def _narrow(self, namespace: str) -> None:
        if namespace:
            return
        self.client.complain(
            self.log, "The Hub may not see the pods of all namespaces; it looks at its own"
        )
        for each in sorted(set(self._wanted())):
            self.ensure(each)

    def _complete(self, namespace: str) -> None:
        if not namespace:  # rights that came later make the parts needless
            for source in self._parts.values():
                closing = asyncio.ensure_future(source.close())
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)
            self._parts.clear()
        self._listed(namespace)
