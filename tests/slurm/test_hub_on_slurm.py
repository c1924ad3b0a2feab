"""A real Hub on a real Slurm: what its pages say before a start, in the queue and after the end."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from bs4 import BeautifulSoup

from tests.hub.harness import ROOT, Browser, HubProcess
from tests.slurm.cluster import Cluster

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(180)]

SITE = f"""
facility: {{id: test, title: Test facility}}
environments:
  - {{id: tiny, title: Tiny, command: [{sys.executable}, {ROOT}/tests/hub/tiny_server.py]}}
profiles:
  - id: small
    title: Small
    backend: slurm
    cpus: {{min: 1, max: 8, default: 1}}
    memory: 1G
    walltime: 10m
    start_timeout: 60
    options: {{partition: cpu}}
  - id: impatient
    title: Narrow
    backend: slurm
    memory: 1G
    walltime: 10m
    start_timeout: 14
    options: {{partition: small}}
  - id: impossible
    title: Impossible
    backend: slurm
    memory: 1G
    gpus: {{type: h100, count: 1}}
    walltime: 10m
    options: {{partition: gpu}}
  - id: odd
    title: Odd
    backend: slurm
    memory: 1G
    walltime: 10m
    options: {{constraint: no-such-feature}}
  - id: licensed
    title: Licensed
    backend: slurm
    memory: 1G
    walltime: 10m
    options: {{extra: ["--licenses=no-such-program"]}}
  - {{id: here, title: Here, backend: local, memory: 1G}}
