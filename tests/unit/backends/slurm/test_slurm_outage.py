"""Five minutes without slurmctld and a thousand known servers, in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from traitlets.config import Config

from panosc_hub.backends.slurm import (
    client,
    evidence,
    facts,
    ledger,
    pending,
    reader,
    renewed,
    watcher,
)
from panosc_hub.backends.slurm.client import SlurmClient
from panosc_hub.backends.slurm.memberships import AccountWatcher
from panosc_hub.backends.slurm.nodes import NodeWatcher
from panosc_hub.backends.slurm.pending import PendingWatcher
from panosc_hub.backends.slurm.watcher import SlurmWatcher
from panosc_hub.core.jobstate import JobState, poll_status
from panosc_hub.errors import BackendUnavailable

HEADER = "JOBID|STATE|EXEC_HOST|USER|START_TIME|TIME_LEFT|REASON|."
COUNT = 1000


class Clock:
    """Time that passes only while somebody waits for the next look."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 1_000_000 + self.now


class Cluster(SlurmClient):
    """A Slurm with a thousand running jobs that can be away; each failure takes ten seconds."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.away = False
        self.commands: list[tuple[float, str]] = []

    async def query(self, command: str, *arguments: str, username: str = "") -> str:
        await asyncio.sleep(0)
        self.commands.append((self.clock.now, command))
        if self.away:
            self.clock.now += 10  # Slurm's MessageTimeout
            raise BackendUnavailable("SLURM does not answer (squeue: timed out).")
        if command == "scontrol":
            return "SLURM_VERSION = 22.05.8\n"
        rows = (f"{job}|RUNNING|cn1|paula|N/A|1:00:00|None|." for job in range(1, COUNT + 1))
        return "\n".join([HEADER, *rows, ""])


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    fake = SimpleNamespace(monotonic=clock.monotonic, time=clock.time)
    for module in (watcher, ledger, facts, reader, evidence, client, pending, renewed):
        monkeypatch.setattr(module, "time", fake)
    return clock


@contextlib.asynccontextmanager
async def watched(client: Cluster) -> AsyncIterator[SlurmWatcher]:
    found = SlurmWatcher(client, config=Config())
    found.log = logging.getLogger("outage")
    for job in range(1, COUNT + 1):
        found.jobs[f"n{job}"] = ledger.Watched(f"n{job}", str(job))
    yield found
    await found.close()


async def passes(slurm: SlurmWatcher, clock: Clock, seconds: float) -> None:
    """Look, wait for as long as the watcher would, and so on."""
    end = clock.now + seconds
    while clock.now < end:
        await slurm.look()
        clock.now += slurm.pause()


def lost(slurm: SlurmWatcher) -> list[str]:
    return [name for name in slurm.jobs if poll_status(slurm.see(name).state) is not None]


async def test_five_minutes_without_slurmctld_lose_none_of_a_thousand_servers(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    client = Cluster(clock)
    async with watched(client) as slurm:
        await passes(slurm, clock, 60)
        assert lost(slurm) == []
        before = len(client.commands)
        client.away = True
        began = clock.now
        await passes(slurm, clock, 300)
        assert lost(slurm) == []
        assert {slurm.see(name).state for name in slurm.jobs} == {JobState.RUNNING}
        warnings = [r for r in caplog.records if r.levelno >= logging.WARNING]
        assert 1 <= len(warnings) <= (clock.now - began) / 60 + 1
        assert len(client.commands) - before <= 10  # the peers would ask ten thousand times
        client.away = False
        await passes(slurm, clock, 100)
        assert lost(slurm) == []
        assert slurm.trouble == ""


async def test_all_who_notice_the_outage_say_one_line_a_minute(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Queue, nodes, accounts and waiting jobs are looked at by four; the outage is one."""
    slurm_client = Cluster(clock)
    slurm_client.away = True
    log = logging.getLogger("outage")
    others = (NodeWatcher(slurm_client, log=log), AccountWatcher(slurm_client, log=log))
    waiting = PendingWatcher(slurm_client, log=log)
    async with watched(slurm_client) as slurm:
        began = clock.now
        while clock.now - began < 300:
            await slurm.look()
            await asyncio.gather(*(each.refresh() for each in others), waiting.refresh())
            clock.now += slurm.pause()
    assert all(each.trouble for each in others)
    warnings = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(slurm_client.commands) > 3 * len(warnings)
    assert 2 <= len(warnings) <= (clock.now - began) / 60 + 1


async def test_a_hub_restarted_in_the_outage_keeps_all_it_has_never_seen(clock: Clock) -> None:
    client = Cluster(clock)
    client.away = True
    async with watched(client) as slurm:
        await passes(slurm, clock, 300)
        assert lost(slurm) == []
        assert {slurm.see(name).state for name in slurm.jobs} == {JobState.UNKNOWN}
        client.away = False
        await passes(slurm, clock, 100)
        states: set[Any] = {slurm.see(name).state for name in slurm.jobs}
        assert states == {JobState.RUNNING}
