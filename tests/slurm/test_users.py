"""A Hub that runs as an unprivileged account, people with accounts of their own, real sudo.

The sudo rule is the shipped one with the names filled in, and so are the Hub's settings.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import pytest_asyncio

from tests.hub.harness import HubProcess
from tests.slurm import service
from tests.slurm.cluster import Cluster
from tests.slurm.hubs import job_of, jobs, saved, stop, wait_for
from tests.slurm.people import People, groups_of
from tests.slurm.service import ask

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def folder(accounts: People) -> Iterator[Path]:
    with service.folder(accounts) as folder:
        yield folder


@pytest.fixture(scope="module")
def service_hub(folder: Path, slurm: Cluster, accounts: People) -> Iterator[HubProcess]:
    """The Hub, running as its service account."""
    process = service.make_hub(folder, slurm, accounts)
    try:
        asyncio.run(process.start())
        yield process
    finally:
        process.stop()


@pytest_asyncio.fixture
async def hub(
    cluster: Cluster, service_hub: HubProcess, accounts: People
) -> AsyncIterator[HubProcess]:
    """The Hub without sessions."""
    yield service_hub
    await service.stop_all(service_hub, accounts)


async def seen_by_itself(hub: HubProcess, user: str) -> dict[str, Any]:
    """What the session's server tells of itself, on the node."""
    async with httpx.AsyncClient(trust_env=False) as client:
        return dict((await client.get(job_of(hub, user)["url"])).json())


async def test_a_job_runs_with_its_persons_ids_and_groups_and_writes_as_that_person(
    hub: HubProcess, cluster: Cluster, accounts: People, folder: Path
) -> None:
    assert psutil.Process(hub.process.pid).username() == accounts.service  # type: ignore[union-attr]
    people = (accounts.paula, accounts.mira)
    for user in people:
        assert (await ask(hub, user)).status_code in (201, 202)
    for user in people:
        await hub.until(user)
        entry = pwd.getpwnam(user)
        told = await seen_by_itself(hub, user)
        process = psutil.Process(told["pid"])
        assert set(process.uids()) == {entry.pw_uid}
        assert set(process.gids()) == {entry.pw_gid}
        status = Path(f"/proc/{told['pid']}/status").read_text()
        groups = {int(g) for g in re.findall(r"^Groups:(.*)$", status, re.M)[0].split()}
        assert groups | {entry.pw_gid} == groups_of(user)
        home = Path(entry.pw_dir)
        assert (home / "panosc" / "test" / "HG-123" / "workspace").is_dir()
        assert (home / ".panosc-default.log").is_file()
        owners = {path.lstat().st_uid for path in home.rglob("*")}
        assert owners == {entry.pw_uid}, "the Hub writes nothing into homes"
        assert cluster.command("squeue", "-h", f"--user={user}", "--format=%T").split() == [
            "RUNNING"
        ]
    image = folder / "data" / "HG-123" / "raw" / "image"
    assert accounts.run_as(accounts.paula, "cat", str(image)).returncode == 0
    assert accounts.run_as(accounts.mira, "cat", str(image)).returncode != 0
    assert accounts.run_as(accounts.service, "cat", str(image)).returncode != 0


async def test_a_stop_cancels_the_job_as_its_person_through_sudo(
    hub: HubProcess, cluster: Cluster, accounts: People
) -> None:
    user = accounts.paula
    # The log is that of all tests; others have a Slurm that hides jobs.
    earlier = len(accounts.sudo_log.read_text()) if accounts.sudo_log.exists() else 0
    await ask(hub, user)
    await hub.until(user)
    name = job_of(hub, user)["name"]
    assert await stop(hub, user) in (202, 204)
    wait_for("the job is over", lambda: name not in jobs(cluster))
    log = accounts.sudo_log.read_text()[earlier:]
    assert f"USER={user} ; COMMAND=/usr/bin/scancel --name={name}" in log
    # The Hub needs no other command as somebody else, where Slurm hides nothing.
    assert set(re.findall(r"COMMAND=(\S+)", log)) <= {"/usr/bin/sbatch", "/usr/bin/scancel"}


def processes(marker: str) -> dict[int, tuple[list[str], dict[str, str]]]:
    """Arguments and environment of all processes whose arguments contain ``marker``."""
    found = {}
    for process in psutil.process_iter():
        try:
            argv = process.cmdline()
            if any(marker in word for word in argv):
                found[process.pid] = (argv, process.environ())
        except psutil.Error:
            continue  # it ended while we looked
    return found


async def test_the_token_is_in_no_argument_no_script_and_no_log_also_with_sudo(
    hub: HubProcess, cluster: Cluster, accounts: People
) -> None:
    user = accounts.paula
    # slurmctld hangs, so sudo and sbatch stay to be looked at.
    cluster.freeze_controller()
    try:
        asking = asyncio.create_task(ask(hub, user))
        for _ in range(200):
            submitting = processes("/usr/bin/sbatch")
            if {"sudo", "sbatch"} <= {os.path.basename(a[0]) for a, _ in submitting.values()}:
                break
            await asyncio.sleep(0.05)
        everything = "\0".join("\0".join(argv) for argv, _ in processes("").values())
    finally:
        cluster.freeze_controller(False)
    assert (await asking).status_code in (201, 202)
    token = next(
        env["JUPYTERHUB_API_TOKEN"]
        for argv, env in submitting.values()
        if os.path.basename(argv[0]) == "sbatch"
    )
    assert len(token) >= 32
    assert "/usr/bin/sbatch" in everything
    assert token not in everything
    await hub.until(user)
    job_id = job_of(hub, user)["job_id"]
    script = cluster.command("scontrol", "write", "batch_script", job_id, "-")
    assert "#SBATCH" in script
    told = await seen_by_itself(hub, user)
    assert psutil.Process(told["pid"]).environ()["JUPYTERHUB_API_TOKEN"] == token
    places = {
        "script": script,
        "job": cluster.command("scontrol", "show", "job", job_id),
        "sudo's log": accounts.sudo_log.read_text(),
        "the Hub's log": hub.log,
        "saved state": str(saved(hub, user)),
        "arguments": "\0".join("\0".join(argv) for argv, _ in processes("").values()),
    }
    assert "COMMAND=/usr/bin/sbatch" in places["sudo's log"]
    assert [place for place, text in places.items() if token in text] == []


