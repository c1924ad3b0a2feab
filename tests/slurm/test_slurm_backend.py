"""The SLURM backend against a real Slurm."""

from __future__ import annotations

import asyncio
import os
import pwd
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import psutil
import pytest

from panosc_hub.backends.slurm import SlurmBackend
from panosc_hub.backends.slurm.shared import watchers
from panosc_hub.core.jobstate import JobState
from panosc_hub.core.plan import PlannedFile, SessionPlan
from panosc_hub.errors import BackendError, BackendUnavailable, Refusal
from tests.slurm.cluster import Cluster
from tests.slurm.conftest import SERVER, TOKEN, Bench

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(120)]

Program = Callable[[str, str], str]


async def until(
    bench: Bench, condition: Callable[[], bool | Awaitable[bool]], patience: float = 20
) -> None:
    """Wait for the watcher's looks until ``condition`` holds."""
    end = time.monotonic() + patience
    jobs = watchers(bench.config).jobs
    while True:
        held = condition()
        if held is True or (not isinstance(held, bool) and await held):
            return
        assert time.monotonic() < end, f"not within {patience} s"
        await jobs.news(0.5)


async def started(bench: Bench, server: str = "", **launch: object) -> tuple[SlurmBackend, str]:
    spawner = bench.spawner(server)
    spawner.launch = bench.launch(**launch)  # type: ignore[arg-type]
    return spawner, await spawner.start()


async def environment_of(url: str) -> dict[str, str]:
    """What the session's server sees, once it answers."""
    async with httpx.AsyncClient(trust_env=False) as client:
        end = time.monotonic() + 20
        while True:
            try:
                text = (await client.get(url)).text
                return dict(line.partition("=")[::2] for line in text.splitlines())
            except httpx.TransportError:
                assert time.monotonic() < end
                await asyncio.sleep(0.05)


def queue(cluster: Cluster) -> list[str]:
    """Names of all jobs that have not ended."""
    return cluster.command("squeue", "--noheader", "--format=%j").split()


async def test_a_session_starts_answers_and_stops(bench: Bench, cluster: Cluster) -> None:
    spawner, url = await started(bench)
    assert await spawner.poll() is None
    seen = await environment_of(url)
    assert seen["JUPYTERHUB_API_TOKEN"] == TOKEN
    assert seen["SLURM_JOB_ID"] == spawner.job_id
    assert seen["HOME"] == str(bench.folder / "home" / "paula")
    assert seen["PATH"] == "/usr/local/bin:/usr/bin:/bin"
    assert queue(cluster) == [spawner.job_name]
    await spawner.stop()
    await until(bench, lambda: not queue(cluster))
    await until(bench, lambda: watchers(bench.config).jobs.see(spawner.job_name).state == "gone")
    assert await spawner.poll() == 1
    with pytest.raises(httpx.TransportError):
        async with httpx.AsyncClient(trust_env=False) as client:
            await client.get(url)


async def test_the_job_gets_what_the_profile_says(bench: Bench, cluster: Cluster) -> None:
    spawner, _ = await started(
        bench,
        cpus=2,
        memory="3G",
        walltime="9m",
        gpus={"type": "a100", "count": 2},
        options={"partition": "gpu"},
        variables={"GREETING": "it's $HOME; `id`"},
    )
    job = cluster.command("scontrol", "-o", "show", "job", spawner.job_id)
    for part in (
        "NumNodes=1 ",
        "CPUs/Task=2 ",
        "MinMemoryNode=3G ",
        "TimeLimit=00:09:00 ",
        "Partition=gpu ",
        "TresPerNode=gres:gpu:a100:2 ",
        "Requeue=0 ",
        f"JobName={spawner.job_name} ",
    ):
        assert part in job, part
    assert "panosc:hub=test,user=paula,server=" in job
    seen = await environment_of(await spawner.get_url())
    assert seen["CUDA_VISIBLE_DEVICES"].count(",") == 1
    assert seen["GREETING"] == "it's $HOME; `id`"


