"""The lines of one server's pending page: kept, replayed to every tab, then followed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from .backends.base import Event

MAX_EVENTS = 300
"""A session that reports without end must not fill the Hub's memory."""

MAX_MESSAGE = 500


class Progress:
    """Lines with an optional percentage, which never goes back."""

    __slots__ = ("_count", "_events", "_percent", "_waiters")

    def __init__(self) -> None:
        # By a number that only grows, so that a follower knows what it has not shown yet.
        self._events: dict[int, Event] = {}
        self._count = 0
        self._waiters: list[asyncio.Event] = []
        self._percent = 0

    def add(self, message: str, progress: int | None = None, *, replaces: bool = False) -> None:
        """Append a line; the same text twice in a row is kept once.

        With ``replaces`` it takes the place of the last line if that was added so too: a place
        in the queue that changes for hours is one line. The oldest of too many lines goes.
        """
        text = " ".join(str(message).split())[:MAX_MESSAGE]
        if not text:
            return
        if progress is not None:
            self._percent = max(self._percent, min(int(progress), 99))
        last = next(reversed(self._events.values()), None)
        if last is not None and last.message == text:
            return
        if last is not None and last.replaces and replaces:
            self._events.popitem()
        elif len(self._events) >= MAX_EVENTS:
            del self._events[next(iter(self._events))]
        self._count += 1
        self._events[self._count] = Event(text, self._percent, replaces=replaces)
        for waiter in self._waiters:
            waiter.set()

    def reset(self) -> None:
        """A new start begins with an empty page."""
        self._events = {}
        self._percent = 0

    @property
    def lines(self) -> tuple[str, ...]:
        """All messages so far."""
        return tuple(event.message for event in self._events.values())

    async def follow(self) -> AsyncIterator[Event]:
        """Every line so far, then each new one; ends when the caller stops listening."""
        waiter = asyncio.Event()
        self._waiters.append(waiter)
        shown = 0
        try:
            while True:
                waiter.clear()
                while (new := min((n for n in self._events if n > shown), default=0)) > 0:
                    shown = new
                    yield self._events[new]
                await waiter.wait()
        finally:
            self._waiters.remove(waiter)


def sse(event: Event) -> dict[str, Any]:
    """What JupyterHub sends to the page for ``event``."""
    body: dict[str, Any] = {"message": event.message, "at": round(event.at, 1)}
    if event.progress is not None:
        body["progress"] = event.progress
    if event.replaces:
        body["replaces"] = True
    return body
