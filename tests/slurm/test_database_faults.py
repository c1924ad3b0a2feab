"""The Hub's database fails while a session starts: a full disk, a server that restarts."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.hub.harness import HubProcess
from tests.slurm import mariadb
from tests.slurm.cluster import Cluster
from tests.slurm.hubs import ask, ever, jobs, make_hub, stop, wait_for
from tests.slurm.mariadb import MariaDB

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(240)]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "none", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """The file that took what was left; remove it and there is space again."""
    file = disk / "ballast"
    space = os.statvfs(disk)
    with pytest.raises(OSError, match="No space left"):
        file.write_bytes(bytes(space.f_bavail * space.f_frsize + 1))
    return file


@pytest.fixture
def hub(cluster: Cluster, tmp_path: Path, disk: Path) -> Iterator[HubProcess]:
    hub = make_hub(tmp_path, cluster, f'c.JupyterHub.db_url = "sqlite:///{disk}/hub.sqlite"\n')
    yield hub
    hub.stop()


async def test_a_full_disk_refuses_the_start_and_leaves_no_job(
    hub: HubProcess, cluster: Cluster, disk: Path
) -> None:
    await hub.start()
    assert await ask(hub, "paula") in (201, 202)
    await hub.until("paula")
    await stop(hub, "paula")
    await hub.until("paula", ready=False)
    before = ever(cluster)
    ballast = fill(disk)
    assert await ask(hub, "paula") >= 500
    assert ever(cluster) == before
    assert hub.alive
    ballast.unlink()
    # Without a restart, at the first try.
    assert await ask(hub, "paula") in (201, 202)
    await hub.until("paula")
    assert len(jobs(cluster)) == 1


async def test_a_disk_that_fills_while_a_job_waits_ends_the_start_and_leaves_no_orphan(
    hub: HubProcess, cluster: Cluster, disk: Path, tmp_path: Path
) -> None:
    """Another session, which runs already, is not touched."""
    await hub.start()
    for user, profile in (("paula", "small"), ("mira", "gated")):
        assert await ask(hub, user, profile) in (201, 202)
    await hub.until("paula")
    wait_for("both run", lambda: list(jobs(cluster).values()) == ["RUNNING", "RUNNING"])
    (mine,) = [name for name in jobs(cluster) if "paula" in name]
    ballast = fill(disk)
    (tmp_path / "gate").touch()
    wait_for("the other job is cancelled", lambda: list(jobs(cluster)) == [mine])
    assert hub.alive
    ballast.unlink()
    await answers_again(hub)
    assert (await hub.server("paula"))["ready"]
    await hub.until("mira", ready=False)
    assert await ask(hub, "mira") in (201, 202)
    await hub.until("mira")
    assert len(jobs(cluster)) == 2


REFUSE = """
create trigger refuse before update of state on spawners when new.state like '%"name"%'
begin select raise(abort, 'database or disk is full'); end
"""
"""The database does not take the state of a server that starts, as in a passing failure."""


async def test_a_state_that_the_database_does_not_take_is_a_sentence_and_no_job(
    hub: HubProcess, cluster: Cluster, disk: Path
) -> None:
    await hub.start()
    assert await ask(hub, "paula") in (201, 202)
    await hub.until("paula")
    await stop(hub, "paula")
    await hub.until("paula", ready=False)
    before = ever(cluster)
    with closing(sqlite3.connect(disk / "hub.sqlite", timeout=10)) as database:
        database.execute(REFUSE)
        async with hub.api() as api:
            answer = await api.post("/users/paula/server", json={"profile": "small"})
        database.execute("drop trigger refuse")
    assert answer.status_code == 500
    assert "The Hub's database cannot be written at the moment." in answer.json()["message"]
    assert ever(cluster) == before
    assert "does not take paula" in hub.log
    await answers_again(hub)
    assert await ask(hub, "paula") in (201, 202)
    await hub.until("paula")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MariaDB]:
    """A database server with an empty database ``hub``."""
    pytest.importorskip("pymysql")
    for program in mariadb.NEEDS:
        if shutil.which(program) is None and shutil.which(program, path="/usr/sbin") is None:
            pytest.skip(f"{program} is not installed (Debian package mariadb-server)")
    server = MariaDB(tmp_path)
    server.start()
    server.sql("create database hub character set utf8mb4")
    yield server
    server.stop()


async def test_a_database_that_restarts_while_a_job_waits_loses_no_session_and_needs_no_new_hub(
    server: MariaDB, cluster: Cluster, tmp_path: Path
) -> None:
    url = f"mysql+pymysql://root@localhost/hub?unix_socket={server.socket}"
    hub = make_hub(tmp_path, cluster, f"c.JupyterHub.db_url = {url!r}\n")
    try:
        await hub.start()
        for user, profile in (("paula", "small"), ("mira", "gated")):
            assert await ask(hub, user, profile) in (201, 202)
        await hub.until("paula")
        wait_for("both run", lambda: list(jobs(cluster).values()) == ["RUNNING", "RUNNING"])
        server.stop(signal.SIGKILL)
        (tmp_path / "gate").touch()
        wait_for("it met the fault", lambda: "Can't connect" in hub.log or "gone away" in hub.log)
        server.start()
        await answers_again(hub)
        # The session tells its port until the Hub takes it, so this start even succeeds.
        await hub.until("mira")
        assert (await hub.server("paula"))["ready"]
        assert len(jobs(cluster)) == 2
        await stop(hub, "mira")
        wait_for("the job is over", lambda: len(jobs(cluster)) == 1)
    finally:
        hub.stop()


async def answers_again(hub: HubProcess) -> None:
    """JupyterHub itself rolls back with the first request after an error, which it refuses."""
    async with hub.api() as api:
        for _ in range(2):
            last = await api.get("/users")
        assert last.status_code == 200