async def test_only_the_named_variables_pass_through_sudo(
    hub: HubProcess, accounts: People
) -> None:
    await ask(hub, accounts.mira)
    await hub.until(accounts.mira)
    process = psutil.Process((await seen_by_itself(hub, accounts.mira))["pid"])
    environment = process.environ()
    assert environment["JUPYTERHUB_OF_THE_SITE"] == "kept"
    assert "SECRET_OF_THE_HUB" not in environment
    assert "PYTHONPATH" not in environment
    assert environment["HOME"] == pwd.getpwnam(accounts.mira).pw_dir
    assert environment["USER"] == accounts.mira


async def test_a_person_whom_the_rule_does_not_name_gets_a_sentence(
    hub: HubProcess, cluster: Cluster, accounts: People
) -> None:
    async with hub.api() as api:
        await api.post(f"/users/{accounts.stranger}")
        await api.post(f"/users/{accounts.stranger}/server", json={"profile": "small"})
    events = await hub.progress(accounts.stranger)
    assert events[-1]["failed"] is True
    assert "may not start jobs for the account" in events[-1]["message"]
    assert jobs(cluster) == {}


REFUSED = {
    "a fifth command": ["-u", "{paula}", "/usr/bin/id"],
    "a shell": ["-u", "{paula}", "/bin/sh", "-c", "true"],
    "the same program elsewhere": ["-u", "{paula}", "{folder}/sbatch", "--version"],
    "another Slurm command": ["-u", "{paula}", "/usr/bin/srun", "--version"],
    "root": ["-u", "root", "/usr/bin/sbatch", "--version"],
    "root by its number": ["-u", "#0", "/usr/bin/sbatch", "--version"],
    "nobody in particular": ["/usr/bin/sbatch", "--version"],
    "a system account": ["-u", "daemon", "/usr/bin/sbatch", "--version"],
    "somebody outside of the group": ["-u", "{stranger}", "/usr/bin/sbatch", "--version"],
    "a group of others": ["-u", "{mira}", "-g", "{beamtime}", "/usr/bin/sbatch", "--version"],
    "another variable": ["-u", "{paula}", "LD_PRELOAD=/x", "/usr/bin/sbatch", "--version"],
    "its whole environment": ["-E", "-u", "{paula}", "/usr/bin/sbatch", "--version"],
    "a variable by name": ["--preserve-env=PYTHONPATH", "-u", "{paula}", "/usr/bin/sbatch"],
    "editing a file": ["-u", "{paula}", "-e", "/etc/hostname"],
    "a login shell": ["-u", "{paula}", "-i"],
}


@pytest.mark.parametrize("words", REFUSED.values(), ids=REFUSED)
def test_sudo_refuses_the_hubs_account_everything_else(
    cluster: Cluster, accounts: People, words: list[str]
) -> None:
    (accounts.folder / "sbatch").write_text("#!/bin/sh\n")
    (accounts.folder / "sbatch").chmod(0o755)
    names = vars(accounts)
    allowed = ["-u", accounts.paula, "/usr/bin/sbatch", "--version"]
    granted = accounts.run_as(accounts.service, "sudo", "-n", *allowed, **cluster.environment)
    assert granted.returncode == 0, granted.stderr
    asked = [word.format(**names) for word in words]
    refused = accounts.run_as(
        accounts.service, "sudo", "-n", *asked, **cluster.environment, PYTHONPATH="/x"
    )
    assert refused.returncode != 0
    assert re.match(r"sudo: (a password is required|sorry, )", refused.stderr), refused.stderr


def test_nobody_but_the_hubs_account_may_use_the_rule(cluster: Cluster, accounts: People) -> None:
    asked = ["sudo", "-n", "-u", accounts.paula, "/usr/bin/sbatch", "--version"]
    assert accounts.run_as(accounts.mira, *asked, **cluster.environment).returncode != 0


READ_ONLY = """
mount --make-rprivate /
mount -o remount,bind,ro /
mount -t tmpfs -o mode=000 none /home
exec setpriv --reuid "$1" --regid "$1" --init-groups -- \
    sudo -n -u "$2" -- /usr/bin/sbatch --parsable --export=ALL --output=/dev/null --chdir=/
"""


def test_sudo_and_sbatch_need_no_writable_system(cluster: Cluster, accounts: People) -> None:
    """As with ProtectSystem=strict and ProtectHome=yes of the shipped service."""
    try:
        subprocess.run(["unshare", "--mount", "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no name space for mounts can be made here: {error}")
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", READ_ONLY, "sh", accounts.service, accounts.paula],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **cluster.environment},
        input="#!/bin/sh\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    job = cluster.command("squeue", "-h", f"--jobs={done.stdout.strip()}", "--format=%u")
    assert job.strip() == accounts.paula
