"""Spawns per second when starting a server costs nothing: what the spawner itself adds.

Two real Hubs with SQLite files; one runs ``PanoscSpawner`` as ``panosc_hub.configure`` sets it up
(hook, policy, state) with a backend that starts nothing, the other a bare ``Spawner`` that starts
nothing. In a round, ``USERS`` servers are started by ``AT_ONCE`` concurrent clients with the same
request; the number is ``USERS`` ÷ the time until the last is ready. Stopping is not measured.
Rounds are short and many, so that what else the host does falls on both sides alike.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import jupyterhub

from .hub import BenchHub, hubs
from .rows import Benchmark, Row, Target, in_turns

USERS = 8
AT_ONCE = 4
REQUEST: dict[str, object] = {"user_options": {"profile": "noop"}}

ROW = Row("spawns per second, nothing to start", "1/s", Target.parse(">= 0.9"))

SITE = """
facility: {id: bench, title: Benchmark}
environments: [{id: any, title: Any}]
profiles: [{id: noop, title: No-op, backend: noop, memory: 1G}]
"""
OURS = """
import panosc_hub
panosc_hub.configure(c, site={site!r})
c.PanoscSpawner.backends = {{"noop": "bench.inhub.NoopBackend"}}
c.NoopSpawner.url = {url!r}
"""
PEER = """
c.JupyterHub.spawner_class = "bench.inhub.NoopSpawner"
c.NoopSpawner.url = {url!r}
"""


@asynccontextmanager
async def tiny_server() -> AsyncIterator[str]:
    """The server that all sessions share: answers anything with 200, as a single-user server."""
    answer = (
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: application/json\r\n"
        f"X-JupyterHub-Version: {jupyterhub.__version__}\r\nConnection: close\r\n\r\n{{}}"
    ).encode()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            writer.close()  # a connection that only asked whether somebody listens
            return
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def burst(hub: BenchHub, users: list[str]) -> float:
    """Start all servers, ``AT_ONCE`` at a time; spawns per second."""
    waiting = iter(users)

    async def client() -> None:
        for user in waiting:
            await hub.spawn(user, REQUEST)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(client())
    took = time.perf_counter() - began
    for user in users:
        await hub.stop_server(user)
    return len(users) / took


async def run(rounds: int) -> list[Row]:
    """Measure."""
    users = [f"user{n}" for n in range(USERS)]
    with tempfile.TemporaryDirectory(prefix="panosc-bench-") as name:
        folder = Path(name)
        (folder / "site.yaml").write_text(SITE)
        async with tiny_server() as url:
            ours = BenchHub(folder / "ours", OURS.format(site=str(folder / "site.yaml"), url=url))
            peer = BenchHub(folder / "peer", PEER.format(url=url))
            async with hubs(ours, peer):
                await ours.add_users(users)
                await peer.add_users(users)
                a, b = await in_turns(
                    rounds, lambda: burst(ours, users), lambda: burst(peer, users)
                )
    return [Row(ROW.name, ROW.unit, ROW.target, a, b)]


BENCHMARK = Benchmark("spawns", 45, (ROW,), run)
