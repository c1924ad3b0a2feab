"""Position and estimated start of waiting jobs: from one look, in words."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime

import pytest
from traitlets.config import Config

from panosc_hub.backends.slurm import words
from panosc_hub.backends.slurm.client import SlurmClient
from panosc_hub.backends.slurm.ledger import Watched
from panosc_hub.backends.slurm.parse import Garbled, JobRow, parse_span
from panosc_hub.backends.slurm.pending import (
    PendingWatcher,
    Place,
    Queue,
    parse_pending,
    parse_time,
)
from panosc_hub.errors import BackendUnavailable

HEADER = "JOBID|PARTITION|PRIORITY|START_TIME|REASON|.\n"
QUEUE = (
    HEADER
    + """\
10|gpu|500|2026-11-21T14:20:00|Priority|.
11|gpu|900|2026-11-21T13:00:00|Resources|.
12|cpu|950|N/A|Priority|.
13|cpu,gpu|700|N/A|Priority|.
14|gpu|0|N/A|JobHeldAdmin|.
15|gpu|800|N/A|Dependency|.
16|gpu|500|N/A|Priority|.
"""
)


def test_jobs_ahead_share_a_partition_and_have_more_priority_or_age() -> None:
    queue = Queue(parse_pending(QUEUE))
    assert queue.place("11").ahead == 0
    assert queue.place("10").ahead == 2  # 11 and 13; not the other partition's, held or dependent
    assert queue.place("16").ahead == 3  # 10 is as important, and older
    assert queue.place("13").ahead == 2  # 11 in gpu, 12 in cpu
    assert queue.place("99") is None


def test_the_estimate_is_slurms() -> None:
    queue = Queue(parse_pending(QUEUE))
    assert queue.place("10").starts == datetime(2026, 11, 21, 14, 20).timestamp()
    assert queue.place("16").starts is None
    assert parse_time("N/A") is None
    assert parse_time("2026-99-21T14:20:00") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEADER.strip(),
        "10|gpu|5|N/A|x|.\n",
        HEADER + "10|gpu|5|N/A|x\n",
        HEADER + "a|b|c|d|e|.\n",
    ],
)
def test_half_an_answer_is_no_answer(text: str) -> None:
    with pytest.raises(Garbled):
        parse_pending(text)


class Asked(SlurmClient):
    """Counts the questions."""

    answer: str | Exception = QUEUE
    count = 0

    async def query(self, command: str, *arguments: str) -> str:
        self.count += 1
        await asyncio.sleep(0.01)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_one_look_serves_all_waiting_sessions() -> None:
    client = Asked()
    watcher = PendingWatcher(client, config=Config())
    assert watcher.place("10") is None  # at once; the look has only begun
    await asyncio.gather(*(watcher.refresh() for _ in range(5)))
    for _ in range(100):
        assert watcher.place("10").ahead == 2
    assert client.count == 1


async def test_a_failed_look_tells_nothing_rather_than_old_places() -> None:
    client = Asked()
    watcher = PendingWatcher(client, config=Config())
    await watcher.refresh()
    assert watcher.place("10") is not None
    client.answer = BackendUnavailable("away")
    await watcher.refresh()
    assert watcher.place("10") is None


async def test_nothing_is_counted_where_slurm_hides_other_jobs() -> None:
    watcher = PendingWatcher(Asked(), config=Config())
    await watcher.refresh()
    place = watcher.place("10", private=True)
    assert place is not None
    assert place.ahead is None
    assert place.starts is not None


def test_ten_thousand_waiting_jobs_do_not_hold_up_the_hub() -> None:
    rows = HEADER + "".join(f"{i}|gpu|{i % 97 + 1}|N/A|Priority|.\n" for i in range(1, 10_001))
    queue = Queue(parse_pending(rows))
    began = time.process_time()
    for i in range(1, 101):
        assert isinstance(queue.place(str(i)), Place)
    assert time.process_time() - began < 0.5


NOW = datetime(2026, 11, 21, 13, 55).timestamp()


@pytest.mark.parametrize(
    ("ahead", "starts", "sentence"),
    [
        (None, None, ""),
        (0, None, "no job is ahead of it"),
        (1, None, "1 job is ahead of it"),
        (7, 25 * 60, "7 jobs are ahead of it, Slurm expects it to start about 14:20 (in 25 min)"),
        (None, 5 * 3600, "Slurm expects it to start about 18:55 (in 5 h)"),
        (None, 60 * 3600, "Slurm expects it to start about Tue 24 Nov, 01:55 (in 2 days)"),
        (2, -60, "2 jobs are ahead of it"),
    ],
)
def test_the_place_in_words(ahead: int | None, starts: float | None, sentence: str) -> None:
    at = None if starts is None else NOW + starts
    assert words.standing(ahead, at, NOW) == sentence


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1:00", 60),
        ("0:07", 7),
        ("3:59:12", 14352),
        ("1-02:03:04", 93784),
        ("UNLIMITED", None),
        ("INVALID", None),
        ("NOT_SET", None),
        ("", None),
    ],
)
def test_the_time_left_is_read(text: str, seconds: int | None) -> None:
    assert parse_span(text) == seconds


def test_the_end_follows_slurms_time_limit_while_the_job_runs() -> None:
    job = Watched("panosc-x", "7")
    job.listed(JobRow("7", "PENDING", "", "paula", "N/A", "4:00:00", "Priority"))
    assert job.ends is None
    job.listed(JobRow("7", "RUNNING", "cn1", "paula", "N/A", "10:00", "None"))
    assert job.ends == pytest.approx(time.time() + 600, abs=5)
    job.listed(JobRow("7", "RUNNING", "cn1", "paula", "N/A", "1:00:00", "None"))  # extended
    assert job.ends == pytest.approx(time.time() + 3600, abs=5)
    job.listed(JobRow("7", "RUNNING", "cn1", "paula", "N/A", "UNLIMITED", "None"))
    assert job.ends is None
