"""The spawn form with 50 profiles, against jupyterhub_moss with 50 partitions.

Both spawners belong to the same user of the same Hub application (in this process, never
listening) and are asked as JupyterHub asks: ``await spawner.get_options_form()``, one after the
other, HTML included. A round is ``PAGES`` forms of each; its number is the mean time of one.

JupyterHub makes a new spawner object after every stop, so the form that comes before a session is
the first of its object: that is the first row, and making the object is not timed. The second row
is the same object asked again, as by a reload; there the target is not to be slower, although
ours shows data and notebooks besides the machines.

Ours: all four steps for somebody with twelve proposals who was here before, so that the forty
datasets of the last proposal are listed too. Nodes and partitions come from a stand-in for
``sinfo`` and ``scontrol``, read once before the first round through the real client, as the Hub
reads them once a minute for all pages; every profile's limits are tightened to them.

The peer: ``MOSlurmSpawner`` as it is. Its ``sinfo`` is a ``cat`` of a file in the format of the
real one and its ``sudo`` is left out, which both spare it time. It compiles its template once per
object, so that its first form takes longer than the next; ours is compiled once per Hub.

Processes are counted by Python's own audit events, on both sides, in the same rounds.
"""

from __future__ import annotations

import json
import logging
import os
import pwd
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from jupyterhub import orm
from jupyterhub.app import JupyterHub
from tornado.httputil import HTTPServerRequest
from traitlets.config import Config

from .hub import ROOT
from .inhub import MemoryProxy
from .rows import Benchmark, Row, Target, import_peer, in_turns

PROFILES = 50
NODES = 4
"""Nodes of each partition."""

PROPOSALS = 12
DATASETS = 40
PAGES = 4
"""Of a round: short rounds, so that what else the host does falls on both sides alike."""

USER = pwd.getpwuid(os.getuid()).pw_name
"""The peer reads the home directory of the user's UNIX account, so there must be one."""

FIRST = Row(f"spawn form, {PROFILES} profiles", "ms", Target.parse("<= 0.333"))
AGAIN = Row(f"spawn form, {PROFILES} profiles, reloaded", "ms", Target.parse("<= 1"))
PROCESSES = Row("spawn form: processes started per page", "", Target.parse("<= 0"))

SPAWNED = frozenset({"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"})

SINFO_HEADER = (
    "PARTITION|NODELIST|STATECOMPLETE|CPUS(A/I/O/T)|MEMORY|ALLOCMEM|GRES|GRES_USED|NODE_ADDR|AVAIL|"
    "AVAIL_FEATURES|"
)

STAND_IN = """\
#!/bin/sh
case "$*" in
    *"show partition"*) exec cat {folder}/ours.partitions ;;
    *"show reservation"*) echo "No reservations in the system" ;;
    *"show config"*) echo "AccountingStorageType = accounting_storage/none" ;;
    *) exec cat {folder}/ours.nodes ;;
esac
"""
"""For ``sinfo``, ``scontrol`` and ``sbatch``, which only has to be there."""


def has_gpu(n: int) -> bool:
    """Every fifth partition has GPUs, on both sides."""
    return n % 5 == 0


class Processes:
    """Counts the processes that this one starts. The hook itself cannot be taken out again."""

    def __init__(self) -> None:
        self.count = 0
        sys.addaudithook(self._see)

    def _see(self, event: str, _: Any) -> None:
        if event in SPAWNED:
            self.count += 1


def site() -> dict[str, Any]:
    """Our facility: a profile per partition, each with limits to choose from."""
    profiles = [
        {
            "id": f"p{n}",
            "title": f"Partition {n}",
            "description": f"Nodes of kind {n} for data analysis",
            "backend": "slurm",
            "cpus": {"min": 1, "max": 64, "default": 4},
            "memory": {"min": "2G", "max": "256G", "default": "8G"},
            "walltime": {"min": "30m", "max": "12h", "default": "4h"},
            "options": {"partition": f"part{n}"},
            **({"gpus": {"type": "a100", "count": {"min": 0, "max": 4}}} if has_gpu(n) else {}),
        }
        for n in range(PROFILES)
    ]
    return {
        "facility": {"id": "bench", "title": "Benchmark"},
        "areas": {"raw": {"path": "/data/{instrument}/{proposal}/raw"}},
        "catalogue": {"kind": "static", "file": "proposals.yaml"},
        "templates": [{"path": str(ROOT / "examples" / "templates")}],
        "environments": [
            {"id": "stable", "title": "Stable"},
            {"id": "latest", "title": "Latest"},
        ],
        "profiles": profiles,
    }


