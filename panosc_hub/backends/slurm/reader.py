"""One look at the queue: the questions that are put to squeue, and whose absence proves something.

Usually one question for all jobs. Where Slurm hides the users' jobs from the Hub's account, one
for each person, as that person, for a bounded number of people per look.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from ...errors import BackendError, BackendUnavailable
from .client import SlurmClient
from .cost import Costs, Way
from .facts import FactFinder
from .ledger import Question
from .parse import NAMED_FORMAT, QUEUE_FORMAT, Garbled, JobRow, parse_named, parse_queue

T = TypeVar("T")
LONG = 200_000
"""Characters of an answer above which it is read in a thread: the event loop must not wait."""


@dataclass(slots=True)
class Look:
    """What one look told. ``rows`` by our job names; of the names in ``asked`` that have no row,
    Slurm does not know the job (by that id) any more, or not yet."""

    rows: dict[str, JobRow] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    refused: str = ""
    """Why some people's jobs could not be asked for."""


class QueueReader:
    """``limit``: most ids in one question; ``people``: most people asked for in one look."""

    def __init__(self, client: SlurmClient, facts: FactFinder, limit: int, people: int) -> None:
        self.client = client
        self.facts = facts
        self.costs = Costs(limit)
        self.people = people
        self._asked_for: dict[str, float] = {}

    async def look(self, jobs: Sequence[Question]) -> Look:
        """Raises :class:`BackendUnavailable` or :class:`Garbled` if Slurm cannot tell."""
        await self.facts.renew()
        if self.facts.ours_hidden:
            return await self._each_person(jobs)
        look = Look(asked={job.name for job in jobs})
        ids = {job.job_id for job in jobs if job.job_id}
        rows = await self._measured(ids)
        named = await self.by_name([job.name for job in jobs if not job.job_id])
        for job in jobs:
            row = rows.get(job.job_id) if job.job_id else named.get(job.name)
            if row is not None:
                look.rows[job.name] = row
        if len(look.rows) < len(jobs) and self.client.run_as and os.geteuid() != 0:
            # An administrator may have begun to hide jobs a minute ago.
            await self.facts.renew(0)
            if self.facts.ours_hidden:
                look.asked = set(look.rows)
        return look

    async def _each_person(self, jobs: Sequence[Question]) -> Look:
        people: dict[str, list[Question]] = {}
        for job in jobs:
            if job.account:  # whose it is not known would be asked for as the Hub, in vain
                people.setdefault(job.account, []).append(job)
        now = time.monotonic()
        self._asked_for = {name: self._asked_for.get(name, -1e9) for name in people}
        turn = sorted(
            people,
            key=lambda name: (not any(job.urgent for job in people[name]), self._asked_for[name]),
        )
        # Busy people first, but not alone: the others must come to their turn too.
        half = self.people // 2
        chosen = [*turn[: self.people - half]]
        rest = sorted(set(turn) - set(chosen), key=self._asked_for.__getitem__)
        chosen += rest[:half]
        self._asked_for |= dict.fromkeys(chosen, now)
        answers = await asyncio.gather(
            *(self._person(name, people[name]) for name in chosen), return_exceptions=True
        )
        look = Look()
        for answer in answers:
            if isinstance(answer, (BackendUnavailable, BackendError, Garbled)):
                look.refused = str(answer)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                look.rows |= answer.rows
                look.asked |= answer.asked
        if chosen and not look.asked:
            raise BackendUnavailable(look.refused)
        return look

    async def _person(self, account: str, jobs: Sequence[Question]) -> Look:
        ids = {job.job_id for job in jobs if job.job_id}
        rows = await self._by_id(ids, Way.IDS, account)
        named = await self.by_name([job.name for job in jobs if not job.job_id], account)
        found = {
            job.name: row
            for job in jobs
            if (row := rows.get(job.job_id) if job.job_id else named.get(job.name)) is not None
        }
        return Look(found, {job.name for job in jobs})

    async def _measured(self, ids: set[str]) -> dict[str, JobRow]:
        if not ids:
            return {}
        way, began = self.costs.choose(len(ids)), time.monotonic()
        try:
            rows = await self._by_id(ids, way)
        except (BackendUnavailable, Garbled):
            self.costs.failed(way)
            raise
        self.costs.took(way, len(ids), time.monotonic() - began)
        return rows

    async def _by_id(self, ids: set[str], way: Way, account: str = "") -> dict[str, JobRow]:
        if not ids:
            return {}
        arguments = ["--states=all", f"--format={QUEUE_FORMAT}"]
        if way is Way.IDS:
            # One id alone makes squeue fail when the job is gone; a list just leaves it out.
            arguments.append(f"--jobs={','.join([*sorted(ids), min(ids)])}")
        answer = await self.client.query("squeue", *arguments, username=account)
        return await _read(parse_queue, answer)

    async def by_name(self, names: Iterable[str], account: str = "") -> dict[str, JobRow]:
        """Jobs by their names; as ``account`` where that is given."""
        if not (listed := ",".join(names)):
            return {}
        arguments = ["--states=all", f"--format={NAMED_FORMAT}", f"--name={listed}"]
        return parse_named(await self.client.query("squeue", *arguments, username=account))


async def _read(parse: Callable[[str], T], text: str) -> T:
    return await asyncio.to_thread(parse, text) if len(text) > LONG else parse(text)
