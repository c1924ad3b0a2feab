"""A picture of one kind of thing in a cluster, kept true by a list and a watch after it.

Where KubeSpawner's reflector fails for good, after a first list that fails or half a minute
without an API, this one goes on, and says meanwhile that it does not know: ``trouble``. The
picture stays as it was; nothing is gone because nobody could look.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from . import words
from .client import ApiAway, ApiRefused, KubernetesClient, failure

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

SLICE = 50
"""Objects that are read in one go; then others have their turn on the event loop."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How a reflection keeps time; all in seconds but ``page``."""

    page: int = 250
    """Objects in one answer of a list: 250 pods are about 2 MB, read in about 20 ms."""
    first_pause: float = 0.5
    longest_pause: float = 30.0
    """The back-off after failures; each pause is between a half and the whole of it."""
    watch_for: float = 300.0
    """The API ends a watch after this time; the next one goes on where it ended."""
    silence: float = 150.0
    """A watch on which nothing came for so long is dead: the API sends a bookmark a minute."""
    refused_pause: float = 300.0
    """Until the next try where the Hub's account may not look."""
    relist: float = 3600.0
    """Everything is listed anew so often, should a watch ever have lost something."""


class Bell:
    """Wakes all who wait, once per ring."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        """Wake everybody who waits now."""
        event, self._event = self._event, asyncio.Event()
        event.set()

    def coming(self) -> asyncio.Event:
        """The next ring, to be waited for later: then none is missed in between."""
        return self._event

    async def wait(self, patience: float, coming: asyncio.Event | None = None) -> bool:
        """Whether it rang within ``patience`` seconds."""
        # Not wait_for: on Python 3.11 it can swallow a cancellation.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await (coming or self._event).wait()
                return True
        return False


class Garbled(Exception):
    """An answer that the API would not give."""


class Reflection(Generic[K, T]):
    """All objects of one path, as records.

    ``read`` makes a record of an object, or None for one that is not kept; ``key`` names a
    record. ``changed`` is called with each new, changed or removed record (old, new, and whether
    the API told of the removal; else it is missing in a list), ``listed`` after each complete
    list, ``refused`` when the account may not look. ``from_now``: nothing is listed, only what
    comes is read.
    """

    def __init__(
        self,
        client: KubernetesClient,
        path: str,
        read: Callable[[Mapping[str, Any]], T | None],
        key: Callable[[T], K],
        *,
        log: Any,
        label_selector: str = "",
        field_selector: str = "",
        from_now: bool = False,
        changed: Callable[[T | None, T | None, bool], None] = lambda old, new, told: None,
        listed: Callable[[], None] = lambda: None,
        refused: Callable[[], None] = lambda: None,
        pace: Pace | None = None,
    ) -> None:
        self.client, self.path, self.log = client, path, log
        self.items: dict[K, T] = {}
        self.synced = False
        """Whether everything was listed once; from then on ``items`` is the last known truth."""
        self.allowed: bool | None = None
        """Whether the Hub's account may look; None until it is known."""
        self.looked: float | None = None
        """``time.time()`` of the API's last word."""
        self.trouble = ""
        """Why the truth is not known now, in words for users; empty while it is."""
        self.relists = 0
        self.failures = 0
        self._read, self._key = read, key
        self._changed, self._listed, self._refused = changed, listed, refused
        self._selectors = {"labelSelector": label_selector, "fieldSelector": field_selector}
        self._from_now = from_now
        self._pace = pace or Pace()
        self._version = ""
        """Where the next watch begins; empty: list first."""
        self._full_at = -1e9
        self._listed_at = -1e9
        self._misses = 0
        self._good_since = 0.0
        self._unpaged = False
        self._task: asyncio.Task[None] | None = None
        self._wake = Bell()

    @property
    def running(self) -> bool:
        """Whether it is being kept true."""
        return self._task is not None and not self._task.done()

    def ensure(self) -> None:
        """Begin, or begin again should the task ever have ended. Needs a running event loop."""
        if self._task is not None and self._task.done():
            self.trouble = self.trouble or words.UNSEEN.words
            self.client.complain(self.log, f"The watch of {self.path} had ended; it begins again")
        if not self.running:
            self._task = asyncio.get_running_loop().create_task(self._run(), name=self.path)

    async def close(self) -> None:
        """End it; nothing of it runs or is connected afterwards."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def hurry(self) -> None:
        """Do not wait for the end of a pause after a failure."""
        self._wake.ring()

    async def _run(self) -> None:
        while True:
            pause = await self._step()
            if pause > 0:
                await self._wake.wait(pause)

    async def _step(self) -> float:
        """One list or one watch; seconds until the next. Raises nothing but a cancellation."""
        pace = self._pace
        try:
            if not self._version:
                await self._list()
                return 0
            began = time.monotonic()
            await self._watch()
            # A watch that ends at once would make us a burden, whatever ends it.
            return 0 if time.monotonic() - began > 1 else self._pause()
        except ApiRefused as error:
            if error.status == 410:
                return self._expired()
            pause = self._failed(error, f"{error.status} {error.message}")
            self._version = ""
            if error.status == 403:
                self.allowed = False
                self._refused()
                return pace.refused_pause
            return pause
        except ApiAway as error:
            pause = self._failed(error, error.detail)
            if error.status and self._misses > 2:
                self._version = ""  # it may be one of a time that the API does not know
            return max(pause, min(error.retry_after or 0, 120))
        except Garbled as error:
            self._version = ""
            return self._failed(ApiAway(str(error)), str(error))
        except Exception as error:  # a mistake of ours must not end the watch
            self.log.exception("The watch of %s failed in an unexpected way", self.path)
            self._version = ""
            return self._failed(ApiAway(str(error)), str(error))

    def _expired(self) -> float:
        """The API forgot where we were: list at once, unless the last list was just now."""
        self._version, self._unpaged = "", not self._version
        again = time.monotonic() - self._listed_at < 5
        return self._pause() if again else 0

    def _failed(self, error: Any, detail: str) -> float:
        self.failures += 1
        self.trouble = error.sentence
        self.client.complain(
            self.log, f"The cluster cannot be watched, all sessions are kept: {detail}"
        )
        return self._pause()

    def _pause(self) -> float:
        """The back-off's next one; it begins anew once all was well for its longest."""
        pace = self._pace
        if self._good_since and time.monotonic() - self._good_since > pace.longest_pause:
            self._misses = 0
        self._good_since = 0.0
        pause = min(pace.first_pause * 2 ** min(self._misses, 16), pace.longest_pause)
        self._misses += 1
        return pause * random.uniform(0.5, 1)

    def _answered(self) -> None:
        self.looked = time.time()
        self.allowed = True
        self.trouble = ""
        self._good_since = self._good_since or time.monotonic()

    async def _list(self) -> None:
        if self._from_now:
            answer = await self._page({"limit": 1})
            self._version = _version(answer)
            self.synced = True
            self._answered()
            return
        found: dict[K, T] = {}
        query: dict[str, Any] = {"limit": None if self._unpaged else self._pace.page}
        while True:
            answer = await self._page(query)
            for number, item in enumerate(answer["items"], 1):
                record = self._read(item)
                if record is not None:
                    found[self._key(record)] = record
                if number % SLICE == 0:
                    await asyncio.sleep(0)
            more = (answer.get("metadata") or {}).get("continue")
            if not more:
                break
            query = {**query, "continue": more}
        self._version = _version(answer)
        self._unpaged = False
        self._full_at = time.monotonic()
        self.relists += 1
        self._take(found)
        self.synced = True
        self._answered()
        self._listed()

    async def _page(self, query: Mapping[str, Any]) -> dict[str, Any]:
        self._listed_at = time.monotonic()
        answer = await self.client.request("GET", self.path, query={**self._selectors, **query})
        items = answer.get("items")
        if items is None and str(answer.get("kind", "")).endswith("List"):
            items = answer["items"] = []  # Go's empty list
        if not isinstance(items, list) or not all(isinstance(each, dict) for each in items):
            raise Garbled(f"GET {self.path}: the answer is not a list")
        return answer

    def _take(self, found: dict[K, T]) -> None:
        before, self.items = self.items, found
        for key, old in before.items():
            if key not in found:
                self._changed(old, None, False)
        for key, new in found.items():
            if (was := before.get(key)) != new:
                self._changed(was, new, False)

    async def _watch(self) -> None:
        pace = self._pace
        query = {
            **self._selectors,
            "watch": True,
            "resourceVersion": self._version,
            "allowWatchBookmarks": True,
            # Not all of a Hub's watches at the same moment.
            "timeoutSeconds": max(1, round(pace.watch_for * random.uniform(0.8, 1))),
        }
        lines = self.client.stream(self.path, query, silence=pace.silence, opened=self._answered)
        async with contextlib.aclosing(lines):
            async for line in lines:
                self._line(line)
                if time.monotonic() - self._full_at > pace.relist and not self._from_now:
                    self._version = ""
                    return
        self._answered()

    def _line(self, line: Mapping[str, Any]) -> None:
        kind, item = line.get("type"), line.get("object")
        if not isinstance(item, dict):
            raise Garbled(f"GET {self.path}: a watch sent an event without an object")
        if kind == "ERROR":
            code = item.get("code")
            raise failure(code if type(code) is int else 500, item, f"GET {self.path}")
        if kind not in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK"):
            raise Garbled(f"GET {self.path}: a watch sent an event of type {kind!r:.40}")
        self._version = _version(item)
        self._answered()
        if kind == "BOOKMARK":
            return
        record = self._read(item)
        if record is None:
            return
        key = self._key(record)
        if kind == "DELETED":
            self.items.pop(key, None)
            self._changed(record, None, True)
        else:
            old = self.items.get(key)
            self.items[key] = record
            self._changed(old, record, False)


def _version(body: Mapping[str, Any]) -> str:
    meta = body.get("metadata")
    version = meta.get("resourceVersion") if isinstance(meta, dict) else None
    if not isinstance(version, str) or not version:
        raise Garbled("an answer without a resourceVersion")
    return version
