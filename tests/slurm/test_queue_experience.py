"""What people are told of the queue, of the time left and of the end, by a real Slurm."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from panosc_hub.backends.slurm.shared import watchers
from panosc_hub.errors import BackendError
from tests.slurm.cluster import CannotRun, Cluster
from tests.slurm.conftest import Bench
from tests.slurm.test_slurm_backend import environment_of, queue, started, until

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(120)]


async def why_it_ended(bench: Bench, spawner: object, patience: float = 20) -> str:
    async def over() -> bool:
        return await spawner.poll() is not None  # type: ignore[attr-defined]

    await until(bench, over, patience)
    return spawner.ended  # type: ignore[attr-defined,no-any-return]


async def test_a_job_cancelled_on_the_cluster_says_so(bench: Bench, cluster: Cluster) -> None:
    spawner, _ = await started(bench)
    cluster.command("scancel", spawner.job_id)
    assert await why_it_ended(bench, spawner) == (
        "The session ended: the job was cancelled on the cluster, by you or an administrator."
    )


async def test_a_failed_node_is_told(bench: Bench, cluster: Cluster) -> None:
    spawner, _ = await started(bench)
    node = f"nodename={spawner._host}"
    cluster.command("scontrol", "update", node, "state=down", "reason=test")
    try:
        told = await why_it_ended(bench, spawner)
    finally:
        with suppress(CannotRun):  # it may have come back by itself
            cluster.command("scontrol", "update", node, "state=resume")
    assert told == "The session ended: the node failed. Start again."


async def test_the_time_limit_is_told(bench: Bench, cluster: Cluster) -> None:
    """slurmctld looks for jobs over their time every 30 s."""
    spawner, _ = await started(bench)
    cluster.command("scontrol", "update", f"jobid={spawner.job_id}", "endtime=now+2")
    assert await why_it_ended(bench, spawner, 75) == (
        "The session ended: it reached its time limit. Start again, with more time if you need it."
    )


async def test_the_end_is_known_in_the_session_and_to_the_page(
    bench: Bench, cluster: Cluster
) -> None:
    began = time.time()
    spawner, url = await started(bench, walltime="9m")
    seen = await environment_of(url)
    assert float(seen["PANOSC_END_TIME"]) == pytest.approx(began + 540, abs=60)
    assert spawner.ends_at == pytest.approx(float(seen["PANOSC_END_TIME"]), abs=5)
    cluster.command("scontrol", "update", f"jobid={spawner.job_id}", "timelimit=30")
    await until(bench, lambda: (spawner.ends_at or 0) > began + 1500)
    assert spawner.ends_at == pytest.approx(began + 1800, abs=60)


@contextmanager
def full(cluster: Cluster) -> Iterator[None]:
    """Partition ``small`` is taken for ten minutes, and two jobs wait for it already."""
    sleep = ("sbatch", "--parsable", "--partition=small", "--time=10", "--output=/dev/null")
    cluster.command(*sleep, "--exclusive", "--wrap=sleep 600")
    for _ in range(2):
        cluster.command(*sleep, "--cpus-per-task=8", "--wrap=sleep 600")
    yield


async def test_position_and_estimate_are_told_while_waiting(bench: Bench, cluster: Cluster) -> None:
    bench.config.PendingWatcher.interval = 0.5
    with full(cluster):
        spawner = bench.spawner()
        spawner.launch = bench.launch(cpus=8, options={"partition": "small"})
        start = asyncio.ensure_future(spawner.start())
        # Slurm's scheduler thinks about later starts every 5 s here, 30 s by default.
        await until(bench, lambda: "expects it to start" in (bench.told or [""])[-1], 45)
        told = bench.told[-1]
        assert "; 2 jobs are ahead of it, Slurm expects it to start about " in told
        assert told.startswith("Waiting in the queue: ")
        await spawner.stop()
        with pytest.raises(BackendError):
            await start
    await until(bench, lambda: spawner.job_name not in queue(cluster))


async def test_a_hundred_waiting_sessions_ask_no_more_than_one(
    bench: Bench, cluster: Cluster
) -> None:
    bench.config.PendingWatcher.interval = 60
    shared = watchers(bench.config)
    asked: list[tuple[str, ...]] = []
    query = shared.client.query

    async def counted(command: str, *arguments: str) -> str:
        asked.append((command, *arguments))
        return await query(command, *arguments)

    shared.client.query = counted  # type: ignore[method-assign]
    for job in range(100):
        shared.pending.place(str(job))
    await shared.pending.refresh()
    assert [a for a in asked if "--start" in a] == asked
    assert len(asked) == 1
