"""When a session would start if it were submitted now: ``sbatch --test-only``, sparingly.

The answer for the same resources is kept for a while and shared by all who ask meanwhile; a
limit per minute keeps many open pages from becoming a load on Slurm. Nothing is submitted.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from traitlets import Float, Integer
from traitlets.config import LoggingConfigurable

from ...errors import BackendUnavailable
from ..base import Estimate
from . import words
from .client import Answer, SlurmClient
from .pending import parse_time

_SHARE = 3
"""One person may use a third of what all may ask in a minute."""


@dataclass(frozen=True, slots=True)
class _Known:
    asked: float
    task: asyncio.Task[Estimate | None]


def read_test(answer: Answer, now: float) -> Estimate | None:
    """What ``sbatch --test-only`` said; None if it does not tell. Pure."""
    found = re.search(r"\bJob \d+ to start at (\S+)", answer.err + answer.out)
    if found and answer.status == 0:
        starts = parse_time(found.group(1))
        if starts is None:
            return None
        when = words.clock(starts, now)
        return Estimate(True, starts, "starts now" if when == "now" else f"starts {when}")
    if answer.status == 0 or answer.unanswered:
        return None
    why = answer.complaint.rstrip(".")
    return Estimate(False, None, f"Slurm would refuse this: {why}.")


class StartEstimator(LoggingConfigurable):
    """Asks Slurm when a session would start."""

    keep = Float(
        60,
        min=0,
        config=True,
        help="Seconds for which an estimate is shown again; an estimate is a guess in any case.",
    )
    per_minute = Integer(
        30,
        min=0,
        config=True,
        help="""
        How many estimates Slurm is asked for in a minute, for all pages together; one person
        may use a third of them. Each makes slurmctld try a schedule. 0 asks for none.
        """,
    )

    def __init__(self, client: SlurmClient, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.client = client
        self._known: dict[tuple[str, ...], _Known] = {}
        self._asked: deque[tuple[float, str]] = deque()

    async def estimate(self, options: Sequence[str], username: str, person: str) -> Estimate | None:
        """The estimate for a job of ``options`` (``--partition=…`` and so on) of ``username``.

        ``person`` is who asks. None when Slurm cannot tell, or was asked too often.
        """
        now = time.monotonic()
        key = (username, *options)
        known = self._known.get(key)
        if known is None or now - known.asked >= self.keep:
            if not self._may_ask(now, person):
                return None
            self._known = {k: v for k, v in self._known.items() if now - v.asked < self.keep}
            task = asyncio.get_running_loop().create_task(self._ask(options, username))
            known = self._known[key] = _Known(now, task)
        # Shielded: one who goes away must not take the answer from the others.
        return await asyncio.shield(known.task)

    def _may_ask(self, now: float, person: str) -> bool:
        while self._asked and now - self._asked[0][0] >= 60:
            self._asked.popleft()
        mine = sum(who == person for _, who in self._asked)
        if len(self._asked) >= self.per_minute or mine >= max(1, self.per_minute // _SHARE):
            return False
        self._asked.append((now, person))
        return True

    async def _ask(self, options: Sequence[str], username: str) -> Estimate | None:
        try:
            return read_test(await self.client.try_out(options, username), time.time())
        except BackendUnavailable as error:
            self.log.info("No estimate: %s", error)
            return None
