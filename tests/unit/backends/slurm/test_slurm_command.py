"""A command is killed and reaped, and a Hub that runs for months loses nothing to it."""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
from pathlib import Path

import psutil
import pytest

from panosc_hub.backends.slurm.client import SlurmClient
from panosc_hub.errors import BackendUnavailable


def descriptors() -> set[str]:
    """What this process has open, apart from what the event loop opens by the way."""
    return {
        f"{number} {target}"
        for number in os.listdir("/proc/self/fd")
        if (target := _target(number)) and "anon_inode" not in target
    }


def _target(number: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{number}")
    except OSError:  # the directory itself, while it was listed
        return ""


SECONDS = str(10**6 + secrets.randbelow(10**6))
"""By this the children of hanging commands are known, also once their parent is gone."""


def sleepers() -> list[psutil.Process]:
    found = psutil.process_iter(["cmdline"])
    return [each for each in found if SECONDS in (each.info["cmdline"] or [])]


@pytest.fixture
def squeue(tmp_path: Path) -> str:
    """Answers with what it is asked; with ``hang`` it starts a child and never ends."""
    path = tmp_path / "squeue"
    path.write_text(f'#!/bin/sh\n[ "$1" = hang ] && {{ sleep {SECONDS} & wait; }}\necho "$1"\n')
    path.chmod(0o755)
    return str(path)


@pytest.mark.timeout(120)
async def test_a_thousand_questions_leave_no_process_no_descriptor_and_no_thread(
    squeue: str,
) -> None:
    client = SlurmClient(squeue=squeue, concurrency=4, query_timeout=30)
    await asyncio.gather(*(client.query("squeue", "warm") for _ in range(8)))
    gc.collect()
    me = psutil.Process()
    before, threads, children = descriptors(), me.num_threads(), me.children(recursive=True)
    for round_ in range(100):
        found = await asyncio.gather(*(client.query("squeue", f"{round_}") for _ in range(10)))
        assert found == [f"{round_}\n"] * 10
    gc.collect()
    assert descriptors() <= before
    assert me.children(recursive=True) == children
    assert me.num_threads() <= threads


@pytest.mark.timeout(120)
async def test_questions_that_hang_are_killed_with_their_children_and_reaped(squeue: str) -> None:
    client = SlurmClient(squeue=squeue, concurrency=8, query_timeout=0.5)
    with pytest.raises(BackendUnavailable):
        await client.query("squeue", "hang")
    gc.collect()
    me = psutil.Process()
    before = descriptors()
    for _ in range(5):
        found = await asyncio.gather(
            *(client.query("squeue", "hang") for _ in range(8)), return_exceptions=True
        )
        assert all(isinstance(answer, BackendUnavailable) for answer in found)
    gc.collect()
    assert descriptors() <= before
    assert sleepers() == []
    assert [c for c in me.children() if c.status() == psutil.STATUS_ZOMBIE] == []


@pytest.mark.timeout(60)
async def test_questions_that_are_given_up_are_killed_too(squeue: str) -> None:
    client = SlurmClient(squeue=squeue, query_timeout=60)
    asked = [asyncio.ensure_future(client.query("squeue", "hang")) for _ in range(4)]
    async with asyncio.timeout(30):
        while len(sleepers()) < 4:
            await asyncio.sleep(0.05)
    for each in asked:
        each.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    async with asyncio.timeout(30):
        while sleepers():
            await asyncio.sleep(0.05)