async def test_the_plan_reaches_the_users_home(bench: Bench) -> None:
    text = "x" * 300_000  # more than an argument or a variable can hold
    plan = SessionPlan(
        facility="test", workspace="panosc/test/HG-1/w", files=(PlannedFile("n.ipynb", text),)
    )
    spawner, _ = await started(bench, plan=plan)
    home = Path(spawner.home())
    assert (home / "panosc/test/HG-1/w/n.ipynb").read_text() == text


async def test_the_token_is_in_no_script_argument_or_log(
    bench: Bench, cluster: Cluster, program: Program
) -> None:
    seen = bench.folder / "arguments"
    bench.config.SlurmClient.sbatch = program(
        "sbatch", f'echo "$@" > {seen}\ntee -a {seen} | /usr/bin/sbatch "$@"'
    )
    spawner, url = await started(bench)
    await environment_of(url)
    assert "--parsable --export=ALL" in seen.read_text()
    assert "#SBATCH --job-name" in seen.read_text()
    assert TOKEN not in seen.read_text()
    for process in psutil.process_iter(["cmdline"]):
        assert TOKEN not in " ".join(process.info["cmdline"] or [])
    script = bench.folder / "script"
    cluster.command("scontrol", "write", "batch_script", spawner.job_id, str(script))
    assert "#SBATCH --job-name" in script.read_text()
    for path in (script, Path(spawner._log_path)):
        assert TOKEN not in path.read_text()
    assert TOKEN not in str(bench.saved)
    assert TOKEN not in cluster.command("scontrol", "-o", "show", "job", spawner.job_id)


async def test_the_job_makes_its_home_and_the_hub_writes_nothing_there(
    bench: Bench, program: Program
) -> None:
    """The home is not there when sbatch runs; the log begins in it all the same."""
    seen = bench.folder / "seen"
    bench.config.SlurmBackend.log_template = "{home}/log-%j"
    bench.config.SlurmClient.sbatch = program(
        "sbatch", f'ls {bench.folder}/home > {seen} 2>&1\nexec /usr/bin/sbatch "$@"'
    )
    spawner, url = await started(bench, options={"prologue": "echo from the prologue; pwd"})
    assert (await environment_of(url))["PWD"] == spawner.home()
    assert "No such file or directory" in seen.read_text()
    assert Path(spawner.home()).stat().st_mode & 0o777 == 0o700
    log = Path(spawner._log_path)
    assert log == Path(spawner.home()) / f"log-{spawner.job_id}"
    assert log.read_text().startswith(f"from the prologue\n{spawner.home()}\n")


async def test_name_is_saved_before_submission_and_id_after(bench: Bench) -> None:
    spawner, _ = await started(bench)
    assert bench.saved[0]["name"] == spawner.job_name
    assert not {"job_id", "host", "url"} & set(bench.saved[0])
    assert bench.saved[1]["job_id"] == spawner.job_id
    assert bench.saved[-1]["host"].startswith("cpu")


async def test_pending_says_why_and_too_late_cancels(bench: Bench, cluster: Cluster) -> None:
    cluster.command("scontrol", "update", "nodename=cpu[1-2]", "state=drain", "reason=test")
    try:
        spawner = bench.spawner()
        spawner.launch = bench.launch(start_timeout=4)
        with pytest.raises(BackendError) as failure:
            await spawner.start()
    finally:
        cluster.command("scontrol", "update", "nodename=cpu[1-2]", "state=resume")
    assert "did not start within 4 s," in failure.value.sentence
    assert "Waiting in the queue: " in failure.value.sentence
    assert "nodes it needs are down" in failure.value.sentence
    assert any(line.startswith("Waiting in the queue") for line in bench.told)
    await until(bench, lambda: not queue(cluster))


async def test_a_job_that_ends_before_its_port_is_a_sentence(bench: Bench) -> None:
    spawner = bench.spawner()
    spawner.launch = bench.launch(options={"prologue": "echo on purpose; exit 3"})
    with pytest.raises(BackendError) as failure:
        await spawner.start()
    sentence = failure.value.sentence
    assert "the job failed (exit status 3)" in sentence
    assert "before the notebook server was ready" in sentence
    assert spawner._log_path in sentence
    assert "on purpose" in Path(spawner._log_path).read_text()


