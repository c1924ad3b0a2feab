"""A thousand servers of one Hub, ours and the peer's, each with a running job of its own.

Both belong to a real Hub application in this process (never listening) and are made as JupyterHub
makes them; the state that an earlier Hub would have saved is loaded into them. The two sides have
the same jobs. The peer is ``batchspawner.SlurmSpawner`` as it is, but without its ``sudo`` in
front of every command, which spares it more than half of the CPU time of each.
"""

from __future__ import annotations

import logging
import os
import pwd
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from jupyterhub import orm
from jupyterhub.app import JupyterHub
from traitlets.config import Config

from .inhub import MemoryProxy
from .rows import import_peer
from .slurm_bed import WAITING, Bed

USER = pwd.getpwuid(os.getuid()).pw_name
"""The peer reads the UNIX account of the user, so all servers are named servers of this one."""

OURS, PEER = "ours", "peer"

SITE = f"""
facility: {{id: bench, title: Benchmark}}
environments: [{{id: any, title: Any}}]
profiles:
  - id: waiting
    title: Waiting
    backend: slurm
    memory: 1G
    walltime: 1h
    start_timeout: 30m
    options: {{partition: {WAITING}}}
"""


class Servers:
    """The Hub application, and spawners of both sides in it."""

    def __init__(self, app: JupyterHub, bed: Bed) -> None:
        self.app, self.bed = app, bed
        self.user = app.users[USER]
        self.config: Config = app.config

    def kind(self, side: str) -> type:
        """The spawner class."""
        if side == OURS:
            from panosc_hub.spawner import PanoscSpawner

            return PanoscSpawner
        spawner: type = import_peer("batchspawner").SlurmSpawner
        return spawner

    def make(self, side: str, count: int, prefix: str = "n") -> list[Any]:
        """New spawner objects without a state, as a Hub that starts has them."""
        names = [f"{side}-{prefix}{n}" for n in range(count)]
        there = set(self.user.orm_user.orm_spawners)
        for name in names:
            if name not in there:
                self.app.db.add(orm.Spawner(user=self.user.orm_user, name=name, user_options={}))
        self.app.db.commit()
        kind = self.kind(side)
        return [self.user._new_spawner(name, spawner_class=kind) for name in names]

    def state(self, side: str, n: int) -> dict[str, Any]:
        """What the Hub's database says about the ``n``-th running server."""
        job_id, host = self.bed.jobs[n]
        if side == PEER:
            return {"job_id": job_id, "job_status": f"RUNNING {host}"}
        job = {
            "name": f"panosc-bench-{USER}-{n:08x}",
            "job_id": job_id,
            "host": host,
            "url": f"http://{host}:{20000 + n}",
            "log": f"/home/{USER}/.panosc-default.log",
        }
        return {"v": 1, "active": "slurm", "phase": "running", "backends": {"slurm": job}}

    def load(self, side: str, spawners: list[Any]) -> None:
        """Give each its state."""
        for n, spawner in enumerate(spawners):
            spawner.load_state(self.state(side, n))

    async def known(self, side: str, count: int) -> list[Any]:
        """Spawners of which is known that they run."""
        spawners = self.make(side, count)
        self.load(side, spawners)
        if side == OURS:
            for spawner in spawners:
                await spawner.poll()
            await self.jobs.look()
        return spawners

    @property
    def jobs(self) -> Any:
        """The watcher that our servers share."""
        from panosc_hub.backends.slurm.shared import watchers

        return watchers(self.config).jobs

    async def forget(self) -> None:
        """End our watchers, so that the next server finds nothing known, as in a new Hub."""
        from panosc_hub.backends.slurm import shared

        for known in list(shared._all.values()):
            for each in known.values():
                await each.close()
        shared._all.clear()


def _configure(folder: Path, **sections: dict[str, Any]) -> Config:
    import panosc_hub

    (folder / "site.yaml").write_text(SITE)
    (folder / "jupyterhub_config.py").write_text("")
    c = Config()
    c.JupyterHub.config_file = str(folder / "jupyterhub_config.py")
    c.JupyterHub.cookie_secret = b"x" * 32
    c.JupyterHub.db_url = f"sqlite:///{folder / 'hub.sqlite'}"
    c.JupyterHub.proxy_class = MemoryProxy
    c.JupyterHub.authenticator_class = "dummy"
    c.JupyterHub.load_groups = {"visitors": {"users": [USER]}}
    c.JupyterHub.log_level = logging.ERROR
    c.Authenticator.allow_all = True
    c.SlurmSpawner.exec_prefix = ""
    c.SlurmSpawner.req_partition = WAITING
    c.SlurmSpawner.env_keep = ["PATH", "SLURM_CONF"]  # where its sbatch finds the cluster
    c.SlurmBackend.home_template = str(folder)
    panosc_hub.configure(c, site=folder / "site.yaml")
    c.merge(Config(sections))
    return c


@contextmanager
def _application(**sections: dict[str, Any]) -> Iterator[JupyterHub]:
    with tempfile.TemporaryDirectory(prefix="panosc-bench-") as name:
        try:
            yield JupyterHub(config=_configure(Path(name), **sections))
        finally:
            JupyterHub.clear_instance()


@asynccontextmanager
async def servers(bed: Bed, **sections: dict[str, Any]) -> AsyncIterator[Servers]:
    """The application; ``sections`` are more of its configuration."""
    with _application(**sections) as app:
        await app.initialize([])
        logging.getLogger("JupyterHub").setLevel(logging.ERROR)
        made = Servers(app, bed)
        try:
            yield made
        finally:
            await made.forget()
