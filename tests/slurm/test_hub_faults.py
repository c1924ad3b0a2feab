"""One job per server, whatever is pressed how often: a real Hub on a real Slurm."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub.harness import HubProcess
from tests.slurm.cluster import Cluster
from tests.slurm.hubs import ask, ever, job_of, jobs, make_hub, stop, wait_for

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def hub(slurm: Cluster, folder: Path) -> Iterator[HubProcess]:
    """One Hub for all tests of this file; each uses another user."""
    extra = ""
    for name in ("sbatch", "scancel"):
        path = folder / name
        path.write_text(
            f'#!/bin/bash\necho "$@" >> {folder}/{name}.log\nexec /usr/bin/{name} "$@"\n'
        )
        path.chmod(0o755)
        extra += f"c.SlurmClient.{name} = {str(path)!r}\n"
    hub = make_hub(folder, slurm, extra)
    asyncio.run(hub.start())
    yield hub
    hub.stop()


def calls(folder: Path, name: str) -> list[str]:
    path = folder / f"{name}.log"
    return path.read_text().splitlines() if path.exists() else []


async def test_two_starts_at_once_make_one_job(
    hub: HubProcess, cluster: Cluster, folder: Path
) -> None:
    async with hub.api() as api:
        await api.post("/users/paula")
    before = len(calls(folder, "sbatch"))
    answers = await asyncio.gather(*(ask(hub, "paula") for _ in range(3)))
    assert min(answers) in (201, 202)
    assert not [status for status in answers if status >= 500]
    await hub.until("paula")
    assert len(calls(folder, "sbatch")) - before == 1
    assert list(jobs(cluster)) == [job_of(hub, "paula")["name"]]
    await stop(hub, "paula")


async def test_a_stop_while_starting_cancels_once(
    hub: HubProcess, cluster: Cluster, folder: Path
) -> None:
    before = len(calls(folder, "scancel"))
    await ask(hub, "ingo", "gated")
    wait_for("the job runs", lambda: "RUNNING" in jobs(cluster).values())
    name = job_of(hub, "ingo")["name"]
    assert await stop(hub, "ingo") in (202, 204)
    await hub.until("ingo", ready=False)
    wait_for("the job ended", lambda: not jobs(cluster))
    assert [name in call for call in calls(folder, "scancel")[before:]] == [True]
    assert await ask(hub, "ingo") in (201, 202)
    await hub.until("ingo")
    await stop(hub, "ingo")


async def test_named_servers_are_jobs_of_their_own(hub: HubProcess, cluster: Cluster) -> None:
    await asyncio.gather(ask(hub, "mira"), ask(hub, "mira", name="second"))
    await hub.until("mira")
    await hub.until("mira", "second")
    first, second = job_of(hub, "mira"), job_of(hub, "mira", "second")
    assert first["job_id"] != second["job_id"]
    assert await stop(hub, "mira") in (202, 204)
    await hub.until("mira", ready=False)
    assert (await hub.server("mira", "second"))["ready"]
    wait_for("one job", lambda: list(jobs(cluster)) == [second["name"]])
    assert await stop(hub, "mira", "second") in (202, 204)


async def test_a_job_that_ends_takes_its_route_along(hub: HubProcess, cluster: Cluster) -> None:
    await ask(hub, "nora")
    model = await hub.until("nora")
    cluster.command("scancel", job_of(hub, "nora")["job_id"])
    await hub.until("nora", ready=False)
    async with hub.api() as api:
        routes = (await api.get("/proxy")).json()
        assert (await api.get(f"{hub.url}{model['url']}info")).status_code != 200
    assert not [route for route in routes if "nora" in route]
    assert [name for name in ever(cluster) if "-nora-" in name]


async def test_a_session_of_a_deleted_profile_is_still_watched_and_stopped(
    hub: HubProcess, cluster: Cluster, folder: Path
) -> None:
    for name in ("", "second"):
        await ask(hub, "otto", "requeue", name)
        await hub.until("otto", name)
    site = folder / "site.yaml"
    text = site.read_text()
    site.write_text(text.replace("id: requeue", "id: renamed"))
    await asyncio.sleep(1.1)  # the file is looked at once a second
    try:
        assert await ask(hub, "otto", "requeue", "third") in (400, 404)
        cluster.command("scancel", job_of(hub, "otto")["job_id"])
        await hub.until("otto", ready=False)
        assert (await hub.server("otto", "second"))["ready"]
        assert await stop(hub, "otto", "second") in (202, 204)
        wait_for("no job", lambda: not jobs(cluster))
    finally:
        site.write_text(text)
