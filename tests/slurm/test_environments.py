"""Every kind of environment, in jobs of a real Slurm that a real Hub starts."""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests import apptainer
from tests.hub.harness import HubProcess
from tests.slurm.cluster import Cluster
from tests.slurm.hubs import jobs, stop, wait_for

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(180)]

SITE = """
facility: {id: test, title: Test facility, support: help@test.example}
variables: {here: HERE}
areas:
  raw: {path: "{here}/data/{proposal}/raw", mode: ro}
  processed: {path: "{here}/data/{proposal}/processed", mode: rw}
catalogue: {kind: static, file: proposals.yaml}
environments:
  - id: analysis
    title: Data analysis
    prefix: "{here}/envs/analysis"
    command: [jupyterhub-singleuser, --allow-root]
  - id: module
    title: By module
    modules: [analysis/2026.9]
    variables: {MODULEPATH: "{here}/modules"}
    command: [probe-server]
  - {id: no-module, title: Without module, modules: [no/such]}
  - id: prologue
    title: By prologue
    command: [probe-server]
  - id: image
    title: Frozen image
    apptainer: "{here}/image.sif"
    command: [python3, "{here}/inside/probe.py"]
  - id: packed
    title: Packed
    archive: "{here}/packed.tar.gz"
    command: [jupyterhub-singleuser, --allow-root]
  - id: large
    title: Too large
    archive: "{here}/large.tar"
    prefix: "{here}/envs/analysis"
    command: [probe-server]
  - id: own
    title: My own
    prefix: "{here}/envs/analysis"
    paths: ["{here}/home/{username}/**", "{here}/envs/*"]
profiles:
  - &small
    id: small
    title: Small
    backend: slurm
    memory: 1G
    walltime: 10m
    start_timeout: 90
    options: {partition: cpu}
  - <<: *small
    id: with-prologue
    title: With prologue
    options: {partition: cpu, prologue: "export PATH={here}/envs/analysis/bin:$PATH GREETING=hello"}
  - {<<: *small, id: tiny, title: Little memory, memory: 4M}
""".replace("{here}/envs/analysis/bin", "HERE/envs/analysis/bin")
PROPOSALS = """
proposals:
  - {id: HG-1, title: One, instrument: ID02, members: {users: [MEMBERS]}}
  - {id: HG-2, title: Two, instrument: ID02, members: {users: [mira]}}
"""
CONFIG = """
import panosc_hub
panosc_hub.configure(c, site={site!r})
c.JupyterHub.concurrent_spawn_limit = 0
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 0}}
c.SlurmBackend.home_template = {homes!r}
c.SlurmBackend.connect_to = "address"
c.SlurmBackend.hub_name = "environments"
c.SlurmBackend.apptainer = [{apptainer!r}]
c.SlurmWatcher.interval = 0.5
c.SlurmWatcher.busy_interval = 0.2
c.SlurmWatcher.longest_interval = 1
c.Spawner.poll_interval = 1
"""
PROBE = """#!/usr/bin/env python3
import json, os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit
def attempt(action, path):
    try:
        return action(path) or "ok"
    except OSError as error:
        return error.strerror
ACTIONS = {
    "write": lambda path: open(os.path.join(path, "new"), "w").close(),
    "list": lambda path: sorted(os.listdir(path)),
    "real": os.path.realpath,
}
class Probe(BaseHTTPRequestHandler):
    def do_GET(self):
        asked = parse_qs(urlsplit(self.path).query)
        seen = {"env": {k: v for k, v in os.environ.items() if "TOKEN" not in k}}
        seen["prefix"] = sys.prefix
        seen["token"] = bool(os.environ.get("JUPYTERHUB_API_TOKEN"))
        for what, paths in asked.items():
            if what in ACTIONS:
                seen[what] = [attempt(ACTIONS[what], path) for path in paths]
        body = json.dumps(seen).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments):
        pass
where = urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"])
HTTPServer((where.hostname, where.port), Probe).serve_forever()
"""
SINGLEUSER = "import sys\nfrom jupyterhub.singleuser import main\nsys.exit(main())\n"
Place = Path

