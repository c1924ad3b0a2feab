"""Seconds from the request to a JupyterLab that answers, on the Hub's own machine.

Two real Hubs with the same settings start the same ``jupyterhub-singleuser`` of the same
environment: one through ``PanoscSpawner`` and its local backend (hook, plan, session start-up),
the other through JupyterHub's ``SimpleLocalProcessSpawner``. A round is one start of each; the
stop is not measured. Nobody's data and no template are asked for: the peer has neither.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from .hub import BenchHub, hubs
from .rows import Benchmark, PeerMissing, Row, Target, in_turns

ROW = Row("JupyterLab: request to ready, local", "s", Target.parse("<= 1.15"))
USER = "paula"

SITE = """
facility: {{id: bench, title: Benchmark}}
environments:
  - {{id: lab, title: JupyterLab, prefix: {prefix}, command: [jupyterhub-singleuser]}}
profiles: [{{id: lab, title: JupyterLab, backend: local, memory: 1G}}]
"""
COMMON = """
from bench.inhub import look_often
look_often()
c.Spawner.args = {args!r}
"""
OURS = """
import panosc_hub
panosc_hub.configure(c, site={site!r})
c.LocalBackend.home_template = {homes!r}
"""
PEER = """
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = {homes!r}
c.Spawner.cmd = [{command!r}]
c.Spawner.default_url = "/lab"
"""


async def start_once(hub: BenchHub) -> float:
    """Start the server and stop it again; seconds of the start."""
    took = await hub.spawn(USER, None)
    await hub.stop_server(USER)
    return took


async def run(rounds: int) -> list[Row]:
    """Measure."""
    command = Path(sys.prefix) / "bin" / "jupyterhub-singleuser"
    if not command.exists():
        raise PeerMissing(f"{command} is not there; install JupyterLab")
    # JupyterLab refuses to run as root unless it is told that this is meant.
    common = COMMON.format(args=["--allow-root"] if os.getuid() == 0 else [])
    with tempfile.TemporaryDirectory(prefix="panosc-bench-") as name:
        folder = Path(name)
        site = folder / "site.yaml"
        site.write_text(SITE.format(prefix=sys.prefix))
        ours = BenchHub(
            folder / "ours",
            common + OURS.format(site=str(site), homes=str(folder / "ours" / "{username}")),
        )
        peer = BenchHub(
            folder / "peer",
            common + PEER.format(homes=str(folder / "peer" / "{username}"), command=str(command)),
        )
        async with hubs(ours, peer):
            await ours.add_users([USER])
            await peer.add_users([USER])
            a, b = await in_turns(rounds, lambda: start_once(ours), lambda: start_once(peer))
    return [Row(ROW.name, ROW.unit, ROW.target, a, b)]


BENCHMARK = Benchmark("lab-start", 7, (ROW,), run)
