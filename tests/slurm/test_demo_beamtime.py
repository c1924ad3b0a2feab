"""The example facility on a Slurm with accounts: what its profile for beam time asks for."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.check import Check
from examples.demo import Demo, free_port
from tests.slurm.accounting import AccountingCluster
from tests.slurm.hubs import wait_for

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(240)]


@pytest.fixture
def demo(accounting: AccountingCluster) -> Iterator[Demo]:
    with tempfile.TemporaryDirectory(prefix="panosc-demo-", ignore_cleanup_errors=True) as folder:
        demo = Demo(Path(folder), free_port(), slurm=True)
        try:
            demo.prepare()
            demo.start()
            yield demo
        finally:
            demo.stop()


async def test_a_beam_times_session_gets_the_proposals_account_and_reservation(
    demo: Demo, accounting: AccountingCluster
) -> None:
    paula = Check(demo.url, "slurm")
    try:
        await paula.login()
        fields = {"proposal": "HG-123", "profile": "slurm-beamtime", "choice-qos": "beamtime"}
        answer = await paula.client.post("/hub/spawn", params={"_xsrf": paula._xsrf()}, data=fields)
        assert answer.status_code == 200, answer.text[:2000]
        show = ("squeue", "--noheader", "--format=%a|%q|%v|%P|%T|%N")
        await asyncio.to_thread(
            wait_for, "the job runs", lambda: "RUNNING" in accounting.command(*show)
        )
        assert accounting.command(*show).split() == [
            "hg-123|beamtime|HG-123-beamtime|beam|RUNNING|beam1"
        ]
        await paula.stop()
    finally:
        await paula.client.aclose()