async def test_a_job_cancelled_while_starting_fails_at_once(bench: Bench, cluster: Cluster) -> None:
    bench.listening = False
    spawner = bench.spawner()
    spawner.launch = bench.launch()
    start = asyncio.ensure_future(spawner.start())
    await until(bench, lambda: any("runs on" in line for line in bench.told))
    began = time.monotonic()
    cluster.command("scancel", spawner.job_id)
    with pytest.raises(BackendError, match="the job was cancelled"):
        await start
    assert time.monotonic() - began < 8  # KillWait is 2 s, then two looks


async def test_stop_while_starting_cancels_once(bench: Bench, cluster: Cluster) -> None:
    bench.listening = False
    spawner = bench.spawner()
    spawner.launch = bench.launch()
    start = asyncio.ensure_future(spawner.start())
    await until(bench, lambda: any("runs on" in line for line in bench.told))
    await spawner.stop()
    with pytest.raises(BackendError):
        await start
    await until(bench, lambda: not queue(cluster))


async def test_a_cancelled_start_leaves_no_job(bench: Bench, cluster: Cluster) -> None:
    bench.listening = False
    spawner = bench.spawner()
    spawner.launch = bench.launch()
    start = asyncio.ensure_future(spawner.start())
    await until(bench, lambda: bool(spawner.job_id))
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    await until(bench, lambda: not queue(cluster))


async def test_a_refusal_is_slurms_own_sentence(bench: Bench) -> None:
    spawner = bench.spawner()
    spawner.launch = bench.launch(options={"partition": "nowhere"})
    with pytest.raises(Refusal) as failure:
        await spawner.start()
    assert "SLURM refused the job: invalid partition specified: nowhere" in failure.value.sentence
    assert await spawner.poll() == 0


async def test_two_servers_are_two_jobs(bench: Bench, cluster: Cluster) -> None:
    first, one = await started(bench)
    second = bench.spawner("second")
    second.api_token = "another-token"
    second.launch = bench.launch()
    two = await second.start()
    assert one != two
    assert first.job_id != second.job_id
    assert (await environment_of(two))["JUPYTERHUB_SERVER_NAME"] == "second"
    await first.stop()
    assert await second.poll() is None
    await until(bench, lambda: queue(cluster) == [second.job_name])


async def test_a_restarted_hub_finds_the_job_again(bench: Bench, cluster: Cluster) -> None:
    spawner, url = await started(bench)
    other = bench.spawner()
    other.load_state(spawner.get_state())
    assert await other.poll() is None
    assert (await other.get_url()).startswith(url)
    other.ended = ""
    cluster.command("scancel", spawner.job_id)

    async def over() -> bool:
        return await other.poll() == 1

    await until(bench, over)
    assert "cancelled" in other.ended


async def test_a_hub_killed_before_the_id_was_saved_finds_the_job(bench: Bench) -> None:
    spawner, _ = await started(bench)
    other = bench.spawner()
    other.load_state(bench.saved[0])
    watchers(bench.config).jobs.forget(spawner.job_name)

    async def found() -> bool:
        assert await other.poll() is None
        return other.job_id == spawner.job_id

    await until(bench, found)


async def test_a_stopped_controller_ends_no_session(bench: Bench, cluster: Cluster) -> None:
    bench.config.SlurmClient.query_timeout = 2.0
    spawner, _ = await started(bench)
    jobs = watchers(bench.config).jobs
    cluster.stop_controller()
    try:
        await until(bench, lambda: bool(jobs.trouble))
        for _ in range(3):
            assert await spawner.poll() is None
            await jobs.news(3)
        assert await spawner.poll() is None
    finally:
        cluster.start_controller()
    await until(bench, lambda: not jobs.trouble)
    assert jobs.see(spawner.job_name).state is JobState.RUNNING
    assert await spawner.poll() is None