needs_server = pytest.mark.skipif(
    importlib.util.find_spec("jupyter_server") is None,
    reason="jupyterhub-singleuser needs Jupyter Server, which is not installed here",
)


def venv(folder: Path, shebang: str = "") -> Path:
    """A virtual environment with the real jupyterhub-singleuser, and a server that tells all."""
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", "--symlinks", str(folder)], check=True
    )
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
    for name, text in (("jupyterhub-singleuser", SINGLEUSER), ("probe-server", PROBE)):
        script = folder / "bin" / name
        script.write_text(f"#!{shebang or folder / 'bin' / 'python3'}\n{text}")
        script.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """The software and the data of a facility; not below /tmp, which every container shows."""
    if not os.access("/srv", os.W_OK):
        pytest.skip("/srv is not writable")
    with tempfile.TemporaryDirectory(prefix="panosc-", dir="/srv") as name:
        here = Path(name)
        here.chmod(0o755)
        for each in ("HG-1/raw", "HG-1/processed", "HG-2/raw"):
            (here / "data" / each).mkdir(parents=True)
        (here / "data" / "HG-1" / "raw" / "scan.h5").touch()
        venv(here / "envs" / "analysis")
        modules = here / "modules" / "analysis"
        modules.mkdir(parents=True)
        (modules / "2026.9").write_text(
            f'#%Module1.0\nprepend-path PATH "{here}/envs/analysis/bin"\nsetenv GREETING module\n'
        )
        (here / "inside").mkdir()
        (here / "inside" / "probe.py").write_text(PROBE)
        apptainer.make_image(here / "image.sif", [*apptainer.SYSTEM, str(here / "inside")])
        packed = venv(here / "packed", "/usr/bin/env python3")
        (packed / "share").mkdir()
        (packed / "share" / "calibration").write_bytes(os.urandom(50 * 2**20))
        with tarfile.open(here / "packed.tar.gz", "w:gz", compresslevel=1) as tar:
            for each in packed.iterdir():
                tar.add(each, each.name)
        with (here / "large.tar").open("wb") as file:
            file.truncate(3 * 2**20)
        yield here


@pytest.fixture(scope="module")
def running(
    slurm: Cluster, place: Place, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HubProcess]:
    folder = tmp_path_factory.mktemp("environments")
    (folder / "proposals.yaml").write_text(
        PROPOSALS.replace("MEMBERS", ", ".join(f"member-{n}" for n in range(1, 100)))
    )
    (folder / "site.yaml").write_text(SITE.replace("HERE", str(place)))
    config = CONFIG.format(
        site=str(folder / "site.yaml"),
        homes=str(place / "home" / "{username}"),
        apptainer=apptainer.install(place / "bin"),
    )
    (folder / "hub").mkdir()
    process = HubProcess(folder / "hub", config, env=slurm.environment)
    try:
        asyncio.run(process.start())
        yield process
    finally:
        process.stop()


@dataclass
class Person:
    """Somebody at the Hub, who has no session yet."""

    hub: HubProcess
    name: str
    home: Path

    async def start(self, environment: str, server: str = "", **selection: Any) -> list[str]:
        """Ask for a server; what the pending page said until it was ready or failed."""
        async with self.hub.api() as api:
            await api.post(f"/users/{self.name}")
            path = f"servers/{server}" if server else "server"
            body = {"profile": "small", "environment": environment, **selection}
            answer = await api.post(f"/users/{self.name}/{path}", json=body)
            assert answer.status_code in (201, 202), answer.text
        return [event["message"] for event in await self.hub.progress(self.name, server)]

    async def seen(self, **asked: list[Path]) -> dict[str, Any]:
        """What the probe tells, through the proxy."""
        model = await self.hub.until(self.name)
        assert model["ready"]
        params = {what: [str(path) for path in paths] for what, paths in asked.items()}
        async with self.hub.browser(self.name) as client:
            answer = await client.client.get(f"/user/{self.name}/probe", params=params)
        content: dict[str, Any] = json.loads(answer.text)
        return content


_names = itertools.count(1)


