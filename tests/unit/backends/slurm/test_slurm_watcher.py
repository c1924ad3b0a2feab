"""The shared look at the queue: what moves a belief, how often Slurm is asked."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import pytest

from panosc_hub.backends.slurm import reader
from panosc_hub.backends.slurm import watcher as module
from panosc_hub.backends.slurm.client import SlurmClient
from panosc_hub.backends.slurm.watcher import SlurmWatcher
from panosc_hub.core.jobstate import JobState
from panosc_hub.errors import BackendError
from tests.scripted_slurm import AWAY, HEADER, NOTHING, listed, make


async def looks(watcher: SlurmWatcher, count: int, job_id: str = "7") -> list[JobState]:
    """Beliefs after each of ``count`` looks at a job that ran before."""
    watcher.jobs["n"] = module.Watched("n", job_id)
    found = []
    for _ in range(count):
        await watcher.look()
        found.append(watcher.see("n").state)
    return found


RUNNING, GONE, UNKNOWN = JobState.RUNNING, JobState.GONE, JobState.UNKNOWN


@pytest.mark.parametrize(
    ("answers", "beliefs"),
    [
        ([listed("RUNNING"), listed("COMPLETED")], [RUNNING, GONE]),
        ([listed("RUNNING"), NOTHING, NOTHING], [RUNNING, UNKNOWN, GONE]),
        ([listed("RUNNING"), NOTHING, listed("RUNNING"), NOTHING], [RUNNING, UNKNOWN] * 2),
        ([listed("RUNNING"), AWAY, AWAY, AWAY], [RUNNING] * 4),
        ([listed("RUNNING"), "", "", ""], [RUNNING] * 4),
        ([listed("RUNNING"), NOTHING, AWAY, "", NOTHING], [RUNNING, *[UNKNOWN] * 3, GONE]),
        (
            [listed("RUNNING"), listed("PREEMPTED"), listed("PENDING")],
            [RUNNING, UNKNOWN, "pending"],
        ),
        ([listed("RUNNING"), listed("PREEMPTED"), listed("PREEMPTED")], [RUNNING, UNKNOWN, GONE]),
        ([listed("RUNNING"), listed("REVOKED"), listed("REVOKED")], [RUNNING, UNKNOWN, UNKNOWN]),
        ([listed("RUNNING"), ValueError("a mistake of ours")], [RUNNING, RUNNING]),
        ([AWAY, AWAY], [UNKNOWN, UNKNOWN]),
    ],
)
async def test_only_positive_evidence_ends_a_job(
    answers: list[str | Exception], beliefs: list[JobState]
) -> None:
    watcher, _ = make(*answers)
    assert await looks(watcher, len(beliefs)) == beliefs


async def test_a_job_known_by_name_only_is_found_or_given_time() -> None:
    watcher, client = make(NOTHING, NOTHING, NOTHING, listed("PENDING", "99"))
    assert await looks(watcher, 4, "") == [UNKNOWN, UNKNOWN, UNKNOWN, "pending"]
    assert watcher.found_id("n") == "99"
    assert "--name=n" in client.asked[0]
    watcher, _ = make(NOTHING, unlisted_grace=0)
    assert await looks(watcher, 2, "") == [UNKNOWN, GONE]


async def test_one_look_finds_all_jobs_that_have_no_id_yet() -> None:
    watcher, client = make("")
    rows = {"a": "11", "b": "12", "c": "13"}
    client.answers = [HEADER]

    async def query(command: str, *arguments: str, username: str = "") -> str:
        if command == "scontrol":
            return "SLURM_VERSION = 22.05.8\n"
        client.asked.append(arguments)
        header = HEADER.replace("REASON|.", "REASON|NAME|.")
        row = listed("PENDING").removeprefix(HEADER).strip().removesuffix(".")
        found = (row.replace("7|", f"{job}|", 1) + f"{name}|.\n" for name, job in rows.items())
        return header + "".join(found)

    client.query = query  # type: ignore[method-assign]
    for name in ("a", "b", "c"):
        watcher.jobs[name] = module.Watched(name)
    await watcher.look()
    assert {name: watcher.found_id(name) for name in rows} == rows
    assert len(client.asked) == 1
    assert "--name=a,b,c" in client.asked[0]


async def test_a_single_id_is_asked_for_as_a_list_and_many_as_the_whole_queue() -> None:
    """squeue fails for one id that is gone, and a long list costs Slurm more than all jobs."""
    watcher, client = make(NOTHING, list_limit=2)
    await looks(watcher, 1)
    assert "--jobs=7,7" in client.asked[0]
    for number in (8, 9):
        watcher.jobs[f"n{number}"] = module.Watched(f"n{number}", str(number))
    await watcher.look()
    assert not [a for a in client.asked[1] if a.startswith("--jobs")]


async def test_the_way_that_took_less_time_is_taken_and_the_other_checked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watcher, client = make(listed("RUNNING"))
    watcher.jobs["n"] = module.Watched("n", "7")
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(reader, "time", SimpleNamespace(monotonic=lambda: clock.now))
    takes = {True: 0.01, False: 0.05}
    answer = client.query

    def by_id(arguments: tuple[str, ...]) -> bool:
        return any(part.startswith("--jobs") for part in arguments)

    async def query(command: str, *arguments: str, username: str = "") -> str:
        if command == "squeue":
            clock.now += takes[by_id(arguments)]
        return await answer(command, *arguments)

    client.query = query  # type: ignore[method-assign]
    for _ in range(50):
        await watcher.look()
    assert 45 <= sum(map(by_id, client.asked)) < 50
    client.asked.clear()
    takes.update({True: 0.2, False: 0.01})
    for _ in range(50):
        await watcher.look()
    assert sum(map(by_id, client.asked)) <= 10


async def test_one_look_serves_a_thousand_jobs_and_all_who_wait() -> None:
    watcher, client = make(listed("RUNNING"))
    for number in range(1000):
        watcher.jobs[f"n{number}"] = module.Watched(f"n{number}", str(number))
    await asyncio.gather(*(watcher.look() for _ in range(50)))
    assert len(client.asked) == 1


async def test_interval_follows_what_is_going_on() -> None:
    watcher, _ = make(listed("RUNNING"), AWAY)
    await looks(watcher, 1)
    assert watcher.pause() == pytest.approx(30)
    watcher.jobs["n"].starting = True
    assert watcher.pause() == pytest.approx(5, rel=0.2)
    pauses = []
    for _ in range(8):
        await watcher.look()
        pauses.append(watcher.pause())
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (pytest.approx(10, rel=0.2), 90)


async def test_jobs_that_have_waited_for_long_are_looked_at_half_as_often() -> None:
    watcher, _ = make(listed("PENDING"))
    await looks(watcher, 1)
    watcher.jobs["n"].since -= 600
    assert watcher.pause() == 10
    watcher.jobs["new"] = module.Watched("new", "8", starting=True)
    assert watcher.pause() == pytest.approx(5, rel=0.2)
    del watcher.jobs["new"]
    watcher.jobs["n"].misses = 1
    assert watcher.pause() == 5


async def test_a_slow_slurm_is_asked_less_often() -> None:
    watcher, _ = make(listed("RUNNING"))
    await looks(watcher, 1)
    watcher._took = 20
    assert watcher.pause() == 100


async def test_one_warning_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    watcher, _ = make(AWAY)
    watcher.log = logging.getLogger("test")
    await looks(watcher, 20)
    assert len([r for r in caplog.records if r.levelno == logging.WARNING]) == 1


async def waits(watcher: SlurmWatcher, condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await watcher.news(1)


async def test_the_watch_begins_ends_and_begins_again() -> None:
    watcher, client = make(listed("COMPLETED"), busy_interval=0.05, interval=0.05)
    watcher.watch("n", "7", starting=True)
    await waits(watcher, lambda: watcher.see("n").state is GONE)
    assert watcher._task is not None
    await asyncio.wait_for(watcher._task, 2)  # nothing is left to look at
    asked = len(client.asked)
    watcher.watch("m", "8")
    await waits(watcher, lambda: len(client.asked) > asked)
    await watcher.close()


async def test_refresh_does_not_wait_for_the_interval() -> None:
    watcher, client = make(listed("RUNNING"), interval=1000)
    watcher.watch("n", "7")
    await waits(watcher, lambda: watcher.see("n").state is RUNNING)
    asked, began = len(client.asked), time.monotonic()
    watcher.refresh_now()
    await waits(watcher, lambda: len(client.asked) > asked)
    assert time.monotonic() - began < 20
    await watcher.close()


async def test_an_owed_cancellation_is_tried_until_slurm_takes_it() -> None:
    watcher, client = make(NOTHING, busy_interval=0.05, longest_interval=0.05)
    client.cancels = [AWAY, AWAY, None]
    watcher.owe("n", "7", "paula")
    await waits(watcher, lambda: not watcher.owed)
    assert client.cancelled == ["n"]
    client.cancels = [BackendError("not an account")]
    watcher.owe("m", "8", "paula")
    await waits(watcher, lambda: not watcher.owed)  # it will never succeed
    assert client.cancelled == ["n"]


async def test_a_job_without_id_is_owed_for_the_whole_grace() -> None:
    watcher, client = make(NOTHING, busy_interval=0.05, unlisted_grace=0.5)
    watcher.owe("n", "", "paula")
    await waits(watcher, lambda: not watcher.owed)
    assert len(client.cancelled) > 2


@pytest.mark.parametrize("stop", [lambda w: w.close(), lambda w: asyncio.sleep(0)])
async def test_a_real_command_does_not_hold_up_the_end(
    stop: Callable[[SlurmWatcher], Awaitable[None]],
) -> None:
    """The loop's end cancels every task; a command that hangs must not keep it waiting."""
    client = SlurmClient(squeue="/usr/bin/yes", scontrol="/usr/bin/yes", max_output=2**40)
    watcher = SlurmWatcher(client)
    watcher.watch("n", "7")
    await asyncio.sleep(0)
    await stop(watcher)
    began = time.monotonic()
    tasks = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert time.monotonic() - began < 20