async def test_a_hanging_controller_ends_no_session(bench: Bench, cluster: Cluster) -> None:
    bench.config.SlurmClient.query_timeout = 1.0
    spawner, _ = await started(bench)
    jobs = watchers(bench.config).jobs
    cluster.freeze_controller()
    try:
        await until(bench, lambda: "took more than 1 s" in jobs.trouble)
        assert await spawner.poll() is None
    finally:
        cluster.freeze_controller(False)
    await until(bench, lambda: not jobs.trouble)
    assert await spawner.poll() is None


async def test_a_cancellation_that_fails_is_made_up_for(
    bench: Bench, cluster: Cluster, program: Program
) -> None:
    bench.config.SlurmClient.scancel = program(
        "scancel",
        f'[ -e {bench.folder}/up ] || {{ echo "Unable to contact" >&2; exit 1; }}\n'
        'exec /usr/bin/scancel "$@"',
    )
    spawner, _ = await started(bench)
    await spawner.stop()
    assert spawner.lasting_state() == {"owed": {spawner.job_name: spawner.job_id}}
    spawner.clear_state()
    assert len(queue(cluster)) == 1
    (bench.folder / "up").touch()
    await until(bench, lambda: not queue(cluster))
    await until(bench, lambda: spawner.lasting_state() == {})


async def test_a_lost_answer_of_sbatch_makes_one_job(
    bench: Bench, cluster: Cluster, program: Program
) -> None:
    bench.config.SlurmClient.sbatch = program(
        "sbatch", '/usr/bin/sbatch "$@" >/dev/null\nexec sleep 600'
    )
    bench.config.SlurmClient.submit_timeout = 2.0
    spawner, url = await started(bench)
    assert (await environment_of(url))["SLURM_JOB_ID"] == spawner.job_id
    assert queue(cluster) == [spawner.job_name]


