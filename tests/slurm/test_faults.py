"""What goes wrong on a real cluster, and that the session is kept, moved to nowhere, or ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from panosc_hub.backends.slurm.shared import watchers
from panosc_hub.core.jobstate import JobState
from panosc_hub.errors import BackendError
from tests.slurm.cluster import CannotRun, Cluster
from tests.slurm.conftest import Bench
from tests.slurm.test_slurm_backend import environment_of, queue, started, until

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(120)]

Program = Callable[[str, str], str]
HEADER = "JOBID|STATE|EXEC_HOST|USER|START_TIME|TIME_LEFT|REASON|."


def row(job: str, state: str) -> str:
    return f"{HEADER}\n{job}|{state}|cpu1|root|N/A|1:00|None|.\n"


def sixteen(job: str) -> dict[str, tuple[int, str, str]]:
    """Exit status, output and errors of squeue; none of them says that the job has ended."""
    return {
        "refused": (1, "", "slurm_load_jobs error: Unable to contact slurm controller"),
        "zero bytes": (1, "", "slurm_load_jobs error: Zero Bytes were transmitted or received"),
        "munge": (1, "", "slurm_load_jobs error: Protocol authentication error"),
        "sudo": (1, "", "sudo: a password is required"),
        "missing binary": (127, "", "squeue: command not found"),
        "killed": (137, HEADER + "\n", ""),
        "warning first": (0, "squeue: warning: clocks differ\n" + row(job, "RUNNING"), ""),
        "empty": (0, "", ""),
        "cut": (0, row(job, "RUNNING")[:70], ""),
        "error as output": (0, "slurm_load_jobs error: Invalid user id\n", ""),
        "suspended": (0, row(job, "SUSPENDED"), ""),
        "stopped": (0, row(job, "STOPPED"), ""),
        "requeued": (0, row(job, "REQUEUED"), ""),
        "requeue hold": (0, row(job, "REQUEUE_HOLD"), ""),
        "preempted": (0, row(job, "PREEMPTED") + "", ""),
        "of tomorrow": (0, row(job, "HIBERNATING"), ""),
    }


async def test_sixteen_answers_that_do_not_mean_finished_keep_the_server(
    bench: Bench, cluster: Cluster, program: Program
) -> None:
    answer = bench.folder / "answer"
    bench.config.SlurmClient.squeue = program(
        "squeue",
        f'[ -e {answer} ] || exec /usr/bin/squeue "$@"\n'
        f"cat {answer}.err >&2; cat {answer}; exit $(cat {answer}.rc)",
    )
    spawner, url = await started(bench)
    jobs = watchers(bench.config).jobs
    kept = []
    for name, (status, out, err) in sixteen(spawner.job_id).items():
        for suffix, text in ((".rc", str(status)), (".err", err), ("", out)):
            Path(f"{answer}{suffix}").write_text(text)
        await jobs.look()
        # A second PREEMPTED would be the end: a requeue has shown by then.
        await jobs.look() if name != "preempted" else None
        if await spawner.poll() is None:
            kept.append(name)
        answer.unlink()
        await jobs.look()
    assert len(kept) == 16
    assert jobs.see(spawner.job_name).state is JobState.RUNNING
    assert await environment_of(url)


async def test_a_suspended_job_is_kept_and_told(bench: Bench, cluster: Cluster) -> None:
    spawner, url = await started(bench)
    jobs = watchers(bench.config).jobs
    cluster.command("scontrol", "suspend", spawner.job_id)
    try:
        await until(bench, lambda: jobs.see(spawner.job_name).reason == "SUSPENDED")
        assert await spawner.poll() is None
        assert jobs.see(spawner.job_name).words == "Slurm has paused the job; it goes on later."
    finally:
        cluster.command("scontrol", "resume", spawner.job_id)
    await until(bench, lambda: jobs.see(spawner.job_name).words == "The job runs.")
    assert await environment_of(url)


async def test_a_held_requeue_is_kept_and_told(bench: Bench, cluster: Cluster) -> None:
    spawner, _ = await started(bench, options={"requeue": True})
    jobs = watchers(bench.config).jobs
    cluster.command("scontrol", "requeuehold", spawner.job_id)
    await until(bench, lambda: jobs.see(spawner.job_name).state is JobState.PENDING)
    assert await spawner.poll() is None
    assert "held" in jobs.see(spawner.job_name).words
    await spawner.stop()
    await until(bench, lambda: not queue(cluster))


@contextmanager
def down(cluster: Cluster, node: str) -> Iterator[None]:
    """The node has failed for Slurm, until the block ends."""
    cluster.command("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    try:
        yield
    finally:
        with suppress(CannotRun):  # it may have come back by itself
            cluster.command("scontrol", "update", f"nodename={node}", "state=resume")


async def test_a_job_requeued_to_another_node_is_never_routed_to_the_old_one(
    bench: Bench, cluster: Cluster
) -> None:
    """Nor to the new one: a server that nobody waits for gets no port, and its job ends."""
    options = {"partition": "cpu", "requeue": True}
    spawner, url = await started(bench, options=options)
    old = spawner._host

    async def over() -> bool:
        return await spawner.poll() == 1

    # Slurm may keep it back for a while after a failure; then it would be too long to wait for.
    with down(cluster, old):
        cluster.command("scontrol", "update", f"jobid={spawner.job_id}", "starttime=now")
        await until(bench, over, 60)
    assert spawner.ended
    await until(bench, lambda: not queue(cluster), 60)
    with pytest.raises(httpx.TransportError):
        async with httpx.AsyncClient(trust_env=False) as client:
            await client.get(url)


async def test_two_sessions_on_one_node_never_share_a_port(bench: Bench, cluster: Cluster) -> None:
    first, url = await started(bench, options={"partition": "small"})
    port = int(url.rsplit(":", 1)[1])
    bench.listening = False
    second = bench.spawner("second")
    second.launch = bench.launch(options={"partition": "small"})
    start = asyncio.ensure_future(second.start())
    await until(bench, lambda: any("runs on cpu2" in line for line in bench.told))
    await until(bench, lambda: bool(second.job_id))
    assert second.accept_port(port)
    with pytest.raises(BackendError, match=f"Another session on cpu2 listens on port {port}"):
        await start
    assert not second._url
    assert await first.poll() is None
    await until(bench, lambda: queue(cluster) == [first.job_name])


async def test_a_full_port_range_ends_the_second_session_not_the_first(
    bench: Bench, cluster: Cluster
) -> None:
    first, url = await started(bench, options={"partition": "small"})
    port = url.rsplit(":", 1)[1]
    await environment_of(url)  # it listens
    second = bench.spawner("second")
    second.port_range = f"{port}-{port}"
    second.launch = bench.launch(options={"partition": "small"})
    with pytest.raises(BackendError, match="before the notebook server was ready"):
        await second.start()
    assert "is free on this machine" in Path(second._log_path).read_text()
    assert (await environment_of(url))["SLURM_JOB_ID"] == first.job_id


async def test_the_job_is_found_in_a_talkative_answer_of_sbatch(
    bench: Bench, cluster: Cluster, program: Program
) -> None:
    bench.config.SlurmClient.sbatch = program(
        "sbatch",
        'echo "sbatch: warning: your quota is 99% full"\n'
        'echo "$(/usr/bin/sbatch "$@");maxwell"\necho "Have a nice day"',
    )
    spawner, _ = await started(bench)
    assert queue(cluster) == [spawner.job_name]
    assert await spawner.poll() is None


async def test_a_hanging_squeue_does_not_hold_up_the_hub(bench: Bench, program: Program) -> None:
    bench.config.SlurmClient.squeue = program("squeue", "sleep 600")
    bench.config.SlurmClient.query_timeout = 0.2
    jobs = watchers(bench.config).jobs
    jobs.watch("n", "7")
    lags = []
    for _ in range(200):
        began = time.perf_counter()
        await asyncio.sleep(0.01)
        lags.append(time.perf_counter() - began - 0.01)
    assert "took more than 0.2 s" in jobs.trouble
    # Not the longest: that one belongs to whatever else this machine does.
    assert sorted(lags)[-5] < 0.05
    assert jobs.see("n").state is JobState.UNKNOWN


async def test_a_port_that_was_told_before_the_hub_was_killed_is_not_lost(
    bench: Bench, cluster: Cluster
) -> None:
    """The session tells it once; the Hub dies before it has used it."""
    spawner, url = await started(bench)
    (state,) = [s for s in bench.saved if "port" in s and s["port"] and "url" not in s]
    other = bench.spawner()
    other.load_state(state)
    assert (await other.get_url()).startswith(url)
    assert other.job_id == spawner.job_id
    assert queue(cluster) == [spawner.job_name]


async def test_an_unexpected_error_while_adopting_keeps_the_job(
    bench: Bench, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of the Hub is no evidence that the job ended."""
    monkeypatch.setattr("panosc_hub.backends.slurm.starting.ADOPT_AGAIN", 0.05)
    spawner, url = await started(bench)
    (state,) = [s for s in bench.saved if s.get("port") and "url" not in s]
    other = bench.spawner()
    other.load_state(state)
    tries = []

    async def at(node: str) -> str:
        tries.append(node)
        if len(tries) < 4:
            raise RuntimeError("a mistake of ours")
        return "127.0.0.1"

    monkeypatch.setattr(other, "_at", at)
    assert (await other.get_url()).startswith(url)
    assert len(tries) == 4
    assert queue(cluster) == [spawner.job_name]
    assert await environment_of(url)
    assert await other.poll() is None


