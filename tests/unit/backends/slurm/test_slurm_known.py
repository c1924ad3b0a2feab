"""A running session without a child: what it answers, and when only a child will do."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from panosc_hub.backends.slurm.known import KnownSession, known_session
from panosc_hub.backends.slurm.watcher import SlurmWatcher
from tests.scripted_slurm import AWAY, NOTHING, listed, make

SAVED = {"name": "n", "job_id": "7", "host": "cn1", "url": "http://cn1:5000"}
SERVER = SimpleNamespace(server=SimpleNamespace(base_url="/user/paula/"))


def known(watcher: SlurmWatcher, **changed: Any) -> KnownSession | None:
    return known_session(watcher, "paula", SERVER, {**SAVED, **changed})


@pytest.mark.parametrize(
    ("answers", "statuses", "ended"),
    [
        ([listed("RUNNING")], [None, None], ""),
        ([AWAY], [None, None], ""),
        ([listed("RUNNING"), NOTHING], [None, None, 1], "does not know the job"),
        ([listed("RUNNING"), listed("TIMEOUT")], [None, 1], "time limit"),
    ],
)
async def test_a_known_session_ends_on_the_evidence_that_ends_a_job(
    answers: list[str | Exception], statuses: list[int | None], ended: str
) -> None:
    watcher, _ = make(*answers)
    session = known(watcher)
    assert session is not None
    assert await session.poll() is None  # before the first look nobody knows
    found = []
    for _ in statuses:
        await watcher.look()
        found.append(await session.poll())
    assert found == statuses
    assert ended in session.ended
    assert bool(session.ended) == (statuses[-1] is not None)
    await watcher.close()


async def test_a_known_session_whose_job_moved_is_over_and_its_job_is_cancelled() -> None:
    watcher, slurm = make(listed("RUNNING"))
    session = known(watcher, host="cn9", url="http://cn9:5000")
    assert session is not None
    await session.poll()
    await watcher.look()
    assert await session.poll() == 1
    assert "node failed" in session.ended
    await watcher.look()
    assert slurm.cancelled == ["n"]
    await watcher.close()


async def test_a_known_session_tells_its_address_and_its_end() -> None:
    watcher, _ = make(listed("RUNNING"))
    session = known(watcher)
    assert session is not None
    await session.poll()
    await watcher.look()
    assert await session.get_url() == "http://cn1:5000/user/paula/"
    assert session.ends_at is not None
    assert session.ends_at == watcher.ends("n")
    await watcher.close()


@pytest.mark.parametrize("missing", ["name", "job_id", "host", "url"])
@pytest.mark.parametrize("odd", ["", None, 7])
async def test_a_session_that_may_still_be_starting_needs_its_child(
    missing: str, odd: object
) -> None:
    watcher, _ = make(NOTHING)
    assert known(watcher, **{missing: odd}) is None


async def test_a_saved_address_of_an_unknown_shape_needs_a_child() -> None:
    watcher, _ = make(NOTHING)
    assert known(watcher, url="http://cn1:many") is None
