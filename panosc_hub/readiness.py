"""Wait until a started server listens, or notice at once that its session has ended.

JupyterHub waits too, but knows only "no answer": a session that died looks like one that is
slow, and both count as failures of the Hub. Here both become a sentence for the user. A
connection is enough to know; JupyterHub's own request follows right after.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from .errors import BackendError

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.25
"""Seconds between two tries: a small server is there in a blink, JupyterLab takes two seconds."""

CONNECT_SECONDS = 2.0
"""For one try; a host behind a firewall never says no."""


async def until_listening(
    url: str,
    *,
    seconds: float,
    poll: Callable[[], Awaitable[int | None]],
    why: Callable[[], str],
) -> None:
    """Return when somebody listens at ``url``. Raises ``BackendError`` if the session ends first
    or nobody does within ``seconds``. ``poll`` is the spawner's, ``why`` its words for an end."""
    where, pause = urlsplit(url), FIRST_PAUSE
    deadline = time.monotonic() + seconds
    while not await _listens(where.hostname or "", where.port or 80):
        if await poll() is not None:
            raise BackendError(
                f"{why() or 'The session ended.'} That was before the notebook server "
                "answered; its log has more.",
                reason="exited",
            )
        if time.monotonic() > deadline:
            raise BackendError(
                f"The session runs, but its notebook server did not answer within {seconds:.0f} "
                "seconds, so it was stopped. Try again, or choose another environment.",
                reason="timeout",
            )
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


async def _listens(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
