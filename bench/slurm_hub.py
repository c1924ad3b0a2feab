"""What a thousand SLURM servers cost the Hub: after a restart, in its memory, and others' waits.

*Restart*: from spawner objects as JupyterHub makes them to the moment in which it is known of
each of 1,000 running servers that it runs: ``load_state``, then everybody's ``poll`` at once as
JupyterHub's own start-up does, then, for us, the first look at the queue. Making the objects is
not in it, nor are JupyterHub's HTTP checks. Every round has new objects and an empty watcher.

*Memory*: what 1,000 of these servers add to Python's memory (``tracemalloc``): the spawner object
and everything that it made, with its state loaded, polled once, and its regular polling started.
The database's own objects were there before.

*Lag*: how late a callback is that should come after 2 ms, p99, with 1,000 running servers known.
First while twenty servers are polled at the same time every quarter of a second, then while
twenty are being started: submitted with the real sbatch to a partition that starts nothing, and
waited for, for some seconds. Ours also looks at the whole queue meanwhile, as it always does, and
writes each job's name to the database before sbatch and its number after, which the peer does not:
there the target is not to be later than the peer.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from .rows import Benchmark, Row, Target, in_turns
from .slurm_bed import SERVERS, bed
from .slurm_servers import OURS, PEER, Servers, servers

AT_ONCE = 20
EVERY = 0.25
BURSTS = 12
STARTING_SECONDS = 3.0
SUBMITTING_SECONDS = 60.0
STEP = 0.002

RESTART = Row("Hub restart until 1,000 servers are known", "s", Target.parse("<= 0.1"))
MEMORY = Row("memory per running server", "KiB", Target.parse("<= 1.3"))
POLLS = Row("event loop lag p99, 20 polls at once", "ms", Target.parse("<= 0.2"))
STARTS = Row("event loop lag p99, 20 starts at once", "ms", Target.parse("<= 1"))


async def restart(hub: Servers, side: str) -> float:
    """Seconds until all are known."""
    await hub.forget()
    spawners = hub.make(side, SERVERS)
    gc.collect()
    began = time.perf_counter()
    hub.load(side, spawners)
    found = await asyncio.gather(*(spawner.poll() for spawner in spawners))
    if side == OURS:
        await _all_running(hub)
    took = time.perf_counter() - began
    if lost := [status for status in found if status is not None]:
        raise RuntimeError(f"{len(lost)} running servers were called stopped")
    return took


async def _all_running(hub: Servers) -> None:
    from panosc_hub.core.jobstate import JobState

    jobs = hub.jobs
    while True:
        states = [jobs.see(name).state for name in jobs.jobs]
        if states.count(JobState.RUNNING) == SERVERS:
            return
        if jobs.trouble:
            raise RuntimeError(jobs.trouble)
        await jobs.news(30)


async def memory(hub: Servers, side: str) -> float:
    """KiB of each of the servers."""
    await hub.forget()
    hub.make(side, SERVERS)  # their database objects are made now
    # What is shared by all must not be counted with these: another server does everything first.
    first = hub.make(side, 1, "first")
    hub.load(side, first)
    await first[0].poll()
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        spawners = hub.make(side, SERVERS)
        hub.load(side, spawners)
        for spawner in spawners:
            await spawner.poll()
            spawner.start_polling()
        if side == OURS:
            await hub.jobs.look()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    for spawner in spawners:
        spawner.stop_polling()
    return (after - before) / SERVERS / 1024


class Lag:
    """Measures how late the event loop is while a ``with`` block runs."""

    def __init__(self) -> None:
        self.late: list[float] = []

    async def _measure(self) -> None:
        while True:
            due = time.perf_counter() + STEP
            await asyncio.sleep(STEP)
            self.late.append(time.perf_counter() - due)

    async def __aenter__(self) -> Lag:
        self._task = asyncio.create_task(self._measure())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    @property
    def p99(self) -> float:
        """Milliseconds."""
        return statistics.quantiles(self.late, n=100)[98] * 1000


async def lag_of_polls(spawners: list[Any]) -> float:
    """p99 while ``AT_ONCE`` are polled at the same time, again and again."""
    async with Lag() as lag:
        for burst in range(BURSTS):
            due = asyncio.get_running_loop().time() + EVERY
            first = burst * AT_ONCE % len(spawners)
            await asyncio.gather(*(s.poll() for s in spawners[first : first + AT_ONCE]))
            await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
    return lag.p99


async def lag_of_starts(hub: Servers, side: str) -> float:
    """p99 while ``AT_ONCE`` are started, from the call on; ending them is not measured."""
    spawners = hub.make(side, AT_ONCE, "start")
    starts = []
    async with Lag() as lag:
        for spawner in spawners:
            if side == OURS:
                spawner.apply_choice({"v": 1, "profile": "waiting"})
            starts.append(asyncio.create_task(spawner.start()))
        await asyncio.wait(starts, timeout=STARTING_SECONDS)
        await all_submitted(side, spawners)
    await end(starts, spawners)
    return lag.p99


async def all_submitted(side: str, spawners: list[Any]) -> None:
    """Return when Slurm has taken every job."""
    deadline = asyncio.get_running_loop().time() + SUBMITTING_SECONDS
    for spawner in spawners:
        while not _job_id(side, spawner):
            if asyncio.get_running_loop().time() > deadline:
                raise RuntimeError(f"not submitted within {SUBMITTING_SECONDS:.0f} s")
            await asyncio.sleep(0.1)


def _job_id(side: str, spawner: Any) -> str:
    saved = spawner.get_state()
    if side == OURS:
        saved = saved.get("backends", {}).get("slurm", {})
    return str(saved.get("job_id", ""))


async def end(starts: list[asyncio.Task[Any]], spawners: list[Any]) -> None:
    """Give up starts that wait; one that has ended already was none."""
    if over := [start for start in starts if start.done()]:
        await asyncio.gather(*over)
        raise RuntimeError("a start came to an end")
    for start in starts:
        start.cancel()
    await asyncio.gather(*starts, return_exceptions=True)
    for spawner in spawners:
        await spawner.stop(now=True)


async def _in_turns(row: Row, rounds: int, one: Callable[[str], Awaitable[float]]) -> Row:
    a, b = await in_turns(rounds, partial(one, OURS), partial(one, PEER))
    return Row(row.name, row.unit, row.target, a, b)


async def run(rounds: int) -> list[Row]:
    """Measure."""
    cluster = await asyncio.to_thread(bed)
    async with servers(cluster) as hub:
        rows = [
            await _in_turns(RESTART, rounds, partial(restart, hub)),
            await _in_turns(MEMORY, rounds, partial(memory, hub)),
        ]
        await hub.forget()
        known = {side: await hub.known(side, SERVERS) for side in (PEER, OURS)}
        rows += [
            await _in_turns(POLLS, rounds, lambda side: lag_of_polls(known[side])),
            await _in_turns(STARTS, rounds, partial(lag_of_starts, hub)),
        ]
    return rows


BENCHMARK = Benchmark("slurm-hub", 3, (RESTART, MEMORY, POLLS, STARTS), run)
