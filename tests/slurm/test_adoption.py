"""A real Hub that is killed, on a real Slurm: every job is adopted or cancelled, none doubled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.hub.harness import HubProcess
from tests.slurm.cluster import Cluster
from tests.slurm.hubs import ask, ever, job_of, jobs, make_hub, rewritten, saved, stop, wait_for

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(240)]

Make = Callable[..., HubProcess]
Program = Callable[[str, str], str]


@pytest.fixture
def make(cluster: Cluster, tmp_path: Path) -> Iterator[Make]:
    hubs: list[HubProcess] = []

    def build(extra: str = "") -> HubProcess:
        hubs.append(make_hub(tmp_path, cluster, extra))
        return hubs[-1]

    yield build
    for hub in hubs:
        hub.stop()


@pytest.fixture
def gpu_closed(cluster: Cluster) -> Iterator[Callable[[], None]]:
    """No job of partition ``gpu`` starts until the returned function is called."""

    def resume() -> None:
        cluster.command("scontrol", "update", "partitionname=gpu", "state=up")

    cluster.command("scontrol", "update", "partitionname=gpu", "state=down")
    yield resume
    resume()


async def answers(hub: HubProcess, user: str) -> bool:
    """Whether the proxy brings the user to their own server."""
    model = await hub.until(user)
    async with hub.api() as api:
        for _ in range(50):  # the route comes right after the server is ready
            if (await api.get(f"{hub.url}{model['url']}info")).status_code == 200:
                return True
            await asyncio.sleep(0.1)
    return False


async def test_jobs_that_a_killed_hub_left_starting_are_adopted(
    make: Make,
    cluster: Cluster,
    tmp_path: Path,
    gpu_closed: Callable[[], None],
    program: Program,
) -> None:
    """One waits in the queue, one runs but has posted no port, one has no id yet."""
    sbatch = program(
        "sbatch",
        "text=$(cat)\nif [[ $text == *-user-mira-* || $text == *user=mira* ]]; then\n"
        f"  while [ ! -e {tmp_path}/gate ]; do sleep 0.1; done\nfi\n"
        'exec /usr/bin/sbatch "$@" <<< "$text"',
    )
    hub, earlier = make(f"c.SlurmClient.sbatch = {sbatch!r}\n"), ever(cluster)
    await hub.start()
    for user, profile in (("paula", "gpu"), ("ingo", "gated"), ("mira", "small")):
        assert await ask(hub, user, profile) in (201, 202)
    wait_for("two jobs", lambda: sorted(jobs(cluster).values()) == ["PENDING", "RUNNING"])
    wait_for("ids", lambda: "job_id" in job_of(hub, "paula") and "job_id" in job_of(hub, "ingo"))
    wait_for("name", lambda: "name" in job_of(hub, "mira"))
    assert "job_id" not in job_of(hub, "mira")
    assert all(saved(hub, user)["token_id"] for user in ("paula", "ingo", "mira"))
    hub.kill()
    await hub.start()  # it comes up although three servers are still on their way
    assert {user: (await hub.server(user))["pending"] for user in ("paula", "ingo", "mira")} == {
        "paula": "check",
        "ingo": "check",
        "mira": "check",
    }
    async with hub.browser("paula") as browser:
        page = (await browser.client.get("/hub/spawn-pending/paula")).text
    assert "Looking for your session" in page
    assert "The Hub was restarted; it looks for the job again" in page
    (tmp_path / "gate").touch()
    for user in ("ingo", "mira", "paula"):
        if user == "paula":
            gpu_closed()  # until now she waited in the queue, which held up nobody
        assert await answers(hub, user)
        assert saved(hub, user)["phase"] == "running"
    mine = [name for name in ever(cluster) if name not in earlier]
    assert sorted(mine) == sorted(job_of(hub, user)["name"] for user in ("paula", "ingo", "mira"))
    for user in ("paula", "ingo", "mira"):
        assert await stop(hub, user) in (202, 204)
    wait_for("all ended", lambda: not jobs(cluster))


async def test_what_cannot_be_adopted_is_cancelled_and_told(
    make: Make, cluster: Cluster, tmp_path: Path, gpu_closed: Callable[[], None], program: Program
) -> None:
    """Ended meanwhile, past its limit, never submitted, and stopped by its owner."""
    sbatch = program(
        "sbatch",
        "text=$(cat)\n[[ $text == *user=mira* ]] && exec sleep 20\n"
        'exec /usr/bin/sbatch "$@" <<< "$text"',
    )
    hub = make(
        f"c.SlurmClient.sbatch = {sbatch!r}\nc.SlurmWatcher.unlisted_grace = 2\n"
        "c.SlurmBackend.adoption_grace = 4\n"
    )
    await hub.start()
    wanted = {"paula": "gpu", "ingo": "gated", "mira": "small", "nora": "gated"}
    for user, profile in wanted.items():
        assert await ask(hub, user, profile) in (201, 202)
    wait_for("ids", lambda: all("job_id" in job_of(hub, u) for u in ("paula", "ingo", "nora")))
    wait_for("running", lambda: sorted(jobs(cluster).values()) == ["PENDING", *["RUNNING"] * 2])
    hub.kill()
    cluster.command("scancel", job_of(hub, "ingo")["job_id"])
    with rewritten(hub, "paula") as state:  # as if the Hub had been down for long
        state["backends"]["slurm"]["until"] = 1
    await hub.start()
    assert await stop(hub, "nora") in (202, 204)
    for user in wanted:
        await hub.until(user, ready=False)
        model = await hub.server(user)
        assert (model["pending"], model["ready"]) == (None, False)
    said = {user: saved(hub, user)["ended"] for user in wanted}
    assert "cancelled" in said["ingo"]
    assert "did not start within" in said["paula"]
    assert "does not know the job" in said["mira"]
    assert "stopped from the Hub" in said["nora"]
    wait_for("no job is left", lambda: not jobs(cluster))
    assert hub.alive
    assert "Traceback" not in hub.log[hub.log.rindex("JupyterHub version") :]
    assert await ask(hub, "ingo", "small") in (201, 202)
    assert await answers(hub, "ingo")


async def test_a_restart_without_slurmctld_keeps_sessions_and_owed_cancellations(
    make: Make, cluster: Cluster
) -> None:
    hub = make("c.SlurmBackend.stop_timeout = 1\nc.SlurmClient.submit_timeout = 3\n")
    await hub.start()
    for user in ("paula", "ingo"):
        await ask(hub, user)
    assert await answers(hub, "paula")
    assert await answers(hub, "ingo")
    stopped, kept = job_of(hub, "ingo"), job_of(hub, "paula")
    cluster.stop_controller()
    try:
        assert await stop(hub, "ingo") in (202, 204)
        await hub.until("ingo", ready=False)
        assert job_of(hub, "ingo") == {"owed": {stopped["name"]: stopped["job_id"]}}
        hub.kill()
        await hub.start()
        assert await answers(hub, "paula")
    finally:
        cluster.start_controller()
    wait_for("paid", lambda: jobs(cluster) == {kept["name"]: "RUNNING"})
    assert await answers(hub, "paula")
    assert job_of(hub, "paula")["job_id"] == kept["job_id"]
    assert await stop(hub, "paula") in (202, 204)