def proposals() -> dict[str, Any]:
    """The user's proposals with their datasets."""

    def dataset(proposal: str, n: int) -> dict[str, Any]:
        return {
            "pid": f"20.500.1/{proposal}/{n}",
            "name": f"scan_{n:04}",
            "location": f"/data/ID02/{proposal}/raw/scan_{n:04}",
            "size": 3_000_000_000 + n,
            "techniques": ["PaNET01188"],
            "format": "NXsas",
            "status": "online",
        }

    names = [f"HG-{100 + n}" for n in range(PROPOSALS)]
    return {
        "proposals": [
            {
                "id": name,
                "title": f"Small-angle scattering of sample {name}",
                "instrument": "ID02",
                "start": "2026-01-12",
                "members": {"users": [USER]},
                "datasets": [dataset(name, n) for n in range(DATASETS)],
            }
            for name in names
        ]
    }


def our_sinfo() -> str:
    """What our query of the nodes would print."""
    rows = [
        f"part{n}|node{n}-{i}|mixed|16/48/0/64|262144|65536|"
        f"{'gpu:a100:4' if has_gpu(n) else '(null)'}|"
        f"{'gpu:a100:1(IDX:0)' if has_gpu(n) else 'gpu:0'}|node{n}-{i}|up|(null)|"
        for n in range(PROFILES)
        for i in range(NODES)
    ]
    return "\n".join([SINFO_HEADER, *rows, ""])


def our_partitions() -> str:
    """What our query of the partitions would print."""
    rows = [
        f"PartitionName=part{n} AllowAccounts=ALL AllowQos=ALL Default=NO MaxNodes=UNLIMITED "
        f"MaxTime=12:00:00 MaxCPUsPerNode=UNLIMITED Nodes=node{n}-[0-{NODES - 1}] "
        "OverSubscribe=NO State=UP MaxMemPerNode=UNLIMITED"
        for n in range(PROFILES)
    ]
    return "\n".join([*rows, ""])


def peer_sinfo() -> str:
    """What ``sinfo -a --noheader -o '%R %F %c %C %G %m %l'`` would print."""
    rows = [
        f"part{n} 2/2/0/4 64 64/192/0/256 {'gpu:a100:4' if has_gpu(n) else '(null)'} "
        "262144 12:00:00"
        for n in range(PROFILES)
    ]
    return "\n".join([*rows, ""])


def partitions() -> dict[str, Any]:
    """The peer's partitions, with as many environments as our profiles."""
    environment = {"add_to_path": True, "path": "/opt/env", "modules": "", "prologue": ""}
    return {
        f"part{n}": {
            "architecture": "x86_64",
            "description": f"Nodes of kind {n} for data analysis",
            "jupyter_environments": {
                "stable": {**environment, "description": "Stable"},
                "latest": {**environment, "description": "Latest"},
            },
        }
        for n in range(PROFILES)
    }


def _configure(folder: Path) -> Config:
    """Both spawners' configuration, and a Hub that leaves nothing outside of ``folder``."""
    import panosc_hub

    (folder / "site.yaml").write_text(json.dumps(site()))
    (folder / "proposals.yaml").write_text(json.dumps(proposals()))
    (folder / "ours.nodes").write_text(our_sinfo())
    (folder / "ours.partitions").write_text(our_partitions())
    (folder / "partitions").write_text(peer_sinfo())
    (folder / "jupyterhub_config.py").write_text("")
    stand_in = folder / "slurm-command"
    stand_in.write_text(STAND_IN.format(folder=folder))
    stand_in.chmod(0o755)

    c = Config()
    c.JupyterHub.config_file = str(folder / "jupyterhub_config.py")
    c.JupyterHub.cookie_secret = b"x" * 32
    c.JupyterHub.db_url = f"sqlite:///{folder / 'hub.sqlite'}"
    c.JupyterHub.proxy_class = MemoryProxy
    c.JupyterHub.authenticator_class = "dummy"
    c.JupyterHub.load_groups = {"visitors": {"users": [USER]}}
    c.JupyterHub.log_level = logging.ERROR
    c.Authenticator.allow_all = True
    c.SlurmClient.sinfo = c.SlurmClient.sbatch = c.SlurmClient.scontrol = str(stand_in)
    panosc_hub.configure(c, site=folder / "site.yaml")

    c.MOSlurmSpawner.partitions = partitions()
    c.MOSlurmSpawner.slurm_info_cmd = f"cat {folder / 'partitions'}"
    c.MOSlurmSpawner.exec_prefix = ""
    return c