@pytest.fixture
def person(running: HubProcess, cluster: Cluster, place: Place) -> Person:
    """Another one for each test; all of them are in one proposal."""
    name = f"member-{next(_names)}"
    return Person(running, name, place / "home" / name)


def place_of(process: psutil.Process) -> Path | None:
    """Where a real single-user server was started from; None for any other process."""
    words = process.info["cmdline"] or []
    ours = len(words) > 1 and words[1].endswith("/bin/jupyterhub-singleuser")
    return Path(words[1]).parents[1] if ours else None


def servers() -> list[Path]:
    """Where the real single-user servers of this machine's jobs were started from."""
    found = map(place_of, psutil.process_iter(["cmdline"]))
    return [place for place in found if place]


def said(lines: list[str], begin: str) -> str:
    """The first line that begins so."""
    return next((line for line in lines if line.startswith(begin)), f"not among {lines}")


@needs_server
async def test_a_prefix_brings_its_own_server(person: Person, place: Place) -> None:
    await person.start("analysis")
    await person.hub.until(person.name)
    assert place / "envs" / "analysis" in servers()


async def test_a_module_puts_its_environment_on_path(person: Person, place: Place) -> None:
    if not any(Path("/etc/profile.d").glob("*mod*.sh")):
        pytest.skip("no module command is installed; Debian: lmod or environment-modules")
    await person.start("module")
    found = await person.seen()
    assert found["prefix"] == str(place / "envs" / "analysis")
    assert found["env"]["GREETING"] == "module"
    assert "analysis/2026.9" in found["env"]["LOADEDMODULES"]


async def test_a_module_that_cannot_be_loaded_is_told_where_the_user_waits(
    person: Person, cluster: Cluster
) -> None:
    lines = await person.start("no-module")
    sentence = said(lines, "The module no/such of the environment Without module cannot be loaded")
    assert sentence in lines[-1]
    assert "the job failed" in lines[-1]
    async with person.hub.browser(person.name) as client:
        assert sentence.partition("'")[0] in (await client.client.get("/hub/home")).text
    wait_for("the job's end", lambda: not jobs(cluster))


async def test_a_prologue_prepares_the_environment(person: Person, place: Place) -> None:
    await person.start("prologue", profile="with-prologue")
    found = await person.seen()
    assert (found["prefix"], found["env"]["GREETING"]) == (
        str(place / "envs" / "analysis"),
        "hello",
    )


@pytest.mark.skipif(bool(apptainer.why_not()), reason=apptainer.why_not() or "-")
async def test_an_image_sees_the_data_of_its_proposal_alone(person: Person, place: Place) -> None:
    lines = await person.start("image", proposal="HG-1")
    data = place / "data"
    links = person.home / "panosc" / "test" / "HG-1" / "workspace"
    found = await person.seen(
        write=[data / "HG-1/raw", data / "HG-1/processed", links / "processed", links],
        list=[links / "raw", data, place],
        real=[links / "raw"],
    )
    assert found["write"] == ["Read-only file system", "ok", "ok", "ok"]
    assert found["list"] == [
        ["scan.h5"],
        ["HG-1"],
        ["data", "home", "inside"],  # what was bound, on the way to it, and nothing else
    ]
    assert found["real"] == [str(data / "HG-1" / "raw")]
    assert found["token"]
    assert found["env"]["HOME"] == str(person.home)
    assert (data / "HG-1" / "processed" / "new").exists()
    assert any("The data area raw of HG-1 is in the folder raw" in line for line in lines)


@needs_server
async def test_a_packed_environment_is_shared_on_the_node_and_removed_after_the_last_session(
    person: Person, place: Place
) -> None:
    first = await person.start("packed")
    copied = said(first, "The environment Packed was copied to cpu")
    assert copied in first
    assert said(first, "Copying the environment Packed to cpu") in first
    second = await person.start("packed", "second")
    assert said(second, "The environment Packed is on cpu").endswith(" already.")
    (one, two) = (path for path in servers() if path.is_relative_to("/dev/shm"))
    assert one == two
    assert (one / "share" / "calibration").stat().st_size == 50 * 2**20
    assert (one.stat().st_mode & 0o777, one.parent.stat().st_mode & 0o777) == (0o700, 0o700)
    assert one.parent.name == f"panosc-{os.geteuid()}"
    await stop(person.hub, person.name, "second")
    wait_for("the end of one", lambda: len([s for s in servers() if s == one]) == 1)
    assert (one / "bin" / "jupyterhub-singleuser").exists()
    await stop(person.hub, person.name)
    wait_for("the removal", lambda: not one.exists())


