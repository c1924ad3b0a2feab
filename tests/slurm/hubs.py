"""Real Hubs whose sessions are jobs of a real Slurm."""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tests.hub.harness import ROOT, HubProcess
from tests.slurm.cluster import Cluster

SITE = """
facility: {{id: test, title: Test facility, support: help@test.example}}
areas: {{}}
catalogue: {{kind: static, file: proposals.yaml}}
environments:
  - {{id: tiny, title: Tiny server, command: [{python}, {tiny}]}}
profiles:
  - &small
    id: small
    title: Small
    backend: slurm
    memory: 1G
    walltime: 10m
    start_timeout: 90
    options: {{partition: cpu}}
  - {{<<: *small, id: gpu, title: On another partition, options: {{partition: gpu}}}}
  - {{<<: *small, id: gated, title: Waits on the node,
      options: {{partition: cpu, prologue: "while [ ! -e {folder}/gate ]; do sleep 0.1; done"}}}}
  - {{<<: *small, id: short, title: Gives up soon, start_timeout: 2, options: {{partition: gpu}}}}
  - {{<<: *small, id: requeue, title: Requeued, options: {{partition: cpu, requeue: true}}}}
"""

CONFIG = """
import panosc_hub
panosc_hub.configure(c, site={site!r})
c.JupyterHub.init_spawners_timeout = 1
c.JupyterHub.concurrent_spawn_limit = 0
c.Spawner.poll_interval = 1
c.SlurmBackend.home_template = {homes!r}
c.SlurmBackend.connect_to = "address"
c.SlurmBackend.hub_name = "hub-under-test"
c.SlurmBackend.adoption_grace = 5
c.SlurmWatcher.interval = 0.5
c.SlurmWatcher.busy_interval = 0.2
c.SlurmWatcher.longest_interval = 1
c.SlurmClient.query_timeout = 5
"""


def make_hub(folder: Path, cluster: Cluster, extra: str = "") -> HubProcess:
    """A Hub of its own in ``folder``; not started yet."""
    (folder / "proposals.yaml").write_text("proposals: []\n")
    tiny = ROOT / "tests" / "hub" / "tiny_server.py"
    (folder / "site.yaml").write_text(SITE.format(python=sys.executable, tiny=tiny, folder=folder))
    config = CONFIG.format(site=str(folder / "site.yaml"), homes=str(folder / "home/{username}"))
    (folder / "hub").mkdir()
    return HubProcess(folder / "hub", config + extra, env=cluster.environment)


async def ask(hub: HubProcess, user: str, profile: str = "small", name: str = "") -> int:
    """Ask for a server by the REST API; the status of the answer."""
    async with hub.api() as api:
        await api.post(f"/users/{user}")
        path = f"/users/{user}/servers/{name}" if name else f"/users/{user}/server"
        return (await api.post(path, json={"profile": profile})).status_code


async def stop(hub: HubProcess, user: str, name: str = "") -> int:
    async with hub.api() as api:
        path = f"/users/{user}/servers/{name}" if name else f"/users/{user}/server"
        return (await api.delete(path)).status_code


def saved(hub: HubProcess, user: str, name: str = "") -> dict[str, Any]:
    """The server's state as the database has it on the disk."""
    query = (
        "select s.state from spawners s join users u on u.id = s.user_id"
        " where u.name = ? and s.name = ?"
    )
    uri = f"file:{hub.folder / 'hub.sqlite'}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=10)) as database:
        row = database.execute(query, (user, name)).fetchone()
    found: dict[str, Any] = json.loads(row[0] or "{}") if row else {}
    return found


@contextmanager
def rewritten(hub: HubProcess, user: str, name: str = "") -> Iterator[dict[str, Any]]:
    """The saved state of a Hub that is down, to be changed as time would have changed it."""
    state = saved(hub, user, name)
    yield state
    query = (
        "update spawners set state = ? where name = ?"
        " and user_id = (select id from users where users.name = ?)"
    )
    with closing(sqlite3.connect(hub.folder / "hub.sqlite", timeout=10)) as database, database:
        database.execute(query, (json.dumps(state), name, user))


def job_of(hub: HubProcess, user: str, name: str = "") -> dict[str, Any]:
    """Slurm's part of the saved state."""
    part: dict[str, Any] = saved(hub, user, name).get("backends", {}).get("slurm", {})
    return part


def jobs(cluster: Cluster, states: str = "PENDING,RUNNING,SUSPENDED") -> dict[str, str]:
    """Name and state of each job that has not ended."""
    text = cluster.command("squeue", "--noheader", f"--states={states}", "--format=%j %T")
    return dict(line.split() for line in text.splitlines())


def ever(cluster: Cluster) -> list[str]:
    """Names of all jobs that Slurm remembers, ended ones too; one name for each job."""
    return cluster.command("squeue", "--noheader", "--states=all", "--format=%j").split()


def wait_for(what: str, condition: Callable[[], object], seconds: float = 60) -> None:
    """Ask until it holds: another process, here Slurm or the Hub, gives us no event."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.1)