async def test_a_database_that_fails_while_adopting_loses_no_session(
    bench: Bench, cluster: Cluster
) -> None:
    spawner, url = await started(bench)
    (state,) = [s for s in bench.saved if s.get("port") and "url" not in s]
    other = bench.spawner()
    other.load_state(state)

    def away() -> None:
        raise OSError("database is locked")

    other.save_state = away
    assert (await other.get_url()).startswith(url)
    assert queue(cluster) == [spawner.job_name]


async def test_an_adoption_waits_for_a_slurm_that_is_away_also_beyond_its_limit(
    bench: Bench, cluster: Cluster
) -> None:
    """The limit passed while nobody could say whether the session came up in time."""
    bench.config.SlurmBackend.adoption_grace = 0.2
    spawner, url = await started(bench)
    (state,) = [s for s in bench.saved if s.get("port") and "url" not in s]
    jobs = watchers(bench.config).jobs
    cluster.stop_controller()
    try:
        jobs.forget(spawner.job_name)
        other = bench.spawner()
        other.load_state({**state, "until": 1})
        asked = asyncio.ensure_future(other.get_url())
        await until(bench, lambda: bool(jobs.trouble), 60)
        for _ in range(4):
            await jobs.news(5)
        assert not asked.done()
    finally:
        cluster.start_controller()
    assert (await asked).startswith(url)
    assert queue(cluster) == [spawner.job_name]


async def test_an_adoption_that_goes_wrong_again_and_again_can_be_given_up(
    bench: Bench, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    await started(bench)
    (state,) = [s for s in bench.saved if s.get("port") and "url" not in s]
    other = bench.spawner()
    other.load_state(state)
    failed = asyncio.Event()

    async def at(node: str) -> str:
        failed.set()
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(other, "_at", at)
    asked = asyncio.ensure_future(other.get_url())
    await failed.wait()
    assert len(queue(cluster)) == 1
    await asyncio.sleep(0)
    assert other.give_up()
    assert await asked == "http://127.0.0.1:1"
    assert other.ended == "It was stopped from the Hub."
    await until(bench, lambda: not queue(cluster))


async def test_state_of_an_unknown_shape_is_read_without_an_error(bench: Bench) -> None:
    for odd in (
        {"name": 7, "job_id": None, "owed": ["x"]},
        {"name": "n", "port": "x", "until": [], "limit": True, "owed": 3},
        {"job": "of another version"},
    ):
        spawner = bench.spawner()
        spawner.load_state(odd)
        assert await spawner.poll() in (None, 0)
        spawner.clear_state()
