"""Daemons that are killed, nodes that are lost, memory that runs out: done to a real Slurm."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from panosc_hub.backends.slurm.shared import watchers
from panosc_hub.core.jobstate import JobState
from panosc_hub.errors import BackendUnavailable
from tests.slurm.accounting import AccountingCluster
from tests.slurm.cluster import Cluster
from tests.slurm.conftest import Bench
from tests.slurm.hubs import wait_for
from tests.slurm.test_slurm_backend import environment_of, queue, started, until

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(180)]

HUNGRY = """
import http.server, os, subprocess, sys, urllib.parse
where = urllib.parse.urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"])
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.endswith("/eat"):
            self.server.eaten = bytearray(2**29)
        status = 0
        if self.path.endswith("/kernel"):
            status = subprocess.run([sys.executable, "-c", "bytearray(2**29)"]).returncode
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"status={status}".encode())
    def log_message(self, *args):
        pass
http.server.HTTPServer((where.hostname, where.port), Page).serve_forever()
"""
"""A notebook server that takes 512 MB when it is told to, or has a kernel take them."""


async def looks(bench: Bench, number: int) -> None:
    """So many looks more, failed or not."""
    for _ in range(number):
        await watchers(bench.config).jobs.look()


@contextmanager
def setting(cluster: Cluster, line: str) -> Iterator[None]:
    """One line of slurm.conf in another way, until the block ends."""
    before = cluster.conf.read_text()
    name = line.partition("=")[0]
    kept = [old for old in before.splitlines() if not old.startswith(f"{name}=")]
    cluster.conf.write_text("\n".join([*kept, line, ""]))
    cluster.command("scontrol", "reconfigure")
    try:
        yield
    finally:
        cluster.conf.write_text(before)
        cluster.command("scontrol", "reconfigure")


async def test_a_killed_slurmctld_ends_no_session_and_is_heard_again(
    bench: Bench, cluster: Cluster
) -> None:
    bench.config.SlurmClient.query_timeout = 2
    spawner, url = await started(bench)
    jobs = watchers(bench.config).jobs
    # slurmctld writes down what changed within seconds; what it never wrote, it forgets.
    began = time.time()
    cluster.command("scontrol", "update", f"jobid={spawner.job_id}", "timelimit=20")
    state = cluster.dir / "state" / "job_state"
    await until(bench, lambda: state.stat().st_mtime > began, 30)
    cluster.kill_controller()
    try:
        await looks(bench, 3)
        assert "does not answer" in jobs.trouble
        assert await spawner.poll() is None
        assert (await environment_of(url))["SLURM_JOB_ID"] == spawner.job_id
    finally:
        cluster.start_controller()
    await until(bench, lambda: not jobs.trouble, 30)
    assert jobs.see(spawner.job_name).state is JobState.RUNNING
    await spawner.stop()
    await until(bench, lambda: not queue(cluster))


async def test_a_session_outlives_the_slurmd_of_its_node(bench: Bench, cluster: Cluster) -> None:
    spawner, url = await started(bench)
    node = spawner._host
    cluster.kill_node(node)
    try:
        await looks(bench, 3)
        assert await spawner.poll() is None
        assert (await environment_of(url))["SLURM_JOB_ID"] == spawner.job_id
    finally:
        cluster.start_node(node)
    await looks(bench, 3)
    assert await spawner.poll() is None
    assert (await environment_of(url))["SLURM_JOB_ID"] == spawner.job_id


async def test_a_stop_on_a_node_without_slurmd_is_done_when_slurmd_returns(
    bench: Bench, cluster: Cluster
) -> None:
    spawner, url = await started(bench)
    node = spawner._host
    cluster.kill_node(node)
    try:
        await spawner.stop()
        assert (await environment_of(url))["SLURM_JOB_ID"] == spawner.job_id
        show = ("squeue", "-h", "--states=all", f"--jobs={spawner.job_id},{spawner.job_id}")
        assert cluster.command(*show, "--format=%T").strip() in ("COMPLETING", "CANCELLED")
    finally:
        cluster.start_node(node)

    async def over() -> bool:
        async with httpx.AsyncClient(trust_env=False) as client:
            try:
                await client.get(url)
            except httpx.TransportError:
                return True
        return False

    await until(bench, over, 60)


async def test_a_node_that_stays_away_ends_its_session_with_that_reason(
    bench: Bench, cluster: Cluster
) -> None:
    with setting(cluster, "SlurmdTimeout=6"):
        spawner, _ = await started(bench)
        node = spawner._host
        cluster.kill_node(node)
        try:

            async def over() -> bool:
                return await spawner.poll() is not None

            await until(bench, over, 90)
        finally:
            cluster.start_node(node)
    assert spawner.ended == "The session ended: the node failed. Start again."
    await asyncio.to_thread(wait_for, "the node is back", cluster.all_idle)


async def test_without_munge_nothing_is_lost_and_a_start_says_so(
    bench: Bench, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("panosc_hub.backends.slurm.submit.LOOK_FOR", 1.0)
    # Slurm's commands wait for munge much longer than a person would.
    bench.config.SlurmClient.query_timeout = bench.config.SlurmClient.submit_timeout = 3
    spawner, url = await started(bench)
    jobs = watchers(bench.config).jobs
    cluster.kill_munge()
    try:
        await looks(bench, 3)
        assert "does not answer" in jobs.trouble
        assert await spawner.poll() is None
        assert (await environment_of(url))["SLURM_JOB_ID"] == spawner.job_id
        second = bench.spawner("second")
        second.launch = bench.launch()
        with pytest.raises(BackendUnavailable, match=r"No job was started; try again"):
            await second.start()
    finally:
        cluster.start_munge()
    await until(bench, lambda: not jobs.trouble, 60)
    assert queue(cluster) == [spawner.job_name]
    assert await spawner.poll() is None
    await spawner.stop()
    await asyncio.to_thread(wait_for, "the nodes are back", cluster.all_idle, 90)


async def test_a_session_over_its_memory_is_told_so(confined_bench: Bench) -> None:
    command = (sys.executable, "-c", HUNGRY)
    spawner, url = await started(confined_bench, command=command, memory="100M")
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        await environment_of(url)  # it listens
        # The larger one is killed, so a kernel does not take the session along.
        assert (await client.get(f"{url}/kernel")).text == "status=-9"
        await looks(confined_bench, 2)
        assert await spawner.poll() is None
        with pytest.raises(httpx.TransportError):
            await client.get(f"{url}/eat")

    async def over() -> bool:
        return await spawner.poll() is not None

    await until(confined_bench, over, 60)
    assert spawner.ended == (
        "The session ended: it used more memory than it asked for. Start again with more memory."
    )


async def test_slurmdbd_knows_the_end_of_a_job_that_slurmctld_has_forgotten(
    accounting_bench: Bench, accounting: AccountingCluster
) -> None:
    """The Hub was away meanwhile, and Slurm keeps ended jobs in mind for some minutes only."""
    bench = accounting_bench
    spawner, _ = await started(bench, walltime="1m")
    state = spawner.get_state()
    spawner.clear_state()
    job = spawner.job_id = state["job_id"]
    accounting.command("scontrol", "update", f"jobid={job}", "endtime=now+2")
    told = ("sacct", "-nPX", f"--jobs={job}", "--format=state")
    await asyncio.to_thread(
        wait_for, "it ended", lambda: accounting.command(*told).strip() == "TIMEOUT", 90
    )
    accounting.stop_controller()
    for file in (accounting.dir / "state").glob("job_state*"):
        file.unlink()
    accounting.start_controller()
    assert accounting.command("squeue", "-h", "--states=all", "--format=%A") == ""
    other = bench.spawner()
    other.load_state(state)
    assert await other.poll() is None
    await watchers(bench.config).jobs.look()
    assert await other.poll() == 1
    assert other.ended == (
        "The session ended: it reached its time limit. Start again, with more time if you need it."
    )


async def test_without_slurmdbd_a_forgotten_job_is_gone_after_two_full_looks(
    bench: Bench, cluster: Cluster
) -> None:
    spawner, _ = await started(bench)
    state = spawner.get_state()
    spawner.clear_state()
    cluster.command("scancel", state["job_id"])
    await asyncio.to_thread(wait_for, "it ended", lambda: not queue(cluster))
    cluster.stop_controller()
    for file in (cluster.dir / "state").glob("job_state*"):
        file.unlink()
    cluster.start_controller()
    other = bench.spawner()
    other.load_state(state)
    jobs = watchers(bench.config).jobs
    jobs.interval = jobs.busy_interval = 600  # no looks but ours
    assert await other.poll() is None
    await jobs.look()
    assert await other.poll() is None
    await jobs.look()
    assert await other.poll() == 1
    assert other.ended == "SLURM does not know the job any more."