"""
CONFIG = """
import panosc_hub
panosc_hub.configure(c, site={site!r})
c.SlurmBackend.home_template = c.LocalBackend.home_template = {homes!r}
c.SlurmBackend.connect_to = "address"
c.SlurmBackend.hub_name = "test"
c.SlurmWatcher.interval = c.SlurmWatcher.busy_interval = 0.3
c.NodeWatcher.interval = 1
c.PanoscSpawner.poll_interval = 1
"""


@pytest_asyncio.fixture
async def hub(cluster: Cluster, tmp_path: Path) -> AsyncIterator[HubProcess]:
    (tmp_path / "site.yaml").write_text(SITE)
    folder = tmp_path / "hub"
    folder.mkdir()
    homes = str(cluster.dir / f"homes-{tmp_path.name}" / "{username}")
    config = CONFIG.format(site=str(tmp_path / "site.yaml"), homes=homes)
    process = HubProcess(folder, config, env=cluster.environment)
    try:
        await process.start()
        yield process
    finally:
        process.stop()


async def start(hub: HubProcess, **options: str) -> None:
    async with hub.api() as api:
        answer = await api.post("/users/paula/server", json={"user_options": options})
        assert answer.status_code in (201, 202), answer.text


async def why_it_stopped(paula: Browser) -> str:
    page = BeautifulSoup((await paula.client.get("/hub/home")).text, "html.parser")
    told = page.select_one(".ph-ended")
    return told.get_text(" ", strip=True) if told else ""


async def test_why_a_session_stopped_is_on_the_home_page(hub: HubProcess, cluster: Cluster) -> None:
    async with hub.browser("paula") as paula:
        await start(hub, profile="small")
        await hub.until("paula")
        home = BeautifulSoup((await paula.client.get("/hub/home")).text, "html.parser")
        ends = home.select_one("[data-testid=ends]")
        assert ends is not None
        assert ends["class"] == ["ph-ends-in", "ph-ends-soon"]  # ten minutes are not much
        assert float(str(ends["data-ends"])) == pytest.approx(time.time() + 600, abs=70)
        job = cluster.command("squeue", "--noheader", "--format=%A").split()[0]
        cluster.command("scancel", job)
        await hub.until("paula", ready=False)
        assert await why_it_stopped(paula) == (
            "Why it stopped: The session ended: the job was cancelled on the cluster, "
            "by you or an administrator."
        )
        await start(hub, profile="small")
        await hub.until("paula")
        assert await why_it_stopped(paula) == ""
        job = cluster.command("squeue", "--noheader", "--format=%A").split()[0]
        cluster.command("scontrol", "update", f"jobid={job}", "endtime=now+2")
        await hub.until("paula", ready=False, seconds=75)
        assert "it reached its time limit" in await why_it_stopped(paula)


async def test_after_a_long_wait_the_form_returns_with_what_would_start(
    hub: HubProcess, cluster: Cluster
) -> None:
    cluster.command(
        *("sbatch", "--parsable", "--partition=small", "--exclusive", "--time=10"),
        *("--output=/dev/null", "--wrap=sleep 600"),
    )
    async with hub.browser("paula") as paula:
        await paula.client.get("/hub/spawn")  # lets the Hub look at the nodes
        await start(hub, profile="impatient")
        events = await hub.progress("paula")
        await hub.until("paula", ready=False)
        assert events[-1]["failed"]
        assert "did not start within 14 s, so its job was cancelled" in events[-1]["message"]
        assert "Small would start now." in events[-1]["message"]
        queued = [e["message"] for e in events if e["message"].startswith("Waiting in the queue")]
        assert queued
        page = BeautifulSoup((await paula.client.get("/hub/spawn")).text, "html.parser")
        notices = [n.get_text(strip=True) for n in page.select("[data-testid=notice]")]
        assert len(notices) == 1
        assert notices[0].startswith("The session did not start within 14 s")
        assert notices[0].endswith("Small would start now and is chosen.")
        chosen = page.select_one("input[name=profile][checked]")
        assert chosen is not None
        assert chosen["value"] == "small"
        assert "did not start within 14 s" in await why_it_stopped(paula)
    names = cluster.command("squeue", "--noheader", "--format=%j").split()
    assert not [n for n in names if n.startswith("panosc-")]


async def test_slurms_own_refusal_is_a_sentence_on_the_form(
    hub: HubProcess, cluster: Cluster
) -> None:
    """What only Slurm can know; nothing is submitted."""
    everything = ("squeue", "--noheader", "--states=all", "--format=%j")
    before = cluster.command(*everything)
    async with hub.browser("paula") as paula:
        answer = await paula.form("/hub/spawn", {"profile": "licensed"})
        page = BeautifulSoup(answer.text, "html.parser")
        assert answer.status_code == 400
        assert "SLURM refused the job: Invalid license specification." in page.get_text(" ")
        assert page.select_one("form#ph-form, form[action*=spawn]") is not None
    assert cluster.command(*everything) == before


async def test_estimates_come_from_slurm_before_anything_is_started(
    hub: HubProcess, cluster: Cluster
) -> None:
    cluster.command(
        *("sbatch", "--parsable", "--partition=small", "--exclusive", "--time=10"),
        *("--output=/dev/null", "--wrap=sleep 600"),
    )
    jobs = cluster.command("squeue", "--noheader", "--format=%A")
    async with hub.browser("paula") as paula:

        async def ask(status: int = 200, **options: str) -> dict[str, object]:
            answer = await paula.client.get(
                "/hub/api/panosc/estimate",
                params=options,
                headers={
                    "X-XSRFToken": paula.client.cookies.get("_xsrf", path="/hub/") or "",
                    "Sec-Fetch-Mode": "cors",
                },
            )
            assert answer.status_code == status, answer.text
            body: dict[str, object] = answer.json()
            return body

        await ask(profile="small")
        await asyncio.sleep(1.1)  # by then there is a look at the nodes
        now = await ask(profile="small", cpus="2")
        assert (now["usable"], now["source"], now["words"]) == (True, "backend", "starts now")
        later = await ask(profile="impatient")
        assert later["source"] == "backend"
        assert isinstance(later["starts"], float)
        assert later["starts"] == pytest.approx(time.time() + 600, abs=120)
        assert str(later["words"]).startswith("starts about ")
        licensed = await ask(profile="licensed")
        assert (licensed["usable"], licensed["source"]) == (False, "backend")
        assert licensed["words"] == "Slurm would refuse this: Invalid license specification."
        # What the look at the nodes tells needs no question to Slurm.
        odd = await ask(400, profile="odd")
        assert "no node that is up has the features no-such-feature" in str(odd["message"])
        impossible = await ask(400, profile="impossible")
        assert "no node that is up has" in str(impossible["message"])
        local = await ask(profile="here")
        assert local["source"] == "look"
        refused = await ask(400, profile="small", cpus="9")
        assert "must be between 1 and 8" in str(refused["message"])
        for bad in ({"profile": "small\n"}, {"partition": "vip"}, {"cpus": "2 --qos=vip"}):
            await ask(400, **bad)
    assert cluster.command("squeue", "--noheader", "--format=%A") == jobs
