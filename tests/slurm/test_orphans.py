"""``panosc-hub slurm orphans`` on a real Slurm and a real Hub's database; one Hub for all tests."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from panosc_hub.backends.slurm.orphans import Job, Server, jobs_of_hub, orphans
from panosc_hub.backends.slurm.parse import Garbled
from panosc_hub.backends.slurm.script import job_comment, job_name
from tests.hub.harness import HubProcess
from tests.slurm.cluster import Cluster
from tests.slurm.hubs import ask, job_of, jobs, make_hub, stop, wait_for

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(180)]
HUB = "hub-under-test"


@pytest.fixture(scope="module")
def hub(slurm: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    hub = make_hub(tmp_path_factory.mktemp("orphans"), slurm)
    asyncio.run(hub.start())
    yield hub
    hub.stop()


def tool(hub: HubProcess, *arguments: str) -> tuple[int, list[str], str]:
    """Exit status, names of the orphans, and complaints."""
    program = "from panosc_hub.cli.main import main; main()"
    command = [sys.executable, "-c", program, "slurm", "orphans", "--json"]
    done = subprocess.run(
        [*command, *arguments],
        cwd=hub.folder,
        env={**os.environ, **hub.env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    found = json.loads(done.stdout)["orphans"] if done.stdout.startswith("{") else []
    return done.returncode, sorted(row["name"] for row in found), done.stderr


def submit(cluster: Cluster, hub: str, user: str, server: str = "") -> str:
    """A job as a Hub of that name submits it; returns its name."""
    name = job_name(hub, user, server)
    cluster.command(
        "sbatch", f"--job-name={name}", f"--comment={job_comment(hub, user, server)}",
        "--chdir=/", "--output=/dev/null", "--mem=10M", "--wrap=sleep 300",
    )  # fmt: skip
    return name


async def test_jobs_that_no_server_claims_are_listed_and_cancelled(
    hub: HubProcess, cluster: Cluster
) -> None:
    await ask(hub, "paula")
    await ask(hub, "paula", name="second")
    await hub.until("paula")
    await hub.until("paula", "second")
    living = {job_of(hub, "paula")["name"], job_of(hub, "paula", "second")["name"]}
    lost = sorted([submit(cluster, HUB, "paula"), submit(cluster, HUB, "gone")])
    # Cut short, both Hub names look the same in a job's name.
    others = {submit(cluster, HUB + "-2", "paula"), submit(cluster, "other", "paula")}
    database = ("--hub-name", HUB, "--db", "sqlite:///hub.sqlite")
    assert tool(hub, *database) == (1, lost, "")
    assert tool(hub, "--config", "jupyterhub_config.py") == (1, lost, "")
    assert set(jobs(cluster)) == living | others | set(lost)  # listing changes nothing
    assert tool(hub, *database, "--cancel") == (0, lost, "")
    wait_for("lost jobs ended", lambda: set(jobs(cluster)) == living | others)
    assert tool(hub, *database) == (0, [], "")
    assert (await hub.server("paula"))["ready"]
    await stop(hub, "paula")
    await stop(hub, "paula", "second")


async def test_a_server_that_is_starting_is_no_orphan(hub: HubProcess, cluster: Cluster) -> None:
    await ask(hub, "mira", "gated")
    wait_for("the job", lambda: jobs(cluster))
    assert tool(hub, "--hub-name", HUB, "--db", "sqlite:///hub.sqlite") == (0, [], "")
    await stop(hub, "mira")


def test_no_answer_lists_nothing_and_cancels_nothing(
    hub: HubProcess, cluster: Cluster, program: Callable[[str, str], str], tmp_path: Path
) -> None:
    name = submit(cluster, HUB, "gone")
    status, found, error = tool(hub, "--hub-name", HUB, "--db", "sqlite:///missing", "--cancel")
    assert (status, found) == (2, [])
    assert "unable to open database file" in error
    assert not (hub.folder / "missing").exists()
    squeue = program("squeue", "echo 'squeue: error: Unable to contact' >&2; exit 1")
    config = tmp_path / "config.py"
    config.write_text(f"c.SlurmClient.squeue = {squeue!r}\n")
    status, found, error = tool(hub, "--config", str(config), "--db", "sqlite:///hub.sqlite")
    assert (status, found) == (2, [])
    assert "SLURM does not answer" in error
    assert tool(hub, "--cancel")[0] == 2
    assert list(jobs(cluster)) == [name]


JOB = Job("7", "RUNNING", "paula", "N/A", job_name(HUB, "paula", "", "aa"),
          job_comment(HUB, "paula", ""))  # fmt: skip
STATE = {"v": 1, "active": "slurm", "backends": {"slurm": {"name": JOB.name}}}


@pytest.mark.parametrize(
    ("servers", "orphan"),
    [
        ([], True),
        ([Server("paula", "", STATE)], False),
        ([Server("paula", "", {})], False),  # it begins now, and may have saved nothing yet
        ([Server("paula", "", {"v": 99, "job": 7})], False),  # another version's words
        ([Server("paula", "second", {})], True),
        ([Server("paula", "", {"v": 1, "active": "local"})], True),
        ([Server("paula", "", {**STATE, "backends": {"slurm": {"name": "another"}}})], True),
    ],
)
def test_who_claims_a_job(servers: list[Server], orphan: bool) -> None:
    assert orphans([JOB], servers, HUB) == ([JOB] if orphan else [])


def test_odd_rows_are_never_ours() -> None:
    header = "JOBID|STATE|USER|START_TIME|NAME|COMMENT|.\n"
    good = f"7|RUNNING|paula|N/A|{JOB.name}|{JOB.comment}|.\n"
    assert jobs_of_hub(header + good, HUB) == [JOB]
    for odd in (
        good.replace(JOB.name, JOB.name + "|x"),
        good.replace(JOB.comment, "(null)"),
        good.replace("panosc-hub", "panosc-pub"),
        good.replace("RUNNING", "COMPLETED"),
        good.replace("RUNNING", "COMPLETING"),
        good.replace("7|", "x|"),
    ):
        assert jobs_of_hub(header + odd, HUB) == []
    for text in ("", good, header.strip()):
        with pytest.raises(Garbled):
            jobs_of_hub(text, HUB)