@contextmanager
def _application() -> Iterator[JupyterHub]:
    with tempfile.TemporaryDirectory(prefix="panosc-bench-") as name:
        try:
            yield JupyterHub(config=_configure(Path(name)))
        finally:
            JupyterHub.clear_instance()


class Asked:
    """One side: makes the user's spawner as the Hub does, and asks it for forms."""

    def __init__(self, app: JupyterHub, name: str, kind: type, options: dict[str, Any]) -> None:
        self.user, self.name, self.kind = app.users[USER], name, kind
        app.db.add(orm.Spawner(user=self.user.orm_user, name=name, user_options=options))
        app.db.commit()
        self.handler = _request(app)
        self.same = self.spawner()
        self.per_page: list[float] = []
        """Processes started per page, one number for each round."""

    def spawner(self) -> Any:
        """A new object."""
        made = self.user._new_spawner(self.name, spawner_class=self.kind)
        made.handler = self.handler
        return made

    async def pages(self, processes: Processes, *, again: bool) -> float:
        """Milliseconds of one form, on average of ``PAGES``."""
        spawners = [self.same if again else self.spawner() for _ in range(PAGES)]
        before, began = processes.count, time.perf_counter()
        for spawner in spawners:
            html = await spawner.get_options_form()
        took = time.perf_counter() - began
        self.per_page.append((processes.count - before) / PAGES)
        if f"part{PROFILES - 1}" not in html and f"Partition {PROFILES - 1}" not in html:
            raise RuntimeError("the form does not show every profile")
        return took / PAGES * 1000


def _request(app: JupyterHub) -> Any:
    """The handler of a logged-in user's ``GET /hub/spawn``, which both spawners may look at."""
    from panosc_hub.web.spawn import PanoscSpawnHandler

    connection: Any = SimpleNamespace(set_close_callback=lambda _: None)
    request = HTTPServerRequest("GET", "/hub/spawn", connection=connection)
    handler = PanoscSpawnHandler(app.tornado_application, request)
    handler._jupyterhub_user = app.users[USER]
    return handler


async def _snapshot(spawner: Any) -> None:
    """Let our one look at the nodes happen, and see that it is what the pages show."""
    from panosc_hub.backends.slurm.shared import watchers

    await watchers(spawner.config).nodes.refresh()
    looks = spawner.availability()
    known = [look for look in looks.values() if look.usable and look.free]
    if len(known) != PROFILES:
        raise RuntimeError(f"the snapshot shows {len(known)} of {PROFILES} profiles: {looks}")


async def run(rounds: int) -> list[Row]:
    """Measure."""
    from panosc_hub.spawner import PanoscSpawner

    moss = import_peer("jupyterhub_moss")

    with _application() as app:
        await app.initialize([])
        last = {"v": 1, "profile": "p7", "proposal": "HG-103", "environment": "latest"}
        ours = Asked(app, "ours", PanoscSpawner, last)
        peer = Asked(app, "peer", moss.MOSlurmSpawner, {})
        await _snapshot(ours.same)
        return await _measure(rounds, ours, peer)


async def _measure(rounds: int, ours: Asked, peer: Asked) -> list[Row]:
    processes = Processes()
    rows = []
    for row, again in ((FIRST, False), (AGAIN, True)):
        a, b = await in_turns(
            rounds,
            partial(ours.pages, processes, again=again),
            partial(peer.pages, processes, again=again),
        )
        rows.append(Row(row.name, row.unit, row.target, a, b))
    # The rounds that are not counted for the time count here.
    a, b = tuple(ours.per_page), tuple(peer.per_page)
    return [*rows, Row(PROCESSES.name, PROCESSES.unit, PROCESSES.target, a, b)]


BENCHMARK = Benchmark("spawn-page", 61, (FIRST, AGAIN, PROCESSES), run)