@needs_server
async def test_what_a_killed_session_left_serves_the_next_and_goes_with_it(
    person: Person,
) -> None:
    await person.start("packed")
    (where,) = (path for path in servers() if path.is_relative_to("/dev/shm"))
    (server,) = (p for p in psutil.process_iter(["cmdline"]) if place_of(p) == where)
    # scancel would ask first, even with --signal=KILL. Here not even the script is asked.
    for process in (server.parent(), server):
        assert process
        process.kill()
    await person.hub.until(person.name, ready=False)
    assert where.exists()
    lines = await person.start("packed")
    assert said(lines, "The environment Packed is on cpu") in lines
    await stop(person.hub, person.name)
    wait_for("the removal", lambda: not where.exists())


async def test_what_does_not_fit_is_used_from_where_it_is(person: Person, place: Place) -> None:
    lines = await person.start("large", profile="tiny")
    sentence = said(lines, "The environment Too large is not copied to cpu")
    assert (
        "which starts slower: it needs at least 4 MB, which is more than half of this" in sentence
    )
    assert (await person.seen())["prefix"] == str(place / "envs" / "analysis")


async def test_an_environment_of_the_users_own_is_used(person: Person, place: Place) -> None:
    mine = venv(person.home / "deep" / "mine")
    (mine / "bin" / "jupyterhub-singleuser").write_text(f"#!{mine}/bin/python3\n{PROBE}")
    await person.start("own", choices={"path": str(mine)})
    assert (await person.seen())["prefix"] == str(mine)


@pytest.mark.parametrize("why", ["another account", "a link out", "not there", "no server"])
async def test_a_path_that_may_not_be_used_is_told_where_the_user_waits(
    why: str, person: Person, place: Place, cluster: Cluster
) -> None:
    """S3: the text is within the allowed paths; what is there is somebody else's code."""
    mine = person.home / why.replace(" ", "-")
    mark = person.home / "evil-ran"
    evil = venv(mine if why != "a link out" else place / "evil")
    (evil / "bin" / "jupyterhub-singleuser").write_text(f"#!/bin/sh\ntouch {mark}\n")
    (evil / "bin" / "python3").unlink()
    (evil / "bin" / "python3").write_text(f"#!/bin/sh\ntouch {mark}\n")
    (evil / "bin" / "python3").chmod(0o755)
    if why == "another account":
        os.chown(mine, 4711, 4711)
    elif why == "a link out":
        mine.parent.mkdir(parents=True, exist_ok=True)
        mine.symlink_to(evil)
    elif why == "not there":
        mine.rename(mine.with_name("elsewhere"))
    else:
        (mine / "bin" / "jupyterhub-singleuser").unlink()
    lines = await person.start("own", choices={"path": str(mine)})
    words = {
        "another account": f"{mine} belongs to another account",
        "a link out": f"it really is {evil}, which is not where this facility allows them",
        "not there": "it is not there on cpu",
        "no server": "there is no bin/jupyterhub-singleuser in it",
    }
    sentence = said(lines, f"The environment {mine} cannot be used: ")
    assert words[why] in sentence
    assert sentence in lines[-1]
    assert not mark.exists()
    wait_for("the job's end", lambda: not jobs(cluster))


async def test_a_path_outside_the_allowed_ones_starts_nothing(
    person: Person, cluster: Cluster
) -> None:
    async with person.hub.api() as api:
        await api.post(f"/users/{person.name}")
        for path in ("/etc", "/srv/x/../y", "$(id)", "/a\nb", "/home/mira/env"):
            body = {"profile": "small", "environment": "own", "choices": {"path": path}}
            answer = await api.post(f"/users/{person.name}/server", json=body)
            assert answer.status_code == 400, (path, answer.text)
    assert not jobs(cluster)
