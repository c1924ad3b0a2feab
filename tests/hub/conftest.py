"""A small facility with a tiny server, and Hubs that can be killed."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from harness import ROOT, HubProcess, reap

SITE = """
facility: {{id: test, title: Test facility, support: help@test.example}}
variables: {{data: {data}}}
areas:
  raw: {{path: "{{data}}/{{instrument}}/{{proposal}}/raw", mode: ro}}
  processed: {{path: "{{data}}/{{instrument}}/{{proposal}}/processed", mode: rw}}
catalogue: {{kind: static, file: proposals.yaml}}
templates:
  - path: {templates}
environments:
  - id: tiny
    title: Tiny server
    command: [{python}, {tiny}]
  - id: leaky
    title: Writes its token down, as any notebook could
    command: [sh, -c, "echo $JUPYTERHUB_API_TOKEN > {data}/token; exec {python} {tiny}"]
  - id: slow
    title: Answers after two seconds
    command: [sh, -c, "sleep 2; exec {python} {tiny}"]
  - id: never
    title: Never answers
    command: [sleep, "60"]
  - id: broken
    title: Ends at once
    command: [{python}, "-c", "raise SystemExit(3)"]
profiles:
  - id: small
    title: Small
    backend: local
    cpus: {{min: 1, max: 4, default: 1}}
    memory: {{min: 1G, max: 8G, default: 2G}}
    environments: [tiny, leaky, slow, never]
  - id: staff
    title: Staff only
    backend: local
    cpus: 2
    memory: 4G
    allow: {{groups: [staff]}}
  - id: broken
    title: Broken
    backend: local
    memory: 1G
    environments: [broken]
"""

PROPOSALS = """
proposals:
  - id: HG-123
    title: 'AgBh <script>alert(1)</script>'
    instrument: ID02
    start: 2026-01-12
    members: {groups: ["proposal:HG-123"]}
    datasets:
      - {pid: 20.500/1, name: agbh_0001, location: "{data}/ID02/HG-123/raw/agbh_0001",
         size: 1000, techniques: [PaNET01188], format: NXsas, status: online}
      - {pid: 20.500/2, name: outside, location: "/etc", status: online}
      - {pid: 20.500/3, name: archived, location: "{data}/ID02/HG-123/raw/archived",
         status: archived}
  - id: MX-1
    title: Of somebody else
    instrument: ID23
    members: {users: [somebody]}
"""

CONFIG = """
import panosc_hub
panosc_hub.configure(c, site={site!r})
c.LocalBackend.home_template = {homes!r}
c.PanoscSpawner.poll_interval = 5
"""


@pytest.fixture
def facility(tmp_path: Path) -> Path:
    """A folder with site.yaml, proposals.yaml and data of HG-123."""
    data = tmp_path / "data"
    (data / "ID02/HG-123/raw/agbh_0001").mkdir(parents=True)
    (data / "ID02/HG-123/processed").mkdir()
    (tmp_path / "proposals.yaml").write_text(PROPOSALS)
    (tmp_path / "site.yaml").write_text(
        SITE.format(
            data=data,
            templates=ROOT / "examples" / "templates",
            python=sys.executable,
            tiny=Path(__file__).with_name("tiny_server.py"),
        )
    )
    return tmp_path


@pytest.fixture
def make_hub(facility: Path) -> Iterator[Callable[..., HubProcess]]:
    """Hubs on the facility; all of them and all sessions are stopped at the end."""
    hubs: list[HubProcess] = []

    def make(extra: str = "", **kwargs: object) -> HubProcess:
        folder = facility / f"hub{len(hubs)}"
        folder.mkdir()
        config = CONFIG.format(
            site=str(facility / "site.yaml"), homes=str(facility / "home/{username}")
        )
        groups = {"proposal:HG-123": ["paula"], "staff": ["ingo"]}
        hub = HubProcess(folder, config + extra, groups=groups, **kwargs)  # type: ignore[arg-type]
        hubs.append(hub)
        return hub

    yield make
    for hub in hubs:
        hub.stop()
    reap(str(facility))


@pytest_asyncio.fixture
async def hub(make_hub: Callable[..., HubProcess]) -> AsyncIterator[HubProcess]:
    """One running Hub."""
    hub = make_hub()
    await hub.start()
    yield hub
