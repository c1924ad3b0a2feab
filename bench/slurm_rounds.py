"""What one round of questions about 1,000 running servers costs slurmctld and the Hub.

A round is every server asked once, ``await spawner.poll()``, as JupyterHub asks each 30 seconds.
For the peer that is a thousand commands. For us it is a thousand look-ups and the one look at the
queue that serves them all, which is counted in full with the round although it may serve several.

CPU time of slurmctld is read from the clock of its process. What it uses without being asked is
measured in the same round and taken off both sides. CPU time of the Hub is that of this process
with all its threads; the second row adds the commands that it ran.

The last row has 9,000 held jobs of other people in the queue besides: we read them all, the peer
asks for its own jobs one by one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from .rows import Benchmark, Row, Target, in_turns
from .slurm_bed import CROWD, SERVERS, Bed, Cpu, bed
from .slurm_servers import OURS, PEER, Servers, servers

AT_ONCE = 20
"""Polls of the peer at the same time: JupyterHub spreads them, this host would not like more."""

LOOKS = 5
"""Our rounds are short, so each number is the mean of so many."""

IDLE_SECONDS = 0.5

HUB = Row("Hub CPU per poll, 1,000 running", "µs", Target.parse("<= 0.02"))
ALL = Row("Hub CPU per poll, its commands included", "µs", Target.parse("<= 0.02"))
FEW = Row("slurmctld CPU per round, 1,000 jobs", "ms", Target.parse("<= 0.01"))
MANY = Row(f"slurmctld CPU per round, {CROWD:,} jobs in the queue", "ms", Target.parse("<= 0.05"))


async def poll_all(spawners: list[Any]) -> None:
    """Ask every server; all must be known to run."""
    waiting = iter(spawners)

    async def some() -> None:
        for spawner in waiting:
            if await spawner.poll() is not None:
                known = spawner.get_state()
                raise RuntimeError(f"a running server was called stopped: {known}")

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(some())


class Rounds:
    """Both sides' rounds, each with everything that it used."""

    def __init__(self, hub: Servers, ours: list[Any], peer: list[Any]) -> None:
        self.hub, self.bed, self.ours, self.peer = hub, hub.bed, ours, peer
        self.used: dict[str, list[Cpu]] = {OURS: [], PEER: []}

    async def idle(self) -> float:
        """CPU seconds per second that slurmctld uses for itself."""
        before = self.bed.cpu()
        await asyncio.sleep(IDLE_SECONDS)
        return (self.bed.cpu() - before).controller / IDLE_SECONDS

    async def measured(self, side: str, one: Callable[[], Any], times: int) -> float:
        """Milliseconds of slurmctld for one round, after taking off what it uses anyway."""
        idle = await self.idle()
        began, before = asyncio.get_running_loop().time(), self.bed.cpu()
        for _ in range(times):
            await one()
        used, took = self.bed.cpu() - before, asyncio.get_running_loop().time() - began
        controller = max(0.0, used.controller - idle * took)
        self.used[side].append(Cpu(used.hub / times, used.commands / times, controller / times))
        return controller / times * 1000

    async def our_round(self) -> None:
        """The look, and everybody's question."""
        await self.hub.jobs.look()
        if self.hub.jobs.trouble:
            raise RuntimeError(self.hub.jobs.trouble)
        await poll_all(self.ours)

    async def both(self, rounds: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """In turns."""
        for numbers in self.used.values():
            numbers.clear()
        return await in_turns(
            rounds,
            partial(self.measured, OURS, self.our_round, LOOKS),
            partial(self.measured, PEER, partial(poll_all, self.peer), 1),
        )

    def row(self, row: Row, per_poll: Callable[[Cpu], float]) -> Row:
        """Microseconds per poll of the rounds that count."""
        a, b = (
            tuple(per_poll(used) / SERVERS * 1e6 for used in self.used[side][1:])
            for side in (OURS, PEER)
        )
        return Row(row.name, row.unit, row.target, a, b)


async def run(rounds: int) -> list[Row]:
    """Measure."""
    cluster: Bed = await asyncio.to_thread(bed)
    async with servers(cluster) as hub:
        peer = await hub.known(PEER, SERVERS)
        ours = await hub.known(OURS, SERVERS)
        turns = Rounds(hub, ours, peer)
        few = Row(FEW.name, FEW.unit, FEW.target, *await turns.both(rounds))
        hub_only = turns.row(HUB, lambda used: used.hub)
        with_commands = turns.row(ALL, lambda used: used.hub + used.commands)
        await asyncio.to_thread(cluster.crowd)
        many = Row(MANY.name, MANY.unit, MANY.target, *await turns.both(rounds))
        await asyncio.to_thread(cluster.disperse)
    return [few, many, hub_only, with_commands]


BENCHMARK = Benchmark("slurm-rounds", 3, (FEW, MANY, HUB, ALL), run)
