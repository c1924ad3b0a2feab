"""How many Slurm commands a minute takes, counted: small programs in front of the real ones.

*1,000 running*: JupyterHub's own regular polling of both sides' servers, at the default interval
of 30 seconds, in the same minute. The polls are spread over the interval before the count begins,
as they are in a Hub whose users came one by one. Nothing is multiplied: the rows are what was run.

*100 waiting*: a hundred starts of each side, really submitted to a partition that is full.
The count begins when all are submitted: a minute of ours, then a shorter time of the peer's, which
asks for each of its jobs twice a second, as fast as this host allows; that count is scaled to a
minute. On a small or busy host the peer gets fewer questions asked than it wants, so the ratio
there is worse than on a large one.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .rows import Benchmark, Row, Target
from .slurm_bed import COMMANDS, SERVERS, Bed, bed
from .slurm_hub import all_submitted, end
from .slurm_servers import OURS, PEER, Servers, servers

WAITING = 100
MINUTE = 60.0
PEER_SECONDS = 20.0

RUNNING = Row("Slurm commands per minute, 1,000 running", "1/min", Target.parse("<= 0.002"))
PENDING = Row("Slurm commands per minute, 100 waiting", "1/min", Target.parse("<= 0.002"))


@contextmanager
def _first_in_path(folder: Path) -> Iterator[None]:
    before = os.environ.get("PATH", os.defpath)
    os.environ["PATH"] = f"{folder}:{before}"
    try:
        yield
    finally:
        os.environ["PATH"] = before


async def running(hub: Servers, counted: dict[str, Path]) -> Row:
    """A minute of both."""
    both = {side: await hub.known(side, SERVERS) for side in (OURS, PEER)}
    interval = both[PEER][0].poll_interval
    for ours, peer in zip(both[OURS], both[PEER], strict=True):
        ours.start_polling()
        peer.start_polling()
        await asyncio.sleep(interval / SERVERS)
    before = {side: Bed.count(folder) for side, folder in counted.items()}
    hub.jobs.refresh_now()  # so that two of our looks fall into the minute, and not just one
    await asyncio.sleep(MINUTE)
    counts = {side: Bed.count(folder) - before[side] for side, folder in counted.items()}
    for spawner in both[OURS] + both[PEER]:
        spawner.stop_polling()
    return Row(RUNNING.name, RUNNING.unit, RUNNING.target, (counts[OURS],), (counts[PEER],))


async def waiting(hub: Servers, side: str, folder: Path, seconds: float) -> float:
    """Commands per minute while ``WAITING`` starts wait."""
    spawners = hub.make(side, WAITING, "wait")
    starts = []
    for spawner in spawners:
        if side == OURS:
            spawner.apply_choice({"v": 1, "profile": "waiting"})
        starts.append(asyncio.create_task(spawner.start()))
    await all_submitted(side, spawners)
    before, began = Bed.count(folder), asyncio.get_running_loop().time()
    await asyncio.sleep(seconds)
    count, took = Bed.count(folder) - before, asyncio.get_running_loop().time() - began
    await end(starts, spawners)
    return count / took * MINUTE


async def run(_: int) -> list[Row]:
    """Measure, once: what is counted over a minute needs no median."""
    cluster = await asyncio.to_thread(bed)
    counted = {side: cluster.counted(side) for side in (OURS, PEER)}
    ours = {name: str(counted[OURS] / name) for name in COMMANDS if name != "sacctmgr"}
    with _first_in_path(counted[PEER]):
        async with servers(cluster, SlurmClient=ours) as hub:
            rows = [await running(hub, counted)]
            await hub.forget()
            a = await waiting(hub, OURS, counted[OURS], MINUTE)
            await hub.forget()
            b = await waiting(hub, PEER, counted[PEER], PEER_SECONDS)
    return [*rows, Row(PENDING.name, PENDING.unit, PENDING.target, (a,), (b,))]


BENCHMARK = Benchmark("slurm-commands", 1, (RUNNING, PENDING), run)
