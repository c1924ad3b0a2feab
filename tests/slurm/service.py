"""A Hub as a facility runs it: an unprivileged account, the shipped sudo rule and settings."""

from __future__ import annotations

import pwd
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.hub.harness import ROOT, HubProcess
from tests.slurm.cluster import Cluster
from tests.slurm.hubs import stop
from tests.slurm.people import People

SITE = """
facility: {{id: test, title: Test facility, support: help@test.example}}
variables: {{data: {folder}/data}}
areas:
  raw: {{path: "{{data}}/{{proposal}}/raw", mode: ro}}
catalogue: {{kind: static, file: proposals.yaml}}
environments:
  - {{id: tiny, title: Tiny server, command: [{python}, {folder}/tiny_server.py]}}
profiles:
  - id: small
    title: Small
    backend: slurm
    memory: 1G
    walltime: 10m
    start_timeout: 60
    options: {{partition: cpu}}
"""
PROPOSALS = """
proposals:
  - id: HG-123
    title: AgBh calibration
    instrument: ID02
    members: {{users: [{paula}, {mira}]}}
    datasets: []
"""
CONFIG = """
import panosc_hub
panosc_hub.configure(c, site={site!r})
c.Spawner.poll_interval = 1
c.Spawner.environment = {{"SECRET_OF_THE_HUB": "never", "JUPYTERHUB_OF_THE_SITE": "kept"}}
c.SlurmBackend.connect_to = "address"
c.SlurmBackend.hub_name = "service-hub"
c.SlurmWatcher.interval = c.SlurmWatcher.busy_interval = 0.3
{shipped}
"""


def shipped_settings() -> str:
    """How the shipped configuration calls Slurm's commands."""
    text = (ROOT / "config" / "jupyterhub_config.py").read_text()
    lines = re.findall(r"^c\.SlurmClient\..*$", text, re.MULTILINE)
    assert any("run_as" in line for line in lines)
    return "\n".join(lines)


@contextmanager
def folder(accounts: People) -> Iterator[Path]:
    """A directory that all accounts may enter, with a site and a proposal's data in it."""
    with tempfile.TemporaryDirectory(prefix="panosc-users-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copy(ROOT / "tests" / "hub" / "tiny_server.py", folder)
        raw = folder / "data" / "HG-123" / "raw"
        raw.mkdir(parents=True)
        (raw / "image").write_text("what only the beamtime's group may read\n")
        shutil.chown(raw, group=accounts.beamtime)
        raw.chmod(0o750)
        (folder / "site.yaml").write_text(SITE.format(folder=folder, python=accounts.python))
        (folder / "proposals.yaml").write_text(
            PROPOSALS.format(paula=accounts.paula, mira=accounts.mira)
        )
        yield folder


def make_hub(folder: Path, cluster: Cluster, accounts: People) -> HubProcess:
    """The Hub in ``folder/hub``, which belongs to its account; not started yet."""
    hub = folder / "hub"
    hub.mkdir(mode=0o700)
    config = CONFIG.format(site=str(folder / "site.yaml"), shipped=shipped_settings())
    home = pwd.getpwnam(accounts.service).pw_dir
    env = {"HOME": home, "USER": accounts.service, "PYTHONPATH": accounts.path}
    process = HubProcess(
        hub,
        config,
        env={**cluster.environment, **env},
        python=accounts.python,
        account=accounts.service,
    )
    for path in (hub, *hub.iterdir()):
        shutil.chown(path, accounts.service, accounts.service)
    return process


async def ask(hub: HubProcess, user: str) -> httpx.Response:
    """Ask for a session with the proposal."""
    async with hub.api() as api:
        await api.post(f"/users/{user}")
        wish = {"profile": "small", "proposal": "HG-123"}
        return await api.post(f"/users/{user}/server", json=wish)


async def stop_all(hub: HubProcess, accounts: People) -> None:
    """End the sessions of both people."""
    for user in (accounts.paula, accounts.mira):
        await stop(hub, user)
        await hub.until(user, ready=False)
