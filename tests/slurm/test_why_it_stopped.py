"""Each way in which a session ends without its owner, as the Hub's home page explains it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress

import psutil
import pytest
from bs4 import BeautifulSoup

from tests.hub.harness import HubProcess
from tests.slurm.cluster import CannotRun, Cluster
from tests.slurm.hubs import ask, job_of, make_hub, stop

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def hub(slurm: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """One Hub for all tests of this file; each uses another user."""
    hub = make_hub(tmp_path_factory.mktemp("stopped"), slurm)
    asyncio.run(hub.start())
    yield hub
    hub.stop()


@pytest.fixture
def healthy(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster, with all its nodes back in service after the test."""
    yield cluster
    for node in ("cpu1", "cpu2"):
        with suppress(CannotRun):  # it was never down, or has come back by itself
            cluster.command("scontrol", "update", f"nodename={node}", "state=resume")


def cancelled(cluster: Cluster, job: str, user: str) -> None:
    cluster.command("scancel", job)


def out_of_time(cluster: Cluster, job: str, user: str) -> None:
    cluster.command("scontrol", "update", f"jobid={job}", "endtime=now+2")


def on_a_failed_node(cluster: Cluster, job: str, user: str) -> None:
    node = cluster.command("squeue", "-h", "-j", job, "-o", "%B").strip()
    cluster.command("scontrol", "update", f"nodename={node}", "state=down", "reason=test")


def killed(cluster: Cluster, job: str, user: str) -> None:
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("SLURM_JOB_ID") == job and "tiny_server" in " ".join(
                process.cmdline()
            ):
                os.kill(process.pid, signal.SIGKILL)


async def row(hub: HubProcess, user: str) -> dict[str, str]:
    """What the home page says of the person's session."""
    async with hub.browser(user) as browser:
        page = BeautifulSoup((await browser.client.get("/hub/home")).text, "html.parser")
    session = page.select_one('[data-server=""]')
    assert session is not None
    why = session.select_one(".ph-ended")
    return {
        "state": str(session["data-state"]),
        "why": " ".join(why.get_text().split()) if why else "",
        "start": str(session.select_one(".ph-session-actions a")["href"]),  # type: ignore[index]
    }


@pytest.mark.parametrize(
    ("end", "why"),
    [
        (cancelled, "the job was cancelled on the cluster, by you or an administrator."),
        (
            out_of_time,
            "it reached its time limit. Start again, with more time if you need it.",
        ),
        (on_a_failed_node, "the node failed. Start again."),
        (
            killed,
            "the job failed (signal 9), perhaps because it used more memory than it asked for.",
        ),
    ],
)
async def test_the_home_page_says_why_a_session_stopped(
    hub: HubProcess, healthy: Cluster, end: Callable[[Cluster, str, str], None], why: str
) -> None:
    user = end.__name__.replace("_", "")
    await ask(hub, user)
    await hub.until(user)
    assert (await row(hub, user))["why"] == ""
    end(healthy, job_of(hub, user)["job_id"], user)
    # slurmctld looks for jobs over their time every 30 s.
    await hub.until(user, ready=False, seconds=90)
    assert await row(hub, user) == {
        "state": "stopped",
        "why": f"Why it stopped: The session ended: {why}",
        "start": "/hub/spawn/" + user,
    }


async def test_a_session_stopped_from_the_hub_is_not_called_cancelled(
    hub: HubProcess, healthy: Cluster
) -> None:
    await ask(hub, "otto")
    await hub.until("otto")
    assert await stop(hub, "otto") in (202, 204)
    await hub.until("otto", ready=False)
    assert (await row(hub, "otto"))["why"] == "Why it stopped: It was stopped from the Hub."


async def test_why_it_stopped_outlives_the_hub(hub: HubProcess, healthy: Cluster) -> None:
    await ask(hub, "nora")
    await hub.until("nora")
    healthy.command("scancel", job_of(hub, "nora")["job_id"])
    await hub.until("nora", ready=False)
    hub.kill()
    await hub.start()
    assert "the job was cancelled" in (await row(hub, "nora"))["why"]
