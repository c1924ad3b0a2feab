"""The example facility with a real Hub, and what tests ask about it from the outside."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from ruamel.yaml import YAML

from examples.demo import HERE, Demo, free_port
from tests.slurm.cluster import Cluster

MANY = 24
"""Proposals that only paula has besides the example's own: enough for a search field."""

TOPICS = ("Battery cathodes", "Silk fibres", "Thin films", "Bone mineral", "Colloids", "Catalysts")

SERVER = """\
#!/bin/sh
# The prepared session waits here, before its server, for as long as a test wants to look;
# whoever stops it meanwhile has to wait, too.
trap 'stopped=yes' INT TERM
while [ -e '{held}'"/$JUPYTERHUB_USER-$JUPYTERHUB_SERVER_NAME" ]; do sleep 0.05; done
[ -z "$stopped" ] || exit 0
trap - INT TERM
exec jupyterhub-singleuser "$@"
"""


def write_site(folder: Path) -> Path:
    """The example's site file with more proposals in the catalogue, short sessions, and a server
    that can be held before it starts; returns its path."""
    yaml = YAML()
    site = yaml.load((HERE / "site.yaml").read_text())
    catalogue = yaml.load((HERE / "proposals.yaml").read_text())
    for i in range(MANY):
        catalogue["proposals"].append(
            {
                "id": f"MX-{2400 + i}",
                "title": f"{TOPICS[i % len(TOPICS)]} {1 + i // len(TOPICS)}",
                "instrument": f"ID{10 + i % 7}",
                "start": f"2025-{1 + i % 12:02}-10",
                "end": f"2025-{1 + i % 12:02}-12",
                "members": {"groups": [], "users": ["paula"]},
                "datasets": [],
            }
        )
    site["catalogue"]["file"] = str(folder / "proposals.yaml")
    site["templates"][0]["path"] = str(HERE / "templates")
    # The plain cluster, without slurmdbd, has no reserved node.
    site["profiles"] = [
        p for p in site["profiles"] if p.get("options", {}).get("partition") != "beam"
    ]
    batch = next(p for p in site["profiles"] if p["id"] == "slurm-small")
    batch["walltime"]["min"] = "5m"
    (folder / "held").mkdir(parents=True, exist_ok=True)
    server = folder / "server"
    server.write_text(SERVER.format(held=folder / "held"))
    server.chmod(0o755)
    analysis = next(e for e in site["environments"] if e["id"] == "analysis")
    analysis["command"] = [str(server)]
    yaml.dump(catalogue, folder / "proposals.yaml")
    yaml.dump(site, folder / "site.yaml")
    return folder / "site.yaml"


@dataclass
class Facility:
    """A running demo; ``cluster`` is None where a real Slurm cannot run, ``no_slurm`` says why."""

    demo: Demo
    cluster: Cluster | None = None
    no_slurm: str = ""

    @classmethod
    def at(cls, var: Path, cluster: Cluster | None, no_slurm: str) -> Facility:
        """One that is not started yet."""
        env = {"PANOSC_DEMO_SITE": str(write_site(var / "site"))}
        if cluster:
            env |= cluster.environment
        return cls(Demo(var, free_port(), slurm=bool(cluster), env=env), cluster, no_slurm)

    @property
    def url(self) -> str:
        return self.demo.url

    @property
    def hub_url(self) -> str:
        """The Hub without the proxy before it."""
        return f"http://127.0.0.1:{self.demo._hub_env['PANOSC_DEMO_HUB_PORT']}"

    def home(self, user: str) -> Path:
        return self.demo.var / "home" / user

    def log(self) -> str:
        return (self.demo.var / "log" / "hub.log").read_text(errors="replace")

    def workspace(self, user: str, template: str = "saxs-azimuthal-1.0.0") -> Path:
        return self.home(user) / "panosc" / "demo" / "HG-123" / template

    def users(self) -> set[str]:
        """Everybody in the Hub's database."""
        return {row[0] for row in self._rows("select name from users")}

    def servers(self, user: str) -> dict[str, dict[str, Any]]:
        """State of each server of ``user`` that the database calls running."""
        rows = self._rows(
            "select s.name, s.state from spawners s join users u on u.id = s.user_id"
            " where u.name = ? and s.server_id is not null",
            user,
        )
        return {name: json.loads(state or "{}") for name, state in rows}

    def _rows(self, query: str, *values: str) -> list[Any]:
        uri = f"file:{self.demo.var / 'hub.sqlite'}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=10)) as database:
            return database.execute(query, values).fetchall()

    def processes(self, user: str | None = None, server: str | None = None) -> list[psutil.Process]:
        """Sessions and their kernels, known by the home directory that they were given."""
        return list(self._processes(user, server))

    def _processes(self, user: str | None, server: str | None) -> Iterator[psutil.Process]:
        homes = str(self.demo.var / "home")
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                env = process.environ()
                if (
                    env.get("HOME", "").startswith(homes)
                    and (user is None or env.get("JUPYTERHUB_USER") == user)
                    and (server is None or env.get("JUPYTERHUB_SERVER_NAME") == server)
                ):
                    yield process

    @contextmanager
    def held(self, user: str, server: str = "") -> Iterator[None]:
        """Keep a session that starts now in "starting", for what is told only meanwhile.

        It is prepared and has reported; its server starts when this context ends.
        """
        wait = self.demo.var / "site" / "held" / f"{user}-{server}"
        wait.touch()
        try:
            yield
        finally:
            wait.unlink()

    def stop(self) -> None:
        """End everything, whatever state a failed test left it in."""
        try:
            self.demo.stop()
        finally:
            for process in self.processes():
                with contextlib.suppress(psutil.Error):
                    process.kill()
