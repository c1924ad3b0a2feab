"""Slurm hides the users' jobs from the Hub's account, for real: PrivateData, operators, sudo."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.hub.harness import HubProcess
from tests.slurm import service
from tests.slurm.accounting import AccountingCluster
from tests.slurm.hubs import job_of, wait_for
from tests.slurm.people import People
from tests.slurm.service import ask

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def folder(accounts: People) -> Iterator[Path]:
    with service.folder(accounts) as folder:
        yield folder


@pytest_asyncio.fixture
async def hub(
    accounting: AccountingCluster, accounts: People, folder: Path
) -> AsyncIterator[HubProcess]:
    """The Hub, running as its service account, on a cluster where people need an association."""
    for user in (accounts.paula, accounts.mira):
        accounting.add_user(user, ["users"])
    process = service.make_hub(folder, accounting, accounts)
    try:
        await process.start()
        yield process
    finally:
        process.stop()


def asked_as(accounts: People, user: str) -> int:
    """How often sudo ran squeue as that user so far."""
    log = accounts.sudo_log.read_text()
    return len(re.findall(rf"USER={user} ; COMMAND=/usr/bin/squeue", log))


def hints(hub: HubProcess, accounts: People) -> int:
    return hub.log.count(f"sacctmgr modify user {accounts.service} set AdminLevel=Operator")


async def test_sessions_live_on_when_slurm_begins_to_hide_them_and_an_operator_sees_them_again(
    hub: HubProcess, accounting: AccountingCluster, accounts: People
) -> None:
    people = (accounts.paula, accounts.mira)
    for user in people:
        await ask(hub, user)
    for user in people:
        await hub.until(user)
    show = ("squeue", "-h", "-o", "%u")
    by_service = ("env", f"SLURM_CONF={accounting.conf}", *show)
    assert set(accounts.run_as(accounts.service, *by_service).stdout.split()) == set(people)
    assert [asked_as(accounts, user) for user in people] == [0, 0]
    with accounting.hiding_jobs():
        assert accounts.run_as(accounts.service, *by_service).stdout == ""
        for user in people:
            before = asked_as(accounts, user)
            # Two looks more: the rule for what is gone is two full looks.
            wait_for(
                "jobs are asked for as their owner",
                lambda u=user, b=before: asked_as(accounts, u) >= b + 3,  # type: ignore[misc]
            )
        assert hints(hub, accounts) == 1
        for user in people:
            assert (await hub.server(user))["ready"]
        # An end is still noticed, with its reason, and the other session is not touched.
        accounting.command("scancel", job_of(hub, accounts.mira)["job_id"])
        await hub.until(accounts.mira, ready=False)
        async with hub.browser(accounts.mira) as mira:
            page = (await mira.client.get("/hub/home")).text
        assert "cancelled on the cluster" in page
        assert (await hub.server(accounts.paula))["ready"]

        # What the log asks for: then one question for all is enough, from the next start on.
        accounting.manage(
            [
                f"add user {accounts.service} account=users",
                f"modify user {accounts.service} set AdminLevel=Operator",
            ]
        )
        assert accounts.run_as(accounts.service, *by_service).stdout.split() == [accounts.paula]
        hub.kill()
        before = asked_as(accounts, accounts.paula)
        await hub.start()
        assert (await hub.server(accounts.paula))["ready"]
        accounting.command("scancel", job_of(hub, accounts.paula)["job_id"])
        await hub.until(accounts.paula, ready=False)
        assert asked_as(accounts, accounts.paula) == before
        assert hints(hub, accounts) == 1
