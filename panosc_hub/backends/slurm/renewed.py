"""A look that many share: kept for an interval, renewed in the background, one at a time."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from traitlets.config import LoggingConfigurable

from .client import SlurmClient


class Renewed(LoggingConfigurable):
    """Base of the watchers that look only when somebody asks."""

    interval: Any
    """Seconds for which a look is good; each watcher has a default and a reason of its own."""

    def __init__(self, client: SlurmClient, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.client = client
        self.looked: float | None = None
        """``time.time()`` of the last look that succeeded."""

        self.trouble = ""
        """Why the last look failed; empty when it did not."""

        self._tried = -1e9
        self._task: asyncio.Task[None] | None = None

    @property
    def _due(self) -> bool:
        return time.monotonic() - self._tried >= self.interval

    def renew(self) -> None:
        """Begin a look in the background if the last one is too old. Returns at once."""
        if self._due:
            self.refresh()

    def refresh(self) -> asyncio.Task[None]:
        """Begin a look, unless one is under way, and return its task."""
        if self._task is None or self._task.done():
            self._tried = time.monotonic()
            self._task = asyncio.get_running_loop().create_task(self._look())
        return self._task

    async def at_hand(self, patience: float) -> None:
        """Wait for a look that is not too old, at most ``patience`` seconds. Never raises."""
        self.renew()
        if self._task is not None:
            # ``wait`` leaves the look alone when the time is over: others wait for it too.
            await asyncio.wait([self._task], timeout=patience)

    async def _look(self) -> None:
        """Look, and note what came of it. Raises nothing."""
        raise NotImplementedError