async def test_no_job_is_left_when_sbatch_never_reached_slurm(
    bench: Bench, cluster: Cluster, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("panosc_hub.backends.slurm.submit.LOOK_FOR", 0.5)
    text = "sbatch: error: Batch job submission failed: Unable to contact slurm controller"
    bench.config.SlurmClient.sbatch = program("sbatch", f"echo '{text}' >&2; exit 1")
    spawner = bench.spawner()
    spawner.launch = bench.launch()
    with pytest.raises(BackendUnavailable, match="No job was started"):
        await spawner.start()
    assert queue(cluster) == []


async def test_a_hanging_query_is_killed_with_its_children(bench: Bench, program: Program) -> None:
    bench.config.SlurmClient.squeue = program("squeue", "sleep 7531 & wait")
    bench.config.SlurmClient.query_timeout = 0.5
    client = watchers(bench.config).client
    with pytest.raises(BackendUnavailable, match=r"squeue took more than 0\.5 s"):
        await client.query("squeue")
    assert not [p for p in psutil.process_iter(["cmdline"]) if "7531" in (p.info["cmdline"] or [])]


async def test_endless_output_is_cut(bench: Bench, program: Program) -> None:
    bench.config.SlurmClient.squeue = program("squeue", "yes")
    bench.config.SlurmClient.max_output = 100_000
    with pytest.raises(BackendUnavailable, match="more than 100000 bytes"):
        await watchers(bench.config).client.query("squeue")


async def test_the_port_is_taken_once_and_only_while_starting(bench: Bench) -> None:
    spawner, _ = await started(bench)
    assert not spawner.accept_port(20000)
    waiting = bench.spawner("other")
    assert not waiting.accept_port(20000)
    waiting._starting = True
    for odd in (1023, 65536, True, 20000.0, "20000", None):
        assert not waiting.accept_port(odd)  # type: ignore[arg-type]
    assert waiting.accept_port(20000)
    assert not waiting.accept_port(20001)


async def test_availability_counts_what_fits_on_nodes_that_are_up(
    bench: Bench, cluster: Cluster
) -> None:
    nodes = watchers(bench.config).nodes
    profiles = {
        name: bench.launch(id=name, **profile).profile
        for name, profile in {
            "four": {"cpus": 4, "memory": "2G"},
            "a100": {"gpus": {"type": "a100"}, "options": {"partition": "gpu"}},
            "any": {"gpus": {}, "options": {"partition": "gpu"}},
            "h100": {"gpus": {"type": "h100"}, "options": {"partition": "gpu"}},
            "nowhere": {"options": {"partition": "nowhere"}},
        }.items()
    }
    first = SlurmBackend.availability(profiles, bench.config)
    assert all(each.free is None for each in first.values())  # at once, before the first look
    await nodes.refresh()
    looks = SlurmBackend.availability(profiles, bench.config)
    assert {name: look.free for name, look in looks.items()} == {
        "four": 4,
        "a100": 4,
        "any": 6,
        "h100": 0,
        "nowhere": None,
    }
    assert not looks["h100"].usable
    assert "no node that is up has 1 GPU of type h100" in looks["h100"].words
    assert "no partition nowhere" in looks["nowhere"].words
    spawner, _ = await started(bench, gpus={"type": "a100"}, options={"partition": "gpu"})
    cluster.command("scontrol", "update", "nodename=cpu1", "state=drain", "reason=test")
    try:
        await nodes.refresh()
        looks = SlurmBackend.availability(profiles, bench.config)
    finally:
        cluster.command("scontrol", "update", "nodename=cpu1", "state=resume")
    assert looks["a100"].free == 3
    assert looks["four"].free == 2
    assert spawner.job_id


async def test_availability_says_when_slurm_is_away(bench: Bench, program: Program) -> None:
    bench.config.SlurmClient.sinfo = program("sinfo", "echo 'Unable to contact' >&2; exit 1")
    profiles = {"small": bench.launch().profile}
    SlurmBackend.availability(profiles, bench.config)
    await watchers(bench.config).nodes.refresh()
    look = SlurmBackend.availability(profiles, bench.config)["small"]
    assert not look.usable
    assert look.words.startswith("SLURM does not answer")


async def test_dry_run_shows_the_script_and_does_nothing(bench: Bench, cluster: Cluster) -> None:
    spawner = bench.spawner()
    text = spawner.describe(bench.launch(options={"partition": "cpu"}))
    assert "#SBATCH --partition=cpu" in text
    assert len(text) < 3000
    assert queue(cluster) == []


async def test_jobs_run_as_the_users_account(bench: Bench, cluster: Cluster) -> None:
    """By runuser, which needs no set-up on the machine as sudo does."""
    account = pwd.getpwnam("daemon")
    home = cluster.dir / "home-daemon"
    home.mkdir()
    os.chown(home, account.pw_uid, account.pw_gid)
    bench.config.SlurmBackend.home_template = str(cluster.dir / "home-{username}")
    bench.config.SlurmClient.run_as = ["runuser", "-u", "{username}", "--"]
    spawner = bench.spawner(name="daemon")
    spawner.launch = bench.launch(command=("python3", "-c", SERVER))
    seen = await environment_of(await spawner.start())
    assert seen["JUPYTERHUB_API_TOKEN"] == TOKEN
    assert (seen["HOME"], seen["USER"]) == (str(home), "daemon")
    assert (seen["PATH"], seen["SLURM_JOB_UID"]) == (spawner.job_path, str(account.pw_uid))
    await spawner.stop()
    await until(bench, lambda: not queue(cluster))


async def test_users_login_files_are_not_run(bench: Bench) -> None:
    """Slurm runs them on the node to complete a partial environment; a slow home would hang."""
    home = Path(bench.spawner().home())
    home.mkdir(parents=True)
    for name in (".profile", ".bash_profile", ".bashrc"):
        (home / name).write_text(f"touch {bench.folder}/ran\nsleep 60\n")
    _, url = await started(bench)
    assert await environment_of(url)
    assert not (bench.folder / "ran").exists()
