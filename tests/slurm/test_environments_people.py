"""Environments in jobs of several real accounts: who may run what, and whose copy is whose."""

from __future__ import annotations

import dataclasses
import os
import pwd
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from panosc_hub.core.plan import Launch
from panosc_hub.core.profiles import Environment
from panosc_hub.core.selection import Selection
from panosc_hub.errors import BackendError
from tests.batch import make_prefix, pack
from tests.slurm.conftest import SERVER, Bench
from tests.slurm.people import People
from tests.slurm.test_slurm_backend import environment_of, until

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(120)]


@pytest.fixture
def scratch(accounts: People, bench: Bench) -> Iterator[Path]:
    """A file system where everybody may begin a folder, as ``/scratch`` often is."""
    bench.config.SlurmBackend.home_template = str(accounts.folder / "home" / "{username}")
    bench.config.SlurmClient.run_as = ["runuser", "-u", "{username}", "--"]
    with tempfile.TemporaryDirectory(prefix="scratch-", dir=accounts.folder) as name:
        folder = Path(name)
        folder.chmod(0o1777)
        yield folder


def environment(accounts: People, folder: Path) -> Path:
    """One that all accounts can run."""
    made = make_prefix(folder)
    server = made / "bin" / "jupyterhub-singleuser"
    server.write_text(f"#!/usr/bin/env python3\n{SERVER}")
    (made / "bin" / "python3").unlink()
    (made / "bin" / "python3").symlink_to(accounts.python)
    return made


def give(path: Path, account: str) -> None:
    """A whole tree to an account."""
    entry = pwd.getpwnam(account)
    for each in (path, *path.rglob("*")):
        os.chown(each, entry.pw_uid, entry.pw_gid, follow_symlinks=False)


def launch(bench: Bench, accounts: People, given: str = "", **software: Any) -> Launch:
    made = Environment.model_validate({"id": "e", "title": "Frozen", **software})
    plain = bench.launch()
    return dataclasses.replace(
        plain,
        environment=made.at(given) if given else made,
        selection=Selection(profile="small", choices=(("path", given),) if given else ()),
        person=dataclasses.replace(plain.person, name=accounts.paula),
    )


async def test_an_environment_that_another_person_put_there_is_never_run(
    bench: Bench, accounts: People, scratch: Path
) -> None:
    """S3: a link that somebody sends fills in the path, and its owner waits for whoever starts."""
    trap = environment(accounts, scratch / accounts.paula / "env")
    (trap / "bin" / "jupyterhub-singleuser").write_text(f"#!/bin/sh\ntouch {scratch}/ran\n")
    give(scratch / accounts.paula, accounts.mira)
    for allowed in (f"{scratch}/{{username}}/**", f"{scratch}/**"):
        spawner = bench.spawner(name=accounts.paula)
        spawner.launch = launch(bench, accounts, str(trap), paths=[allowed])
        with pytest.raises(BackendError, match="the job failed"):
            await spawner.start()
        log = Path(spawner._log_path).read_text()
        assert f"cannot be used: {trap} belongs to another account" in log
    assert not (scratch / "ran").exists()


async def test_an_environment_of_ones_own_is_run(
    bench: Bench, accounts: People, scratch: Path
) -> None:
    mine = environment(accounts, scratch / accounts.paula / "env")
    give(scratch / accounts.paula, accounts.paula)
    spawner = bench.spawner(name=accounts.paula)
    spawner.launch = launch(bench, accounts, str(mine), paths=[f"{scratch}/{{username}}/**"])
    seen = await environment_of(await spawner.start())
    assert (seen["USER"], seen["PATH"].partition(":")[0]) == (accounts.paula, f"{mine}/bin")


async def test_each_person_has_a_copy_of_their_own(
    bench: Bench, accounts: People, scratch: Path
) -> None:
    archive = pack(environment(accounts, scratch / "env"), scratch / "env.tar.gz")
    folders = []
    for name in (accounts.paula, accounts.mira):
        spawner = bench.spawner(name=name)
        spawner.api_token = f"token-of-{name}"
        spawner.launch = launch(bench, accounts, archive=str(archive))
        seen = await environment_of(await spawner.start())
        copy = Path(seen["PATH"].partition(":")[0]).parent
        entry = pwd.getpwnam(name)
        assert copy.parent == Path(f"/dev/shm/panosc-{entry.pw_uid}")
        for each in (copy, copy.parent):
            about = each.stat()
            assert (about.st_uid, about.st_mode & 0o777) == (entry.pw_uid, 0o700)
        folders.append(copy.parent)
    assert accounts.run_as(accounts.mira, "ls", str(folders[0])).returncode != 0
    for spawner in bench.spawners:
        await spawner.stop()
    await until(bench, lambda: not any(folder.exists() for folder in folders))
